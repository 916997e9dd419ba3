"""Shortest first, on predicted or true output lengths: SJF and SRPT and their predicted twins.

Sources: Mitzenmacher and Shahout, arXiv 2503.07545 (SPJF, SPRPT); SSJF, arXiv 2404.08509. A prediction of nan goes
last.
"""

from __future__ import annotations

import math
from typing import Any

from llmqgym.policy import Policy


def predicted_length(request: Any, server: Any) -> float:
    """The predicted output length, in tokens."""
    return float(request.predicted_output_tokens)


def predicted_remaining(request: Any, server: Any) -> float:
    """What the prediction leaves to generate; below 0 for a request that has outlived it."""
    return float(request.predicted_output_tokens - request.generated_tokens)


def true_length(request: Any, server: Any) -> float:
    """The true output length (oracle)."""
    return float(request.true_output_tokens)


def true_remaining(request: Any, server: Any) -> float:
    """Tokens still to generate (oracle)."""
    return float(request.true_output_tokens - request.generated_tokens)


def predicted_gain(running: Any, candidate: Any, server: Any) -> float:
    """By how many predicted tokens the candidate is closer to its end than a running request."""
    mine = running.predicted_output_tokens - running.generated_tokens
    return float(mine - (candidate.predicted_output_tokens - candidate.generated_tokens))


def true_gain(running: Any, candidate: Any, server: Any) -> float:
    """By how many tokens the candidate is closer to its end than a running request (oracle)."""
    mine = running.true_output_tokens - running.generated_tokens
    return float(mine - (candidate.true_output_tokens - candidate.generated_tokens))


def predicted_remaining_of(running: Any, requester: Any, server: Any) -> float:
    """Victim: the longest predicted remaining length."""
    return float(running.predicted_output_tokens - running.generated_tokens)


def true_remaining_of(running: Any, requester: Any, server: Any) -> float:
    """Victim: the longest remaining length (oracle)."""
    return float(running.true_output_tokens - running.generated_tokens)


def sjf() -> Policy:
    """Shortest job first on true lengths, not preemptive (oracle)."""
    return Policy("sjf", order=true_length, oracle=True)


def spjf() -> Policy:
    """Shortest predicted job first, not preemptive (SSJF without aging)."""
    return Policy("spjf", order=predicted_length)


def srpt(mode: str = "recompute") -> Policy:
    """Shortest remaining processing time on true lengths, preemptive; `mode` of preemption (oracle)."""
    return Policy(
        "srpt",
        order=true_remaining,
        preempt=true_gain,
        victim=true_remaining_of,
        preempt_mode=mode,
        wake=math.inf,
        oracle=True,
    )


def sprpt(mode: str = "recompute") -> Policy:
    """Shortest predicted remaining processing time, preemptive; `mode` of preemption."""
    return Policy(
        "sprpt",
        order=predicted_remaining,
        preempt=predicted_gain,
        victim=predicted_remaining_of,
        preempt_mode=mode,
        wake=math.inf,
    )
