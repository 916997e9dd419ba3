"""The loop: arrivals, composition, pass; one iteration at a time or from event to event, with the same result."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit, typeof
from numba.core import types
from numba.core.errors import NumbaExperimentalFeatureWarning

from llmqgym.kernel import cohort, log, passage, preemption, prefix_cache
from llmqgym.kernel.batch import admit_newcomers, close_composition, open_composition
from llmqgym.kernel.division import quotient
from llmqgym.kernel.hooks import call_on_server, call_service
from llmqgym.kernel.integrals import add_product
from llmqgym.kernel.iteration_time import MAX_JUMP, iteration_time, passes_until, span_of
from llmqgym.kernel.jit import COMPILED, entry_point, helper
from llmqgym.kernel.kv_cache import blocks_for, count_free
from llmqgym.kernel.memory import agent_at, arrival_at, chunk_at, hidden_at, profile_at, request_at
from llmqgym.kernel.tables import SIMULATOR, Deciding, Outcome

_WAKE = 5
#: Room in the log for an iteration: a triple for each request in the system and each preemption, and a few more.
_LOG_SLACK = 64
#: Of an iteration that does not take place: no request is here.
_NOBODY_HERE = -2


@helper
def _duration(sim: Any) -> int:
    """Time of the composed pass, transfers included."""
    prefill_tokens = two_f = decodes = kv_tokens = 0
    if sim.cohort_scheduled:
        decodes, kv_tokens = sim.num_cohort, sim.cohort_kv_tokens
    for place in range(sim.num_batch):
        chunk = chunk_at(sim.batch, place)
        if chunk.tokens == 0:
            continue
        request = request_at(sim.requests, chunk.row)
        if cohort.is_decoding(request):
            decodes += 1
            kv_tokens += request.computed_tokens
        else:
            prefill_tokens += chunk.tokens
            two_f += chunk.tokens * (2 * request.computed_tokens + chunk.tokens)
    duration = iteration_time(sim, prefill_tokens, two_f, decodes, kv_tokens)
    transfers = sim.swap_blocks_now * sim.swap_block_ps
    sim.swap_blocks_now = 0
    return max(duration, transfers) if sim.swap_overlap else duration + transfers


@helper
def _passes_alike(sim: Any, hooks: Any, first: int, growth: int) -> int:
    """How many passes like the composed one follow each other before anything can happen: an arrival, a finish, a
    shortage of blocks, the policy's WAKE, the end of the run."""
    limit = min(cohort.passes_to_first_end(sim), sim.wake_passes, MAX_JUMP)
    if sim.wake_hook:
        wake = call_on_server(sim, hooks, _WAKE, sim.wake_hook)
        if not wake >= limit:
            limit = int(wake) if wake > 1.0 else 1
    limit = 1 + cohort.passes_within(sim, count_free(sim), limit - 1)
    gap = sim.until_ps - sim.clock_ps + 1
    if sim.next_arrival < sim.num_arrivals:
        gap = min(gap, arrival_at(sim.arrivals, sim.next_arrival).arrival_ps - sim.clock_ps)
    return passes_until(gap, first, growth, limit)


@helper
def _integrate(sim: Any, span: int) -> None:
    """Everything that stays as it is for `span`."""
    add_product(sim.integral_requests, sim.num_running + sim.num_waiting, span)
    add_product(sim.integral_running, sim.num_running, span)
    add_product(sim.integral_kv_blocks, sim.num_kv_blocks - count_free(sim), span)
    if sim.agent:
        add_product(sim.integral_tokenless, sim.num_tokenless, span)


@helper
def _settle_chunks(sim: Any, hooks: Any, start_ps: int) -> None:
    """After a pass: what was computed, the tokens it yielded, who is finished, who begins to decode."""
    for place in range(sim.num_batch):
        chunk = chunk_at(sim.batch, place)
        if chunk.tokens == 0:
            continue
        row = chunk.row
        request = request_at(sim.requests, row)
        hidden = hidden_at(sim.hidden, row)
        was_decoding = cohort.is_decoding(request)
        hidden.scheduled_tokens = 0
        sim.processed_tokens += chunk.tokens
        request.computed_tokens += chunk.tokens
        if request.first_scheduled_ps < 0:
            request.first_scheduled_ps = start_ps
        if request.computed_tokens < request.prompt_tokens + request.generated_tokens:
            continue
        request.generated_tokens += 1
        if request.first_token_ps < 0:
            request.first_token_ps = sim.clock_ps
            sim.num_tokenless -= 1
        if request.generated_tokens == hidden.output_tokens:
            passage.finish(sim, hooks, row, was_decoding)
            continue
        if not was_decoding:
            sim.num_decoding += 1
        if sim.cohort_formed:
            cohort.join(sim, row)


