"""Lengths known up to an interval: A_max plans with its upper end, A_min with its lower end, and learns.

Source: arXiv 2508.14544; the details of A_min's eviction are RECALL. Both admit by MC-SF's test, shortest first, and
stop at the first that does not fit. Where no interval was predicted the lower end is 1 and the upper one the declared
cap.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baselines.peak import peak_fits
from baselines.shared import callable_from_hooks, while_waiting
from llmqgym.kernel.memory import request_at
from llmqgym.policy import Policy


@callable_from_hooks
def upper_tokens(request: Any) -> int:
    """The upper end, a whole number."""
    upper = float(request.predicted_upper_tokens)
    return int(request.max_output_tokens if math.isnan(upper) else math.ceil(upper))


@callable_from_hooks
def plan_fits(candidate: Any, server: Any, refined: bool) -> bool:
    """MC-SF's test with everybody's upper end, or refined lower end; one that has outlived it has one token to go."""
    if server.num_running == 0:
        return True
    passes = np.empty(server.num_running + 1, np.int64)
    stored = np.empty(server.num_running + 1, np.int64)
    request, row = candidate, server.first_running
    for place in range(server.num_running + 1):
        if place > 0:
            request = request_at(server.requests, row)
            row = request.next
        planned = int(request.notes[0]) if refined else upper_tokens(request)
        passes[place] = max(planned - request.generated_tokens, 1)
        stored[place] = request.prompt_tokens + request.generated_tokens - 1
    return peak_fits(passes, stored, server, server.num_kv_blocks)


def fits_at_most(request: Any, server: Any) -> bool:
    """The test with upper ends."""
    return plan_fits(request, server, False)


def fits_at_least(request: Any, server: Any) -> bool:
    """The test with refined lower ends."""
    return plan_fits(request, server, True)


def smallest_upper(request: Any, server: Any) -> float:
    """The smallest upper end first."""
    return float(upper_tokens(request))


def begin_with_lower_end(request: Any, server: Any) -> None:
    """Its length is planned to be the lower end."""
    lower = float(request.predicted_lower_tokens)
    request.notes[0] = 1.0 if math.isnan(lower) else max(math.floor(lower), 1.0)


def refine(request: Any, server: Any) -> None:
    """A request that is killed is at least as long as it was."""
    request.notes[0] = max(request.notes[0], float(request.generated_tokens))


def smallest_refined(request: Any, server: Any) -> float:
    """The smallest refined lower end first."""
    return float(request.notes[0])


def shortest_plan(running: Any, requester: Any, server: Any) -> float:
    """Victim: the smallest lower end, what it has generated included."""
    return -max(float(running.notes[0]), float(running.generated_tokens))


def a_max() -> Policy:
    """A_max: MC-SF on the upper ends of predicted intervals.

    O(running) per candidate, O(n log n) where memory is nearly full.
    """
    return Policy("a-max", order=smallest_upper, fit=fits_at_most, wake=while_waiting)


def a_min() -> Policy:
    """A_min: MC-SF on the lower ends of predicted intervals, which grow as requests outlive them. On a shortage
    requests are killed in the order of their lower ends, lose all their tokens, and wait with what they had as their
    new lower end.

    O(running) per candidate, O(n log n) where memory is nearly full.
    """
    return Policy(
        "a-min",
        order=smallest_refined,
        fit=fits_at_least,
        victim=shortest_plan,
        victim_mode="restart",
        arrive=begin_with_lower_end,
        preempted=refine,
        wake=while_waiting,
    )
