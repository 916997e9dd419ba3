"""vLLM-LTR: learning to rank, with a guard against starvation.

Source: Fu et al., arXiv 2408.15792 (NeurIPS 2024), code hao-ai-lab/vllm-ltr, vllm/core/scheduler.py. The ranker's score
is any number that falls with the length: here the prediction made at arrival, negated.
"""

from __future__ import annotations

from typing import Any

from baselines.shared import callable_from_hooks, while_waiting
from llmqgym.checks import check_count
from llmqgym.policy import Policy

#: Notes of a request: iterations it was idle, the iteration since which it waits, that up to which it is promoted.
_IDLE, _SINCE, _PROMOTED_TO = 0, 1, 2
#: Above every predicted length, and small enough to leave it its decimals.
_PROMOTION = 2.0**40


@callable_from_hooks
def is_starving(request: Any, server: Any) -> bool:
    """Whether a waiting request has been idle for as many iterations as the guard allows."""
    return bool(request.notes[_IDLE] + server.num_iterations - request.notes[_SINCE] >= server.params[0])


@callable_from_hooks
def rank_of_running(request: Any, server: Any) -> float:
    """The score of a running request, promoted ones first."""
    promoted = server.num_iterations < request.notes[_PROMOTED_TO]
    return float(request.initial_predicted_output_tokens - (_PROMOTION if promoted else 0.0))


@callable_from_hooks
def rank_of_waiting(request: Any, server: Any) -> float:
    """The score of a waiting request, starving ones first."""
    return float(request.initial_predicted_output_tokens - (_PROMOTION if is_starving(request, server) else 0.0))


def note_arrival(request: Any, server: Any) -> None:
    """It begins to be idle."""
    request.notes[_SINCE] = server.num_iterations


def note_admission(request: Any, server: Any) -> None:
    """A starving request runs promoted for a period, and its idleness counts anew."""
    if is_starving(request, server):
        request.notes[_IDLE] = 0.0
        request.notes[_PROMOTED_TO] = server.num_iterations + server.params[1]
    else:
        request.notes[_IDLE] += server.num_iterations - request.notes[_SINCE]


def note_preemption(request: Any, server: Any) -> None:
    """It is idle again; promoted before its period is over it stays promoted."""
    request.notes[_SINCE] = server.num_iterations
    if server.num_iterations < request.notes[_PROMOTED_TO]:
        request.notes[_IDLE] = server.params[0]
    request.notes[_PROMOTED_TO] = 0.0


def rank(request: Any, server: Any) -> float:
    """Promoted first, then the shortest."""
    return rank_of_waiting(request, server)


def outranked_by(running: Any, candidate: Any, server: Any) -> float:
    """By how much the candidate ranks before a running request."""
    return rank_of_running(running, server) - rank_of_waiting(candidate, server)


def last_ranked(running: Any, requester: Any, server: Any) -> float:
    """Victim: the end of the order."""
    return rank_of_running(running, server)


def ltr(starvation: int = 200, period: int = 10, mode: str = "swap") -> Policy:
    """Waiting and running requests by (promoted, score), greedily, while tokens, slots and blocks hold; who stands last
    in that order leaves for who stands before (`mode` of preemption). A request that was idle for `starvation`
    iterations is promoted until it has run for `period` of them.

    O(waiting) an iteration while somebody waits, O(running) per preemption.
    """
    return Policy(
        "ltr",
        order=rank,
        rekey=True,
        preempt=outranked_by,
        victim=last_ranked,
        victim_mode="recompute" if mode == "hold" else mode,
        preempt_mode=mode,
        arrive=note_arrival,
        admitted=note_admission,
        preempted=note_preemption,
        reads_running=False,
        wake=while_waiting,
        params=(
            float(check_count("starvation of ltr", starvation, 2**40)),
            float(check_count("period of ltr", period, 2**40, 0)),
        ),
    )