@helper
def _settle_cohort(sim: Any, hooks: Any, passes: int) -> None:
    """After the cohort's passes: those who have their last token leave."""
    sim.processed_tokens += passes * sim.num_cohort
    cohort.make_passes(sim, passes)
    row = cohort.pop_ended(sim)
    while row >= 0:
        passage.finish(sim, hooks, row, True)
        row = cohort.pop_ended(sim)


@helper
def _log_batch(sim: Any) -> None:
    log.write(sim, log.ITERATION, sim.num_iterations, sim.clock_ps)
    for place in range(sim.num_batch):
        chunk = chunk_at(sim.batch, place)
        if chunk.tokens > 0:
            request = request_at(sim.requests, chunk.row)
            after = request.computed_tokens + chunk.tokens
            whole = after == request.prompt_tokens + request.generated_tokens
            log.write(sim, log.SCHEDULED if whole else log.SCHEDULED_PART, request.id, chunk.tokens)
    log.write(sim, log.FREE_BEFORE, count_free(sim), 0)


@helper
def _run_pass(sim: Any, hooks: Any) -> None:
    """Carry out the composed iteration, and those like it that follow."""
    start_ps = sim.clock_ps
    if sim.log:
        _log_batch(sim)
    first = _duration(sim)
    passes, growth = 1, 0
    alike = sim.cohort_scheduled and sim.num_batch == 0 and sim.num_left == 0
    if alike and sim.num_cohort == sim.num_running:
        growth = profile_at(sim.profile, 0).kv_ps * sim.num_cohort
        passes = _passes_alike(sim, hooks, first, growth)
    span = span_of(passes, first, growth)
    _integrate(sim, span)
    if passes > 1:
        cohort.take_blocks(sim, passes, first, growth)
    sim.clock_ps += span
    sim.num_iterations += passes
    if sim.cohort_scheduled:
        _settle_cohort(sim, hooks, passes)
        sim.cohort_scheduled = 0
    _settle_chunks(sim, hooks, start_ps)
    if sim.log:
        log.write(sim, log.FREE_AFTER, count_free(sim), 0)
        log.write(sim, log.QUEUES, sim.num_running, sim.num_waiting)


@helper
def _waits_on_purpose(sim: Any) -> bool:
    """Whether somebody could have entered whom an agent has left waiting."""
    return sim.agent != 0 and agent_at(sim.agent, 0).num_admissible > 0


@helper
def _move_idly(sim: Any) -> int:
    """No token could be scheduled: what happens instead (docs/model.md, step 4). Returns an Outcome or GO_ON."""
    if sim.shortage or (sim.agent and sim.num_left > 0):
        return passage.GO_ON
    on_purpose = _waits_on_purpose(sim)
    if sim.num_running == 0 and sim.last_held >= 0 and not on_purpose:
        preemption.drop_last_held(sim)
        return passage.GO_ON
    span = sim.idle_step_ps
    if sim.next_arrival < sim.num_arrivals:
        span = min(span, arrival_at(sim.arrivals, sim.next_arrival).arrival_ps - sim.clock_ps)
    elif sim.num_running == 0 and not on_purpose:
        return Outcome.STALLED.value
    _integrate(sim, span)
    sim.clock_ps += span
    return passage.GO_ON


@helper
def _has_room(sim: Any) -> bool:
    """Whether this iteration's departures and log entries find room."""
    if sim.num_departures + sim.num_running + 1 > sim.departures_capacity:
        return False
    in_system = sim.num_running + sim.num_waiting
    return sim.log == 0 or sim.log_length + 3 * (4 * in_system + _LOG_SLACK) <= sim.log_capacity


@helper
def _has_blocks(sim: Any) -> bool:
    """Whether the tables of prefix caching do for whatever this iteration allocates."""
    if sim.prefix_caching == 0:
        return True
    entering = min(sim.max_running - sim.num_running, sim.num_waiting, sim.max_batched_tokens)
    most = quotient(sim.max_batched_tokens, sim.block_size) + 2 * (sim.num_running + entering) + 2
    most += entering * blocks_for(sim, sim.longest_seen_tokens)
    if sim.num_nodes + most > sim.nodes_capacity:
        return False
    return min(sim.num_blocks_used + most, sim.num_kv_blocks) <= sim.blocks_capacity


