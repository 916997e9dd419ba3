"""gamma-Boost: the smallest boosted arrival time first, where short requests are boosted more.

Source: Yu and Scully, arXiv 2404.08826: b(s) = ln(1 / (1 - exp(-gamma s))) / gamma; in the M/G/1 gamma solves
gamma = lambda (E[exp(gamma S)] - 1), and the tail is optimal. gamma to 0 is shortest first, to infinity first come.
The size s of a request is taken as so many seconds a token (ours).
"""

from __future__ import annotations

import math
from typing import Any

from baselines.shared import callable_from_hooks, length_of
from llmqgym.checks import check_real
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.policy import Policy


@callable_from_hooks
def boost_s(size_s: float, gamma: float) -> float:
    """b(s) in seconds."""
    return -math.log(1.0 - math.exp(-gamma * size_s)) / gamma


@callable_from_hooks
def boosted_arrival_s(request: Any, server: Any) -> float:
    """Arrival less boost; nan without a length."""
    size_s = server.params[1] * length_of(request) + server.params[2] * request.prompt_tokens
    return float(request.arrival_ps / PS_PER_S - boost_s(max(size_s, 1e-9), server.params[0]))


def smallest_boosted_arrival(request: Any, server: Any) -> float:
    """The smallest boosted arrival time first."""
    return boosted_arrival_s(request, server)


def boosted_before(running: Any, candidate: Any, server: Any) -> float:
    """By how much the candidate's boosted arrival is earlier."""
    return boosted_arrival_s(running, server) - boosted_arrival_s(candidate, server)


def largest_boosted_arrival(running: Any, requester: Any, server: Any) -> float:
    """Victim: the largest boosted arrival time."""
    return boosted_arrival_s(running, server)


def gamma_boost(
    gamma: float = 0.01,
    token_s: float = 0.03,
    prompt_token_s: float = 0.0001,
    preemptive: bool = True,
    mode: str = "recompute",
) -> Policy:
    """gamma-Boost on predicted lengths: `gamma` per second; sizes are `token_s` a predicted output token and
    `prompt_token_s` a prompt token; `preemptive` or not, `mode` of preemption. The boost is computed from a request's
    size once and never changes.

    O(1) per arrival, O(running) per preemption.
    """
    return _boost("gamma-boost", gamma, token_s, prompt_token_s, preemptive, mode, oracle=False)


def gamma_boost_true(
    gamma: float = 0.01,
    token_s: float = 0.03,
    prompt_token_s: float = 0.0001,
    preemptive: bool = True,
    mode: str = "recompute",
) -> Policy:
    """gamma-Boost on true lengths (oracle); `gamma`, `token_s`, `prompt_token_s`, `preemptive` and `mode` as there.

    O(1) per arrival, O(running) per preemption.
    """
    return _boost("gamma-boost-true", gamma, token_s, prompt_token_s, preemptive, mode, oracle=True)


def _boost(
    name: str, gamma: float, token_s: float, prompt_token_s: float, preemptive: bool, mode: str, oracle: bool
) -> Policy:
    return Policy(
        name,
        order=smallest_boosted_arrival,
        preempt=boosted_before if preemptive else None,
        victim=largest_boosted_arrival,
        preempt_mode=mode,
        wake=math.inf,
        oracle=oracle,
        params=(
            check_real(f"gamma of {name}", gamma, 1e-9, 1e9),
            check_real(f"token_s of {name}", token_s, 0, 1e6),
            check_real(f"prompt_token_s of {name}", prompt_token_s, 0, 1e6),
        ),
    )
