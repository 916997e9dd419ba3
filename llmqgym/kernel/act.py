"""A step of an environment: the command of an agent, the time until the next decision, what came of it.

One call steps any number of servers, each with its own record; what the border has to help with (room, blocks) comes
back as the server's outcome, and the next call goes on there.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any

import numpy as np

from llmqgym.kernel import agent as seat
from llmqgym.kernel import reward, window
from llmqgym.kernel.ahead import ask_for_those_after
from llmqgym.kernel.batch import admit, preempting_helps, tokens_on_entry
from llmqgym.kernel.hooks import call_service
from llmqgym.kernel.jit import entry_point, helper
from llmqgym.kernel.memory import hidden_at, peek, peek_byte, peek_single, request_at, simulator_at
from llmqgym.kernel.tables import Deciding, Outcome

_FOR_EVER = 1 << 60


class Command(IntEnum):
    """Commands beside those of the action space, 0 run, 1 .. K admit, K + 1 .. K + M * B preempt: far from any of them,
    so that no action is taken for one."""

    RUN = 0
    GO_ON = -(1 << 61)  # the border has helped: on to the next decision
    PASS_OVER = -(1 << 62)  # this server has no step now


@helper
def _obey(sim: Any, agent: Any) -> bool:
    """Carry out a command; whether time may pass. One that is not allowed does nothing."""
    command = agent.command
    agent.invalid = 0
    if command < 0 or command >= agent.num_commands or peek_byte(agent.allowed, command) == 0:
        agent.invalid = 1
        return False
    if command == Command.RUN:
        seat.let_it_run(sim, agent)
        return True
    if command <= agent.window_waiting:
        row = window.row_at(agent, command - 1)
        admit(sim, None, row, tokens_on_entry(sim, None, row))
        return False
    seat.preempt_as_told(sim, agent, command - 1 - agent.window_waiting)
    return sim.deciding == Deciding.SHORT


@helper
def _take_scores(sim: Any, agent: Any) -> None:
    for place in range(window.size(agent)):
        hidden_at(sim.hidden, window.row_at(agent, place)).score = peek_single(agent.scores, place)
    for place in range(agent.num_shown_running):
        row = peek(agent.running, place)
        hidden_at(sim.hidden, row).score = peek_single(agent.scores, agent.window_waiting + place)


@helper
def _best_candidate(sim: Any, agent: Any) -> int:
    """The waiting request of the highest score, 0 or more, that has not been tried; ties: the first in the window."""
    best, best_score = -1, -1.0
    for place in range(window.size(agent)):
        row = window.row_at(agent, place)
        score = hidden_at(sim.hidden, row).score
        if score >= 0.0 and score > best_score:
            best, best_score = row, score
    return best


@helper
def _displace(sim: Any, agent: Any, score: float) -> bool:
    """Preempt the running request of the lowest score below `score`, if all of these hold the blocks that are lacking;
    ties: the later id."""
    worst, worst_score, worst_id, blocks = -1, math.inf, -1, 0
    for place in range(agent.num_shown_running):
        row = peek(agent.running, place)
        request, its_score = request_at(sim.requests, row), hidden_at(sim.hidden, row).score
        if request.admit_seq >= sim.first_new_seq or not its_score < score:
            continue
        blocks += request.kv_blocks
        if its_score < worst_score or (its_score == worst_score and request.id > worst_id):
            worst, worst_score, worst_id = row, its_score, request.id
    if worst < 0 or blocks < sim.lacking_blocks:
        return False
    seat.send_away(sim, agent, worst, agent.preempt_modes[0])
    hidden_at(sim.hidden, worst).score = -1.0
    return True


@helper
def _finds_place(sim: Any, agent: Any, score: float) -> bool:
    """Whether somebody has made place for a waiting request of this score that lacks what `lack` says."""
    return preempting_helps(sim.lack, agent.preempt_modes[0]) and _displace(sim, agent, score)


@helper
def _fill_by_score(sim: Any, agent: Any) -> None:
    """Admit the window in the order of its scores, as a policy's waiting pass does."""
    agent.invalid = 0
    _take_scores(sim, agent)
    row = _best_candidate(sim, agent)
    while row >= 0 and seat.may_admit(sim):
        score = hidden_at(sim.hidden, row).score
        tokens = tokens_on_entry(sim, None, row)
        # Who is sent away comes into view, and may push this one out of it: it was chosen, and stays so.
        while tokens == 0 and _finds_place(sim, agent, score) and seat.may_admit(sim):
            tokens = tokens_on_entry(sim, None, row)
        if tokens > 0:
            admit(sim, None, row, tokens)
        elif not agent.skip_misses:
            break
        hidden_at(sim.hidden, row).score = -1.0
        row = _best_candidate(sim, agent)
    seat.count_admissible(sim, agent)
    seat.let_it_run(sim, agent)


@helper
def _show(sim: Any, agent: Any) -> None:
    """Mask and observation."""
    seat.bring_running_up_to_date(sim, agent)
    seat.write_mask(sim, agent)
    call_service(agent.observe_service, sim, sim.agent, 0)


@helper
def step(sim: Any, agent: Any) -> bool:
    """Whether the step is over, and the server not waiting for the border."""
    outcome = Outcome.DECISION.value
    if agent.command == Command.GO_ON:
        runs = True
    else:
        reward.begin(sim, agent)
        if agent.scores:
            _fill_by_score(sim, agent)
            runs = True
        else:
            runs = _obey(sim, agent)
    if runs:
        outcome = call_service(sim.advance_service, sim, _FOR_EVER, 0)
    agent.outcome = outcome
    if outcome > Outcome.HORIZON and outcome != Outcome.DECISION:
        return False
    reward.settle(sim, agent)
    _show(sim, agent)
    return True


@entry_point
def act(agents: np.ndarray) -> int:
    """Step every server of AGENT[n] as its `command` says; returns how many wait for the border.

    Afterwards `outcome`, `reward`, `dt_ps`, `invalid` and the buffers of terms, mask and observation say what came of
    it. An outcome that asks for something is to be followed by Command.GO_ON, others by Command.PASS_OVER meanwhile.
    """
    num_waiting = 0
    for place in range(len(agents)):
        agent = agents[place]
        ask_for_those_after(agents, place)
        if agent.command != Command.PASS_OVER and not step(simulator_at(agent.simulator, 0), agent):
            num_waiting += 1
    return num_waiting


@entry_point
def probe(agents: np.ndarray, index: int, place: int) -> int:
    """Tokens that the waiting request in a place of a server's window would have if it entered now; 0, with `lack` and
    `lacking_blocks` in the server's record, if it cannot."""
    agent = agents[index]
    sim = simulator_at(agent.simulator, 0)
    return tokens_on_entry(sim, None, window.row_at(agent, place))