@helper
def _begin_iteration(sim: Any, hooks: Any) -> int:
    """Arrivals, ends and room, before an iteration is composed: GO_ON, an Outcome, or _NOBODY_HERE, after a jump to
    the next arrival."""
    lack = passage.take_arrivals(sim, hooks)
    if lack != passage.GO_ON:
        return lack
    if sim.clock_ps > sim.until_ps:
        return Outcome.HORIZON.value
    if sim.num_running + sim.num_waiting == 0:
        if sim.next_arrival == sim.num_arrivals:
            return Outcome.FINISHED.value
        sim.clock_ps = arrival_at(sim.arrivals, sim.next_arrival).arrival_ps
        return _NOBODY_HERE
    if not _has_room(sim):
        return Outcome.NEED_DRAIN.value
    if not _has_blocks(sim):
        return Outcome.NEED_BLOCKS.value
    return passage.GO_ON


@helper
def _compose(sim: Any, hooks: Any) -> bool:
    """The next iteration; False: an agent is asked, and it goes on from there the next time."""
    if sim.deciding != Deciding.OPEN:
        if sim.agent and call_service(sim.short_service, sim, 0, 0):
            sim.deciding = Deciding.SHORT
            return False
        sim.num_events += 1
        open_composition(sim, hooks)
        if sim.agent == 0:
            admit_newcomers(sim, hooks)
        elif call_service(sim.asked_service, sim, 0, 0):
            sim.deciding = Deciding.OPEN
            return False
    sim.deciding = Deciding.NOTHING
    close_composition(sim, hooks)
    return True


@helper
def _advance(sim: Any, hooks: Any, max_events: int) -> int:
    for _ in range(max_events):
        if sim.deciding == Deciding.NOTHING:
            outcome = _begin_iteration(sim, hooks)
            if outcome == _NOBODY_HERE:
                continue
            if outcome != passage.GO_ON:
                return outcome
        if not _compose(sim, hooks):
            return Outcome.DECISION.value
        if sim.budget_tokens < sim.max_batched_tokens:
            _run_pass(sim, hooks)
        else:
            outcome = _move_idly(sim)
            if outcome != passage.GO_ON:
                return outcome
    return Outcome.PAUSED.value


def advance_service(sim: Any, max_events: int, number: int) -> int:
    """Service: the loop. The policy's hooks are called through the addresses in the record: compiled once, kept on
    disk, for every policy and for agents."""
    return _advance(sim, None, max_events)


@entry_point
def advance(simulators: np.ndarray, index: int, max_events: int) -> int:
    """Let simulator `index` of SIMULATOR[n] run for at most `max_events` compositions; returns an Outcome."""
    sim = simulators[index]
    return call_service(sim.advance_service, sim, max_events, 0)


def advance_inlining(hooks: dict[str, Callable[..., Any] | None]) -> Callable[[np.ndarray, int, int], int]:
    """`advance` with these hooks inlined: compiled anew for each set of hooks, once a process, and never kept on disk,
    where it would be keyed by functions that other processes do not have."""
    return _inlining(tuple(hooks.values()))


@cache
def _inlining(functions: tuple[Callable[..., Any] | None, ...]) -> Any:
    hooks = tuple(None if function is None else helper(function) for function in functions)

    @njit(nogil=True, error_model="numpy")
    def advance_with_hooks(simulators: np.ndarray, index: int, max_events: int) -> int:
        return _advance(simulators[index], hooks, max_events)

    if COMPILED:
        with warnings.catch_warnings():  # numba takes functions in a tuple for pointers, and warns
            warnings.simplefilter("ignore", NumbaExperimentalFeatureWarning)
            advance_with_hooks.compile((typeof(np.zeros(0, SIMULATOR)), types.int64, types.int64))
    return advance_with_hooks


@entry_point
def close(simulators: np.ndarray, index: int) -> None:
    """Write everybody still in the system into the table of departures, which must have room for `capacity` more."""
    passage.report_unfinished(simulators[index])


@entry_point
def rebuild_buckets(simulators: np.ndarray, index: int, old_buckets: int, num_old: int) -> None:
    """The contents of the blocks into a larger table of buckets, which is empty."""
    prefix_cache.rebuild(simulators[index], old_buckets, num_old)
