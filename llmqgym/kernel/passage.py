"""Requests coming and going: arrivals join the queue, those who are done leave a row in the table of departures."""

from __future__ import annotations

from typing import Any

from llmqgym.kernel import cohort, integrals, lists, log, refreshing
from llmqgym.kernel.hooks import tell_of_request
from llmqgym.kernel.jit import helper
from llmqgym.kernel.kv_cache import blocks_for, release_all
from llmqgym.kernel.memory import agent_at, arrival_at, departure_at, hidden_at, peek, poke, request_at
from llmqgym.kernel.tables import REQUEST_NOTES, Outcome, Status
from llmqgym.kernel.waiting import join_queue

_ARRIVE, _FINISHED = 6, 9
#: take_arrivals: nothing is missing, go on.
GO_ON = -1


@helper
def take_arrivals(sim: Any, hooks: Any) -> int:
    """Let everybody who has arrived by now join; returns GO_ON, or the Outcome that says what is missing."""
    while True:
        if sim.next_arrival == sim.num_arrivals:
            return GO_ON if sim.last_chunk else Outcome.NEED_ARRIVALS.value
        arrival = arrival_at(sim.arrivals, sim.next_arrival)
        if arrival.arrival_ps > sim.clock_ps:
            return GO_ON
        if arrival.arrival_ps < sim.last_arrival_ps:
            return Outcome.UNSORTED.value
        if arrival.prompt_tokens + arrival.output_tokens > sim.longest_tokens:
            return Outcome.TOO_LONG.value
        if blocks_for(sim, arrival.prompt_tokens + arrival.output_tokens - 1) > sim.num_kv_blocks:
            if sim.num_departures == sim.departures_capacity:
                return Outcome.NEED_DRAIN.value
            _reject(sim, arrival)
        else:
            if sim.num_free_rows == 0:
                return Outcome.NEED_ROOM.value
            _enter_system(sim, hooks, arrival)
        sim.last_arrival_ps = arrival.arrival_ps
        sim.next_id += 1
        sim.next_arrival += 1


@helper
def _enter_system(sim: Any, hooks: Any, arrival: Any) -> None:
    sim.num_free_rows -= 1
    row = peek(sim.free_rows, sim.num_free_rows)
    request = request_at(sim.requests, row)
    request.id = sim.next_id
    request.arrival_ps = arrival.arrival_ps
    request.prompt_tokens = arrival.prompt_tokens
    request.max_output_tokens = arrival.max_output_tokens
    request.predicted_output_tokens = arrival.predicted_output_tokens
    request.initial_predicted_output_tokens = arrival.predicted_output_tokens
    request.predicted_lower_tokens = arrival.predicted_lower_tokens
    request.predicted_upper_tokens = arrival.predicted_upper_tokens
    request.true_output_tokens = arrival.output_tokens if sim.oracle else -1
    request.priority = arrival.priority
    request.tenant = arrival.tenant
    request.ttft_limit_ps = arrival.ttft_limit_ps
    request.tpot_limit_ps = arrival.tpot_limit_ps
    request.e2e_limit_ps = arrival.e2e_limit_ps
    request.prefix_group = arrival.prefix_group
    request.prefix_tokens = arrival.prefix_tokens
    request.program = arrival.program
    request.first_hash = arrival.first_hash
    request.num_hashes = arrival.num_hashes
    request.computed_tokens = 0
    request.generated_tokens = 0
    request.prefill_target_tokens = arrival.prompt_tokens
    request.kv_blocks = 0
    request.host_blocks = 0
    request.admit_seq = -1
    request.first_scheduled_ps = -1
    request.first_token_ps = -1
    for mode in range(4):
        request.num_preemptions[mode] = 0
    request.lost_tokens = 0
    request.prefix_hit_tokens = 0
    request.cached_tokens = 0
    request.swapped_blocks = 0
    request.previous = -1
    request.next = -1
    for place in range(REQUEST_NOTES):
        request.notes[place] = 0.0
    hidden = hidden_at(sim.hidden, row)
    hidden.output_tokens = arrival.output_tokens
    hidden.together = 0
    hidden.scheduled_tokens = 0
    hidden.held = 0
    hidden.top_node = -1
    hidden.num_registered = 0
    hidden.shown = 0
    hidden.barred = -1
    sim.longest_seen_tokens = max(sim.longest_seen_tokens, arrival.prompt_tokens + arrival.output_tokens)
    refreshing.begin(sim, row)
    integrals.add_product(sim.integral_requests, 1, sim.clock_ps - arrival.arrival_ps)
    sim.num_tokenless += 1
    if sim.agent:
        integrals.add_product(sim.integral_tokenless, 1, sim.clock_ps - arrival.arrival_ps)
        agent_at(sim.agent, 0).news = 1
    if sim.arrive_hook:
        tell_of_request(sim, hooks, _ARRIVE, sim.arrive_hook, request)
    join_queue(sim, hooks, row)


