"""Composing the batch of an iteration: the running pass, the waiting pass, and the MIX presets that order them."""

from __future__ import annotations

import math
from typing import Any

from llmqgym.kernel import cohort, heap, lists, log, preemption, refreshing
from llmqgym.kernel.hooks import call_on_request, call_service, tell_of_request, tell_server
from llmqgym.kernel.jit import helper
from llmqgym.kernel.kv_cache import allocate, blocks_for, blocks_lacking, count_free, look_up, take_found
from llmqgym.kernel.memory import chunk_at, hidden_at, request_at
from llmqgym.kernel.tables import Lack, Mix, Mode, Status
from llmqgym.kernel.waiting import leave_queue, look_all_up, put_aside_back, set_first_aside, take_keys_anew

_FIT, _MIX, _ADMITTED, _BEGIN = 1, 2, 7, 10
ALL, PREFILLS, DECODES = 0, 1, 2


@helper
def tokens_wanted(sim: Any, request: Any, done: int) -> int:
    """What a request of which `done` tokens are computed would compute in this iteration if nobody else were there."""
    wanted = request.prompt_tokens + request.generated_tokens - done
    threshold = sim.long_prefill_token_threshold
    return threshold if 0 < threshold < wanted and not sim.lone else wanted


@helper
def _schedule(sim: Any, row: int, request: Any, tokens: int) -> None:
    allocate(sim, row, request, request.computed_tokens + tokens)
    chunk = chunk_at(sim.batch, sim.num_batch)
    chunk.row, chunk.tokens = row, tokens
    sim.num_batch += 1
    hidden_at(sim.hidden, row).scheduled_tokens = tokens
    sim.budget_tokens -= tokens


@helper
def _serve_running(sim: Any, hooks: Any, row: int) -> None:
    """Tokens and blocks for one running request; others, or it itself, leave if blocks are short."""
    request = request_at(sim.requests, row)
    tokens = min(tokens_wanted(sim, request, request.computed_tokens), sim.budget_tokens)
    while blocks_for(sim, request.computed_tokens + tokens) - request.kv_blocks > count_free(sim):
        if not preemption.make_room(sim, hooks, row):
            return
    _schedule(sim, row, request, tokens)


@helper
def _running_pass(sim: Any, hooks: Any, group: int, start: int) -> None:
    """Serve the running requests of a group in the order of admission, from row `start` on."""
    sim.cursor = start
    while sim.cursor >= 0 and sim.budget_tokens > 0:
        row = sim.cursor
        request = request_at(sim.requests, row)
        sim.cursor = request.next
        hidden = hidden_at(sim.hidden, row)
        if hidden.together or hidden.scheduled_tokens > 0:
            continue
        if group == ALL or cohort.is_decoding(request) == (group == DECODES):
            _serve_running(sim, hooks, row)
    sim.cursor = -1


@helper
def _ask_mix(sim: Any, hooks: Any) -> None:
    """Put the running batch into the order of the policy's MIX hook."""
    sim.num_mixing = 0
    refreshing.show_running(sim)
    row = sim.first_running
    while row >= 0:
        request = request_at(sim.requests, row)
        key = call_on_request(sim, hooks, _MIX, sim.mix_hook, request)
        if key < math.inf:
            sim.num_mixing = heap.push(sim.mixing, sim.num_mixing, key, request.admit_seq, row)
        row = request.next


@helper
def _mixed_pass(sim: Any, hooks: Any, below: float) -> None:
    """Serve the running requests whose MIX key is less than `below`, in order of key."""
    while sim.num_mixing > 0 and heap.root(sim.mixing).key < below:
        entry = heap.root(sim.mixing)
        row, seq = entry.row, entry.tie
        sim.num_mixing = heap.pop(sim.mixing, sim.num_mixing)
        request = request_at(sim.requests, row)
        if sim.budget_tokens > 0 and request.status == Status.RUNNING and request.admit_seq == seq:
            _serve_running(sim, hooks, row)


