"""SkipPredict: a cheap bit for everybody, an expensive prediction only for those whom the bit calls long.

Predicted shorts have priority, are served by arrival and are not preempted; predicted longs are served by shortest
predicted remaining time, and leave for a short one and for a shorter long one. Source: Shahout and Mitzenmacher,
"SkipPredict: when to invest in predictions for scheduling", arXiv 2402.03564. The bit is prediction < threshold; the
cost of predictions is external, as in the paper's first model.
"""

from __future__ import annotations

import math
from typing import Any

from baselines.shared import callable_from_hooks, remaining_of
from llmqgym.checks import check_real
from llmqgym.policy import Policy

#: Above every remaining length, and small enough to leave it its decimals.
_SHORT_CALLS = 2.0**40


@callable_from_hooks
def is_short(request: Any, server: Any) -> bool:
    """The cheap bit, as of the arrival."""
    return bool(request.initial_predicted_output_tokens < server.params[0])


def short_then_remaining(request: Any, server: Any) -> float:
    """Shorts by arrival, then longs by remaining length."""
    return -math.inf if is_short(request, server) else remaining_of(request)


def long_for_better(running: Any, candidate: Any, server: Any) -> float:
    """A long request leaves for a short one (that with most to generate), and for a long one closer to its end."""
    if is_short(running, server):
        return 0.0
    if is_short(candidate, server):
        return _SHORT_CALLS + remaining_of(running)
    return remaining_of(running) - remaining_of(candidate)


def farthest_long(running: Any, requester: Any, server: Any) -> float:
    """Victim: the long one with most to generate, then shorts, the latest."""
    return -math.inf if is_short(running, server) else remaining_of(running)


def skip_predict(threshold: float = 256.0, mode: str = "recompute") -> Policy:
    """SkipPredict with external cost: `threshold` in tokens, `mode` of preemption."""
    return Policy(
        "skip-predict",
        order=short_then_remaining,
        preempt=long_for_better,
        victim=farthest_long,
        preempt_mode=mode,
        wake=math.inf,
        params=(check_real("threshold of skip-predict", threshold, 0, 1e15),),
    )
