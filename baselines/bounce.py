"""SPRPT with bounce: a request that outlives its prediction falls back again, as far as it had come forward.

The rank of a request of prediction z and age a is min(|z - a|, z): it falls to 0 as for SPRPT, and from there rises to
z, where it stays. A job that was badly under-predicted cannot hold the server for ever. Source: Scully, Grosof and
Mitzenmacher, "Uniform bounds for scheduling with job size estimates", ITCS 2022 (arXiv 2110.00633).
"""

from __future__ import annotations

import math
from typing import Any

from baselines.shared import callable_from_hooks, length_of
from llmqgym.kernel.memory import request_at
from llmqgym.policy import Policy


@callable_from_hooks
def rank_of(request: Any) -> float:
    """min(|z - a|, z), in tokens."""
    prediction = length_of(request)
    return float(min(abs(prediction - request.generated_tokens), prediction))


def rank(request: Any, server: Any) -> float:
    """Smallest rank first."""
    return rank_of(request)


def outranked_by(running: Any, candidate: Any, server: Any) -> float:
    """By how much the candidate's rank is smaller."""
    return rank_of(running) - rank_of(candidate)


def largest_rank(running: Any, requester: Any, server: Any) -> float:
    """Victim: the largest rank."""
    return rank_of(running)


def to_next_rise(server: Any) -> float:
    """Passes until the rank of a running request rises: a falling rank changes nothing, a rising one may pass that of
    somebody who waits at any time, and from twice the prediction on it stands."""
    passes = math.inf
    row = server.first_running if server.num_waiting > 0 else -1
    while row >= 0:
        request = request_at(server.requests, row)
        prediction, age = length_of(request), float(request.generated_tokens)
        if age <= prediction:
            passes = min(passes, math.floor(prediction) + 1.0 - age)
        elif age < 2.0 * prediction:
            return 1.0
        row = request.next
    return passes


def sprpt_bounce(mode: str = "recompute") -> Policy:
    """SPRPT with bounce: smallest min(|z - a|, z) first, of prediction z and age a; `mode` of preemption."""
    return Policy(
        "sprpt-bounce", order=rank, preempt=outranked_by, victim=largest_rank, preempt_mode=mode, wake=to_next_rise
    )