@helper
def _lacking_blocks(sim: Any, request: Any, tokens: int) -> int:
    """Blocks that a waiting request lacks to have `tokens` tokens computed after this iteration and, unless a FIT hook
    replaces it, for vLLM's gate: its whole sequence must find blocks, and, unless nothing runs, the watermark must stay
    free. 0: none."""
    needed = blocks_lacking(sim, request, tokens)
    if sim.fit_hook == 0:
        margin = sim.watermark_blocks if sim.num_running > 0 else 0
        if sim.reserve_full_isl:
            sequence = request.prompt_tokens + request.generated_tokens
            needed = max(needed, blocks_lacking(sim, request, sequence))
        needed += margin
    return max(needed - (count_free(sim) - sim.reserved_kv_blocks), 0)


@helper
def tokens_on_entry(sim: Any, hooks: Any, row: int) -> int:
    """What a waiting request would compute in this iteration if it entered now; 0, with `lack` and `lacking_blocks`
    set, if it cannot."""
    request = request_at(sim.requests, row)
    done = look_up(sim, row, request)
    if sim.prefix_caching:
        request.cached_tokens = done - request.computed_tokens
    tokens = tokens_wanted(sim, request, done)
    if tokens > sim.budget_tokens and not sim.chunked_prefill:
        sim.lack = Lack.TOKENS
        return 0
    tokens = min(tokens, sim.budget_tokens)
    sim.lacking_blocks = _lacking_blocks(sim, request, done + tokens)
    sim.lack = Lack.BLOCKS
    if sim.lacking_blocks > 0:
        return 0
    if sim.fit_hook and call_on_request(sim, hooks, _FIT, sim.fit_hook, request) == 0.0:
        return 0
    sim.lack = Lack.SLOT
    return tokens if sim.num_running < sim.max_running else 0


@helper
def _try_to_enter(sim: Any, hooks: Any, row: int) -> bool:
    """Admit the first in the queue if it can be; False, with `lack` and `lacking_blocks` set, if not."""
    tokens = tokens_on_entry(sim, hooks, row)
    if tokens == 0:
        return False
    admit(sim, hooks, row, tokens)
    return True


@helper
def admit(sim: Any, hooks: Any, row: int, tokens: int) -> None:
    """A waiting request that was just found to fit joins the running batch, with so many tokens in this iteration."""
    request = request_at(sim.requests, row)
    request.status = Status.RUNNING
    leave_queue(sim, row)
    hidden = hidden_at(sim.hidden, row)
    if hidden.held:
        lists.remove_held(sim, row)
    if request.host_blocks > 0:
        preemption.swap_in(sim, request)
    request.admit_seq = sim.num_admissions
    sim.num_admissions += 1
    if request.computed_tokens == 0:
        request.prefill_target_tokens = request.prompt_tokens + request.generated_tokens
        if sim.prefix_caching:
            _use_cache(sim, row, request)
    lists.append_running(sim, row)
    if cohort.is_decoding(request):
        sim.num_decoding += 1
    _schedule(sim, row, request, tokens)
    if sim.admitted_hook:
        tell_of_request(sim, hooks, _ADMITTED, sim.admitted_hook, request)


@helper
def _use_cache(sim: Any, row: int, request: Any) -> None:
    """What an entering request finds in the cache counts as computed."""
    tokens = take_found(sim, row)
    regained = min(tokens, request.lost_tokens)
    request.computed_tokens = tokens
    request.lost_tokens -= regained
    request.prefix_hit_tokens += tokens
    sim.lost_tokens -= regained
    sim.regained_tokens += regained
    sim.prefix_cache_hits += tokens
    sim.prefix_cache_queries += request.prefill_target_tokens
    if sim.log and tokens > 0:
        log.write(sim, log.HIT, request.id, tokens)


