"""Who leaves the running batch, and what becomes of its KV cache: recompute, restart, swap, hold."""

from __future__ import annotations

import math
from typing import Any

from llmqgym.kernel import cohort, lists, log, refreshing
from llmqgym.kernel.hooks import call_on_pair, tell_of_request
from llmqgym.kernel.jit import helper
from llmqgym.kernel.kv_cache import blocks_for, release, release_all
from llmqgym.kernel.memory import chunk_at, hidden_at, request_at
from llmqgym.kernel.tables import Mode, Status
from llmqgym.kernel.waiting import join_queue, order_key, set_aside

_VICTIM, _PREEMPT, _PREEMPTED = 3, 4, 8


@helper
def _take_tokens_back(sim: Any, row: int, request: Any, hidden: Any) -> None:
    """Undo what this composition has given a request, and bring its row up to date."""
    if hidden.together:
        cohort.leave(sim, row)
        if sim.cohort_scheduled:
            sim.budget_tokens += 1
            request.kv_blocks = blocks_for(sim, request.computed_tokens + 1)
    elif hidden.scheduled_tokens > 0:
        sim.budget_tokens += hidden.scheduled_tokens
        hidden.scheduled_tokens = 0
        for place in range(sim.num_batch):
            chunk = chunk_at(sim.batch, place)
            if chunk.row == row:
                chunk.tokens = 0
    release(sim, row, request, request.computed_tokens)


@helper
def _lose_tokens(sim: Any, row: int, request: Any) -> None:
    request.lost_tokens += request.computed_tokens
    sim.lost_tokens += request.computed_tokens
    request.computed_tokens = 0
    release_all(sim, row, request)


@helper
def _swap_out(sim: Any, row: int, request: Any) -> None:
    blocks = request.kv_blocks
    request.host_blocks = blocks
    sim.free_host_blocks -= blocks
    _count_transfer(sim, request, blocks)
    release_all(sim, row, request)


@helper
def swap_in(sim: Any, request: Any) -> None:
    """The host's copy comes back; the blocks on the device are allocated with the tokens of the pass."""
    blocks = request.host_blocks
    request.host_blocks = 0
    sim.free_host_blocks += blocks
    _count_transfer(sim, request, blocks)


@helper
def _count_transfer(sim: Any, request: Any, blocks: int) -> None:
    request.swapped_blocks += blocks
    sim.swapped_blocks += blocks
    sim.swap_blocks_now += blocks


@helper
def preempt(sim: Any, hooks: Any, row: int, mode: int, aside: bool) -> None:
    """Send a running request back to the waiting queue; `aside`: it is not tried again in this pass. An agent's window
    shows it, and does not let it back in this iteration."""
    request = request_at(sim.requests, row)
    hidden = hidden_at(sim.hidden, row)
    if sim.cursor == row:
        sim.cursor = request.next
    _take_tokens_back(sim, row, request, hidden)
    refreshing.catch_up(sim, row)
    if cohort.is_decoding(request):
        sim.num_decoding -= 1
    lists.remove_running(sim, row)
    if sim.preempted_hook:
        refreshing.show_running(sim)
        tell_of_request(sim, hooks, _PREEMPTED, sim.preempted_hook, request)
    if mode == Mode.SWAP and request.kv_blocks > sim.free_host_blocks:
        mode = Mode.RECOMPUTE
    if mode == Mode.SWAP:
        _swap_out(sim, row, request)
    elif mode == Mode.HOLD:
        if request.kv_blocks > 0:
            lists.append_held(sim, row)
    else:
        _lose_tokens(sim, row, request)
        if mode == Mode.RESTART:
            sim.num_tokenless += request.first_token_ps >= 0
            request.generated_tokens = 0
            request.first_token_ps = -1
            refreshing.begin(sim, row)
    sim.num_left += 1
    request.num_preemptions[mode] += 1
    sim.num_preemptions[mode] += 1
    if sim.log:
        log.write(sim, log.PREEMPTED, request.id, mode)
    hidden.barred = sim.num_events
    if aside and not sim.agent:
        request.status = Status.WAITING
        sim.num_waiting += 1
        set_aside(sim, row, order_key(sim, hooks, request))
    else:
        join_queue(sim, hooks, row)


@helper
def drop_last_held(sim: Any) -> None:
    """The request held last loses its blocks and will be recomputed."""
    row = sim.last_held
    lists.remove_held(sim, row)
    _lose_tokens(sim, row, request_at(sim.requests, row))
    sim.num_held_dropped += 1


@helper
def _choose_victim(sim: Any, hooks: Any, requester: int) -> int:
    if sim.victim_hook == 0:
        return sim.last_running
    refreshing.show_running(sim)
    for_whom = request_at(sim.requests, requester)
    best, best_value, best_id = -1, -math.inf, -1
    row = sim.first_running
    while row >= 0:
        request = request_at(sim.requests, row)
        value = call_on_pair(sim, hooks, _VICTIM, sim.victim_hook, request, for_whom)
        if math.isnan(value):
            value = -math.inf
        if best < 0 or value > best_value or (value == best_value and request.id > best_id):
            best, best_value, best_id = row, value, request.id
        row = request.next
    return best


@helper
def make_room(sim: Any, hooks: Any, requester: int) -> bool:
    """A running request finds no block: somebody gives up some. False when that is the requester itself."""
    if sim.last_held >= 0:
        drop_last_held(sim)
        return True
    sim.shortage = 1
    victim = _choose_victim(sim, hooks, requester)
    preempt(sim, hooks, victim, sim.victim_mode, False)
    return victim != requester


@helper
def displace(sim: Any, hooks: Any, candidate: int, lacking_blocks: int) -> bool:
    """Preempt the running request that the policy values most highly as a place for `candidate`, if any is above 0
    and all of these together hold the blocks that it lacks: nobody is sent away in vain."""
    refreshing.show_running(sim)
    for_whom = request_at(sim.requests, candidate)
    best, best_value, best_id = -1, 0.0, -1
    blocks = 0
    row = sim.first_running
    while row >= 0:
        request = request_at(sim.requests, row)
        if request.admit_seq < sim.first_new_seq:
            value = call_on_pair(sim, hooks, _PREEMPT, sim.preempt_hook, request, for_whom)
            if value > 0.0:
                blocks += request.kv_blocks
            if value > best_value or (value == best_value and best >= 0 and request.id > best_id):
                best, best_value, best_id = row, value, request.id
        row = request.next
    if best < 0 or blocks < lacking_blocks:
        return False
    preempt(sim, hooks, best, sim.preempt_mode, True)
    return True
