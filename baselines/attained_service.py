"""Least attained service (foreground-background): those who have generated least run, nothing is predicted.

Source: Nuyens and Wierman, "The Foreground-Background queue: a survey", Performance Evaluation 65, 2008. Ages are
counted in quanta, so that requests of the same age take turns of one quantum; a quantum of one token is the policy of
the theory, whose requests of the same age share the server.
"""

from __future__ import annotations

import math
from typing import Any

from baselines.shared import callable_from_hooks
from llmqgym.checks import check_count
from llmqgym.kernel.memory import request_at
from llmqgym.policy import Policy


@callable_from_hooks
def level_of(request: Any, server: Any) -> float:
    """Whole quanta that a request has generated."""
    return float(request.generated_tokens // server.params[0])


def level(request: Any, server: Any) -> float:
    """Fewest quanta first, then order of arrival."""
    return level_of(request, server)


def older_by(running: Any, candidate: Any, server: Any) -> float:
    """By how many quanta a running request has had more than the candidate."""
    return level_of(running, server) - level_of(candidate, server)


def oldest(running: Any, requester: Any, server: Any) -> float:
    """Victim: the one that has had most quanta."""
    return level_of(running, server)


def to_next_quantum(server: Any) -> float:
    """Passes until a running request completes a quantum; while nobody waits that changes nothing."""
    passes = math.inf
    row = server.first_running if server.num_waiting > 0 else -1
    while row >= 0:
        request = request_at(server.requests, row)
        passes = min(passes, server.params[0] - request.generated_tokens % server.params[0])
        row = request.next
    return passes


def las(quantum: int = 64, mode: str = "recompute") -> Policy:
    """Least attained service, preemptive: `quantum` in tokens, `mode` of preemption."""
    return Policy(
        "las",
        order=level,
        preempt=older_by,
        victim=oldest,
        preempt_mode=mode,
        wake=to_next_quantum,
        params=(float(check_count("quantum of las", quantum, 2**40)),),
    )