@helper
def _blocks_decodes_need(sim: Any) -> int:
    if sim.cohort_formed:
        return cohort.blocks_needed(sim)
    needed = 0
    row = sim.first_running
    while row >= 0:
        request = request_at(sim.requests, row)
        if cohort.is_decoding(request):
            needed += blocks_for(sim, request.computed_tokens + 1) - request.kv_blocks
        row = request.next
    return needed


@helper
def reserve_for_decodes(sim: Any) -> None:
    """Newcomers leave free what those that decode need in this iteration, where they come first."""
    if sim.mix == Mix.PREFILL_FIRST_MIXED:
        sim.reserved_kv_blocks = _blocks_decodes_need(sim)


@helper
def preempting_helps(lack: int, mode: int) -> bool:
    """Whether somebody who leaves by a Mode can give a waiting request what it lacks: hold frees no blocks."""
    return lack == Lack.SLOT or (lack == Lack.BLOCKS and mode != Mode.HOLD)


@helper
def _find_place(sim: Any, hooks: Any, row: int) -> bool:
    """Preempt somebody in favour of a waiting request, if the policy does that and it helps."""
    if sim.preempt_hook == 0 or not preempting_helps(sim.lack, sim.preempt_mode):
        return False
    if not preemption.displace(sim, hooks, row, sim.lacking_blocks):
        return False
    reserve_for_decodes(sim)
    return True


@helper
def _waiting_pass(sim: Any, hooks: Any) -> None:
    """Admit waiting requests in their order, as far as tokens, slots and blocks go."""
    sim.budget_stop = 0
    if sim.shortage:
        return
    while sim.num_queued > 0 and sim.budget_tokens > 0:
        if sim.num_running >= sim.max_running and sim.preempt_hook == 0:
            break
        row = heap.root(sim.waiting).row
        if _try_to_enter(sim, hooks, row) or _find_place(sim, hooks, row):
            continue
        if not sim.skip_misses:
            sim.budget_stop = sim.lack == Lack.TOKENS and sim.budget_tokens < sim.max_batched_tokens
            break
        set_first_aside(sim)
    if sim.budget_tokens <= 0:
        sim.budget_stop = sim.num_waiting > 0 and sim.num_running < sim.max_running
    if sim.num_aside > 0:
        put_aside_back(sim)


@helper
def _first_prefill(sim: Any) -> int:
    """The first of the requests in prefill, if all of them were admitted after all that decode; else -1."""
    row = sim.last_running
    for _ in range(sim.num_running - sim.num_decoding - 1):
        if cohort.is_decoding(request_at(sim.requests, row)):
            return -1
        row = request_at(sim.requests, row).previous
    return -1 if cohort.is_decoding(request_at(sim.requests, row)) else row


@helper
def free_after(sim: Any, row: int, budget: int, free: int) -> int:
    """Of `free` blocks, those left when the running requests from `row` on have had their tokens of `budget`; below 0
    if they are not enough. Nothing is done."""
    while row >= 0 and budget > 0:
        request = request_at(sim.requests, row)
        tokens = min(tokens_wanted(sim, request, request.computed_tokens), budget)
        free -= blocks_for(sim, request.computed_tokens + tokens) - request.kv_blocks
        budget -= tokens
        row = request.next
    return free


@helper
def _find_blocks(sim: Any, row: int) -> bool:
    """Whether the requests in prefill, from `row` on, find their blocks after the cohort has had tokens and blocks."""
    free = count_free(sim) - cohort.blocks_needed(sim)
    return free_after(sim, row, sim.budget_tokens - sim.num_cohort, free) >= 0


@helper
def _schedule_cohort(sim: Any) -> bool:
    """Give every decoding request its token at once, if tokens and blocks suffice."""
    needed = cohort.blocks_needed(sim)
    if sim.num_cohort > sim.budget_tokens or needed > count_free(sim):
        return False
    if sim.num_cohort > 0:
        sim.cohort_scheduled = 1
        sim.free_kv_blocks -= needed
        sim.budget_tokens -= sim.num_cohort
        if sim.reads_running:
            refreshing.show_running(sim)
    return True


