"""An agent at a server: when it is asked, what it may do, and what its commands do.

It stands in the place of a policy's ORDER, MISS and PREEMPT: between the running pass of an iteration and the pass
itself it admits waiting requests and preempts running ones, until it lets the iteration run (docs/environment.md).
"""

from __future__ import annotations

from typing import Any

from llmqgym.kernel import cohort, preemption, refreshing, window
from llmqgym.kernel.batch import free_after, reserve_for_decodes, tokens_on_entry
from llmqgym.kernel.division import quotient, remainder
from llmqgym.kernel.jit import helper
from llmqgym.kernel.kv_cache import blocks_for, count_free
from llmqgym.kernel.memory import agent_at, hidden_at, peek, peek_byte, poke_byte, request_at
from llmqgym.kernel.tables import Deciding, Mix, Mode

# When it is asked


@helper
def may_admit(sim: Any) -> bool:
    """Whether anybody at all could enter this iteration."""
    if sim.shortage or sim.budget_tokens <= 0 or sim.num_running >= sim.max_running:
        return False
    return sim.mix != Mix.BATCH_TO_COMPLETION or sim.door_open != 0


@helper
def _is_admissible(sim: Any, row: int) -> bool:
    if hidden_at(sim.hidden, row).barred == sim.num_events:
        return False
    return tokens_on_entry(sim, None, row) > 0


@helper
def _any_admissible(sim: Any, agent: Any) -> bool:
    if not may_admit(sim):
        return False
    for place in range(window.size(agent)):  # noqa: SIM110 - compiled
        if _is_admissible(sim, window.row_at(agent, place)):
            return True
    return False


@helper
def count_admissible(sim: Any, agent: Any) -> None:
    """After newcomers have entered without being asked for one by one: who of the window still could."""
    agent.num_admissible = 1 if _any_admissible(sim, agent) else 0


@helper
def _interval_after_running(agent: Any) -> int:
    """Iterations after which the agent is asked again: fewer if it has left somebody waiting who could have entered."""
    if agent.num_admissible > 0:
        return min(agent.decision_interval, agent.admission_interval)
    return agent.decision_interval


def asked_service(sim: Any, row: int, number: int) -> int:
    """Service, after the running pass: whether a decision is due, which it is when somebody came or left, somebody in
    view could enter, blocks were short, or `decision_interval` iterations have passed. Whoever has just been left
    waiting beside a busy server counts after `admission_interval`."""
    agent = agent_at(sim.agent, 0)
    if agent.made_room:  # it has just decided, and nobody enters beside those who had to leave
        sim.num_left += agent.made_room
        sim.shortage = 1
        agent.made_room = 0
        due = agent.news != 0
    else:
        due = agent.news != 0 or sim.shortage != 0
    since = sim.num_iterations - agent.decided_at
    interval = agent.decision_interval
    if not due and since < interval and _any_admissible(sim, agent):
        interval = _interval_after_running(agent)
        due = agent.num_admissible == 0 or sim.num_running == 0  # an idle server makes no iterations to count
    if due or since >= interval:
        agent.news = 0
        agent.decided_at = sim.num_iterations
        return 1
    sim.wake_passes = min(agent.wake_passes, interval - since)
    return 0


@helper
def _lacks_blocks(sim: Any) -> bool:
    """The running pass of vLLM's preset, gone through without doing anything; held blocks would be dropped for it."""
    sim.lone = sim.num_running + sim.num_waiting == 1
    cohort.bring_all_up_to_date(sim)
    free = count_free(sim)
    held = sim.last_held
    while held >= 0:
        free += request_at(sim.requests, held).kv_blocks
        held = request_at(sim.requests, held).previous
    return free_after(sim, sim.first_running, sim.max_batched_tokens, free) < 0


def short_service(sim: Any, row: int, number: int) -> int:
    """Service: whether the running pass would not find its blocks, and the agent is to make room."""
    agent = agent_at(sim.agent, 0)
    if agent.makes_room == 0 or sim.num_running == 0:
        return 0
    together = sim.cohort_formed and sim.num_cohort == sim.num_running
    if together and sim.num_cohort <= sim.max_batched_tokens and cohort.blocks_needed(sim) <= count_free(sim):
        return 0
    return 1 if _lacks_blocks(sim) else 0


