"""Shortest first, on predicted or true output lengths: SJF, PSJF and SRPT and their predicted twins.

Sources: Mitzenmacher and Shahout, arXiv 2503.07545 (SPJF, PSPJF, SPRPT); SSJF, arXiv 2404.08509; Dell'Amico, arXiv
1907.04824 (SPT by the first estimate). A prediction of nan goes last.

Nothing but events changes what they decide (`wake=math.inf`): the keys of those who wait stand, and a running request
that nobody displaces now only comes closer to its end.
"""

from __future__ import annotations

import math
from typing import Any

from baselines.shared import length_of, remaining_of
from llmqgym.policy import Policy


def length(request: Any, server: Any) -> float:
    """The output length, in tokens: predicted, or true for an oracle."""
    return length_of(request)


def first_estimate(request: Any, server: Any) -> float:
    """The output length predicted at arrival."""
    return float(request.initial_predicted_output_tokens)


def remaining(request: Any, server: Any) -> float:
    """Tokens still to generate; below 0 for a request that has outlived its prediction."""
    return remaining_of(request)


def shorter_by(running: Any, candidate: Any, server: Any) -> float:
    """By how many tokens the candidate is shorter than a running request."""
    return length_of(running) - length_of(candidate)


def first_estimated_shorter_by(running: Any, candidate: Any, server: Any) -> float:
    """By how many tokens the candidate was predicted to be shorter when both arrived."""
    return float(running.initial_predicted_output_tokens - candidate.initial_predicted_output_tokens)


def closer_by(running: Any, candidate: Any, server: Any) -> float:
    """By how many tokens the candidate is closer to its end than a running request."""
    return remaining_of(running) - remaining_of(candidate)


def longest(running: Any, requester: Any, server: Any) -> float:
    """Victim: the longest."""
    return length_of(running)


def longest_first_estimate(running: Any, requester: Any, server: Any) -> float:
    """Victim: the one that was predicted to be the longest when it arrived."""
    return float(running.initial_predicted_output_tokens)


def farthest(running: Any, requester: Any, server: Any) -> float:
    """Victim: the one with most to generate."""
    return remaining_of(running)


def sjf() -> Policy:
    """Shortest job first on true lengths, not preemptive (oracle)."""
    return Policy("sjf", order=length, oracle=True)


def spjf() -> Policy:
    """Shortest predicted job first, not preemptive (SSJF without aging)."""
    return Policy("spjf", order=length)


def psjf(mode: str = "recompute") -> Policy:
    """Shortest job first on true lengths, preemptive; `mode` of preemption (oracle)."""
    return _preemptive_shortest_job("psjf", mode, oracle=True)


def pspjf(mode: str = "recompute") -> Policy:
    """Shortest predicted job first, preemptive; `mode` of preemption."""
    return _preemptive_shortest_job("pspjf", mode, oracle=False)


def spt(mode: str = "recompute") -> Policy:
    """Shortest first estimate first, preemptive, whatever a predictor says later; `mode` of preemption."""
    return Policy(
        "spt",
        order=first_estimate,
        preempt=first_estimated_shorter_by,
        victim=longest_first_estimate,
        preempt_mode=mode,
        wake=math.inf,
    )


def srpt(mode: str = "recompute") -> Policy:
    """Shortest remaining processing time on true lengths, preemptive; `mode` of preemption (oracle)."""
    return _shortest_remaining("srpt", mode, oracle=True)


def sprpt(mode: str = "recompute") -> Policy:
    """Shortest predicted remaining processing time, preemptive; `mode` of preemption."""
    return _shortest_remaining("sprpt", mode, oracle=False)


def _preemptive_shortest_job(name: str, mode: str, oracle: bool) -> Policy:
    return Policy(
        name, order=length, preempt=shorter_by, victim=longest, preempt_mode=mode, wake=math.inf, oracle=oracle
    )


def _shortest_remaining(name: str, mode: str, oracle: bool) -> Policy:
    return Policy(
        name, order=remaining, preempt=closer_by, victim=farthest, preempt_mode=mode, wake=math.inf, oracle=oracle
    )