@helper
def _reject(sim: Any, arrival: Any) -> None:
    departure = departure_at(sim.departures, sim.num_departures)
    sim.num_departures += 1
    sim.num_rejected += 1
    departure.id = sim.next_id
    departure.status = Status.REJECTED
    departure.arrival_ps = arrival.arrival_ps
    departure.first_scheduled_ps = -1
    departure.first_token_ps = -1
    departure.finish_ps = -1
    departure.prompt_tokens = arrival.prompt_tokens
    departure.output_tokens = arrival.output_tokens
    departure.generated_tokens = 0
    departure.predicted_output_tokens = arrival.predicted_output_tokens
    departure.priority = arrival.priority
    departure.tenant = arrival.tenant
    departure.ttft_limit_ps = arrival.ttft_limit_ps
    departure.tpot_limit_ps = arrival.tpot_limit_ps
    departure.e2e_limit_ps = arrival.e2e_limit_ps
    for mode in range(4):
        departure.num_preemptions[mode] = 0
    departure.lost_tokens = 0
    departure.swapped_blocks = 0
    departure.computed_tokens = 0
    departure.prefix_hit_tokens = 0


@helper
def _write_departure(sim: Any, request: Any, output_tokens: int, status: int, finish_ps: int) -> None:
    departure = departure_at(sim.departures, sim.num_departures)
    sim.num_departures += 1
    departure.id = request.id
    departure.status = status
    departure.arrival_ps = request.arrival_ps
    departure.first_scheduled_ps = request.first_scheduled_ps
    departure.first_token_ps = request.first_token_ps
    departure.finish_ps = finish_ps
    departure.prompt_tokens = request.prompt_tokens
    departure.output_tokens = output_tokens
    departure.generated_tokens = request.generated_tokens
    departure.predicted_output_tokens = request.initial_predicted_output_tokens
    departure.priority = request.priority
    departure.tenant = request.tenant
    departure.ttft_limit_ps = request.ttft_limit_ps
    departure.tpot_limit_ps = request.tpot_limit_ps
    departure.e2e_limit_ps = request.e2e_limit_ps
    for mode in range(4):
        departure.num_preemptions[mode] = request.num_preemptions[mode]
    departure.lost_tokens = request.lost_tokens
    departure.swapped_blocks = request.swapped_blocks
    departure.computed_tokens = request.computed_tokens
    departure.prefix_hit_tokens = request.prefix_hit_tokens


@helper
def finish(sim: Any, hooks: Any, row: int, was_decoding: bool) -> None:
    """A running request has its last token: slot and blocks are free, its row is done with."""
    request = request_at(sim.requests, row)
    hidden = hidden_at(sim.hidden, row)
    if hidden.together:
        cohort.leave(sim, row)
    release_all(sim, row, request)
    lists.remove_running(sim, row)
    if was_decoding:
        sim.num_decoding -= 1
    if sim.finished_hook:
        tell_of_request(sim, hooks, _FINISHED, sim.finished_hook, request)
    request.status = Status.FREE
    sim.num_finished += 1
    _write_departure(sim, request, hidden.output_tokens, Status.FINISHED, sim.clock_ps)
    poke(sim.free_rows, sim.num_free_rows, row)
    sim.num_free_rows += 1
    if sim.agent:
        agent_at(sim.agent, 0).news = 1
    if sim.log:
        log.write(sim, log.FINISHED, request.id, 0)


@helper
def report_unfinished(sim: Any) -> None:
    """At the end of a run: a departure without a finish for everybody still here; their rows stay as they are."""
    cohort.bring_all_up_to_date(sim)
    for row in range(sim.capacity):
        request = request_at(sim.requests, row)
        if request.status == Status.WAITING or request.status == Status.RUNNING:
            output_tokens = hidden_at(sim.hidden, row).output_tokens
            _write_departure(sim, request, output_tokens, Status.UNFINISHED, -1)