# What it is shown, and may do


@helper
def bring_running_up_to_date(sim: Any, agent: Any) -> None:
    """The rows of the running requests that the agent is shown."""
    running, num = agent.running, agent.num_shown_running
    for place in range(num):
        cohort.show(sim, peek(running, place))
    if sim.refreshing:
        for place in range(num):
            refreshing.catch_up(sim, peek(running, place))


@helper
def write_mask(sim: Any, agent: Any) -> None:
    """1 where a command is allowed: run, admit the k-th of the window, preempt the b-th running request, by mode."""
    short = sim.deciding == Deciding.SHORT
    mask = agent.mask
    agent.allowed = mask
    for place in range(agent.num_commands):
        poke_byte(mask, place, 0)
    poke_byte(mask, 0, 0 if short else 1)
    num_admissible = 0
    if sim.deciding == Deciding.OPEN and may_admit(sim):
        for place in range(window.size(agent)):
            if _is_admissible(sim, window.row_at(agent, place)):
                num_admissible += 1
                poke_byte(mask, 1 + place, 1)
    agent.num_admissible = num_admissible
    if sim.deciding == Deciding.NOTHING:
        return
    first = 1 + agent.window_waiting
    for place in range(0 if short else _num_newcomers(sim, agent), agent.num_shown_running):
        poke_byte(mask, first + place, 1)
    if agent.num_modes > 1:
        _write_mask_by_mode(sim, agent, first)


@helper
def _num_newcomers(sim: Any, agent: Any) -> int:
    """Of the running requests shown, those that have entered in this iteration: the first ones."""
    place = 0
    while place < agent.num_shown_running:
        if request_at(sim.requests, peek(agent.running, place)).admit_seq < sim.first_new_seq:
            break
        place += 1
    return place


@helper
def _can_leave_by(sim: Any, mode: int, row: int) -> bool:
    """Whether a running request that may leave can do so by a Mode: hold answers no shortage, and what is swapped must
    find room in host memory."""
    if mode == Mode.HOLD:
        return sim.deciding != Deciding.SHORT
    return mode != Mode.SWAP or blocks_for(sim, request_at(sim.requests, row).computed_tokens) <= sim.free_host_blocks


@helper
def _write_mask_by_mode(sim: Any, agent: Any, first: int) -> None:
    """Who may leave at all stands from `first` on; for each mode, the first of them last, who may leave by it."""
    for number in range(agent.num_modes - 1, -1, -1):
        start = first + number * agent.window_running
        for place in range(agent.window_running):
            may = peek_byte(agent.mask, first + place)
            if may:
                may = _can_leave_by(sim, agent.preempt_modes[number], peek(agent.running, place))
            poke_byte(agent.mask, start + place, 1 if may else 0)


# What its commands do


@helper
def send_away(sim: Any, agent: Any, row: int, mode: int) -> None:
    """A running request leaves by a Mode."""
    if sim.deciding == Deciding.SHORT:
        agent.made_room += 1
        preemption.preempt(sim, None, row, mode, False)
        return
    preemption.preempt(sim, None, row, mode, True)
    reserve_for_decodes(sim)


@helper
def preempt_as_told(sim: Any, agent: Any, choice: int) -> None:
    """Carry out one of the M * B commands to preempt. An agent that has no choice of mode preempts for want of blocks
    in the engine's."""
    mode = agent.preempt_modes[quotient(choice, agent.window_running)]
    if sim.deciding == Deciding.SHORT and agent.num_modes == 1:
        mode = sim.victim_mode
    send_away(sim, agent, peek(agent.running, remainder(choice, agent.window_running)), mode)


@helper
def let_it_run(sim: Any, agent: Any) -> None:
    """The iteration may begin."""
    sim.budget_stop = sim.budget_tokens <= 0 and sim.num_waiting > 0 and sim.num_running < sim.max_running
    sim.wake_passes = min(agent.wake_passes, _interval_after_running(agent))


#: By the field of the simulator's record that holds the address.
SERVICES = {
    "join_service": window.join_service,
    "leave_service": window.leave_service,
    "enter_service": window.enter_service,
    "exit_service": window.exit_service,
    "gather_service": window.gather_service,
    "spread_service": window.spread_service,
    "short_service": short_service,
    "asked_service": asked_service,
}