@helper
def _decode_pass(sim: Any, hooks: Any) -> None:
    if sim.cohort_formed and _schedule_cohort(sim):
        return
    cohort.dissolve(sim)
    _running_pass(sim, hooks, DECODES, sim.first_running)


@helper
def _serve_together(sim: Any, hooks: Any) -> bool:
    """The running pass without touching those that decode; False, and nothing done, where it would not be the same."""
    if not sim.cohort_formed:
        return False
    if sim.num_decoding == sim.num_running:
        return _schedule_cohort(sim)
    row = _first_prefill(sim)
    if row < 0 or sim.num_cohort > sim.budget_tokens or not _find_blocks(sim, row):
        return False
    _schedule_cohort(sim)
    _running_pass(sim, hooks, PREFILLS, row)
    return True


@helper
def _open_prefill_first(sim: Any, hooks: Any) -> None:
    if sim.num_decoding < sim.num_running:
        _running_pass(sim, hooks, PREFILLS, sim.first_running)
    reserve_for_decodes(sim)


@helper
def _open_mixed(sim: Any, hooks: Any) -> None:
    if not _serve_together(sim, hooks):
        cohort.dissolve(sim)
        _running_pass(sim, hooks, ALL, sim.first_running)


@helper
def open_composition(sim: Any, hooks: Any) -> None:
    """Begin the next iteration: the running requests that come before newcomers have their tokens and blocks."""
    sim.budget_tokens = sim.max_batched_tokens
    sim.num_batch = 0
    sim.cohort_scheduled = 0
    sim.shortage = 0
    sim.num_left = 0
    sim.first_new_seq = sim.num_admissions
    sim.lone = sim.num_running + sim.num_waiting == 1
    if sim.num_running == 0:
        sim.door_open = 1
    if sim.reads_running:
        refreshing.show_running(sim)
    asks_queue = sim.rekey != 0 or sim.begin_hook != 0
    if sim.agent and asks_queue:
        call_service(sim.gather_service, sim, 0, 0)
    if sim.rekey and sim.prefix_caching:
        look_all_up(sim)
    if sim.begin_hook:
        tell_server(sim, hooks, _BEGIN, sim.begin_hook)
    if sim.rekey:
        take_keys_anew(sim, hooks)
    if sim.agent and asks_queue:
        call_service(sim.spread_service, sim, 0, 0)
    if not sim.cohort_formed and not sim.step_by_step and sim.mix_hook == 0:
        cohort.form(sim)
    if sim.mix_hook:
        _ask_mix(sim, hooks)
        _mixed_pass(sim, hooks, 1.0)
    elif sim.mix == Mix.MIXED:
        _open_mixed(sim, hooks)
    else:
        _open_prefill_first(sim, hooks)


@helper
def admit_newcomers(sim: Any, hooks: Any) -> None:
    """The waiting pass, where the preset has one now."""
    if sim.mix != Mix.BATCH_TO_COMPLETION or sim.door_open:
        _waiting_pass(sim, hooks)


@helper
def close_composition(sim: Any, hooks: Any) -> None:
    """After the newcomers: afterwards `batch` and `cohort_scheduled` say who gets how many tokens."""
    if sim.mix_hook:
        _mixed_pass(sim, hooks, math.inf)
    elif sim.mix != Mix.MIXED:
        if sim.mix == Mix.BATCH_TO_COMPLETION:
            sim.door_open = sim.door_open and sim.budget_stop
        sim.reserved_kv_blocks = 0
        if sim.mix == Mix.PREFILL_FIRST_MIXED or sim.budget_tokens == sim.max_batched_tokens:
            _decode_pass(sim, hooks)
