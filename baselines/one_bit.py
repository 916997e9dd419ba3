"""One bit of advice: requests below a threshold go before the others; inside a class by arrival.

Source: Mitzenmacher, "Queues with small advice", arXiv 2006.15463; Mitzenmacher and Shahout, arXiv 2503.07545. The bit
is predicted < threshold, or true < threshold for the oracle; a request without a prediction counts as long. Preemptive
or not; `front` sends short requests to the front of the queue, so that with preemption shorts are served last come
first (LCFS-PR), the authors' variant.
"""

from __future__ import annotations

import math
from typing import Any

from baselines.shared import callable_from_hooks, length_of
from llmqgym.checks import check_real
from llmqgym.policy import Policy


@callable_from_hooks
def is_short(request: Any, server: Any) -> bool:
    """The bit."""
    return bool(length_of(request) < server.params[0])


def short_first(request: Any, server: Any) -> float:
    """Shorts by arrival, then longs by arrival."""
    return 0.0 if is_short(request, server) else 1.0


def last_short_first(request: Any, server: Any) -> float:
    """Shorts, the latest first, then longs by arrival."""
    return -float(request.id) if is_short(request, server) else 1.0


def long_for_short(running: Any, candidate: Any, server: Any) -> float:
    """A long request leaves for a short one."""
    return 1.0 if is_short(candidate, server) and not is_short(running, server) else 0.0


def anybody_for_later_short(running: Any, candidate: Any, server: Any) -> float:
    """A long request leaves for a short one, else the short one that came longest before the candidate."""
    if not is_short(candidate, server):
        return 0.0
    return float(candidate.id - running.id) if is_short(running, server) else math.inf


def long_first(running: Any, requester: Any, server: Any) -> float:
    """Victim: a long one, the latest."""
    return 0.0 if is_short(running, server) else 1.0


def one_bit(threshold: float = 256.0, preemptive: bool = True, front: bool = True, mode: str = "recompute") -> Policy:
    """Predicted shorts first: `threshold` in tokens, `preemptive` or not, `mode` of preemption; `front`: a short one
    goes before the shorts that wait."""
    return _one_bit("one-bit", threshold, preemptive, front, mode, oracle=False)


def one_bit_true(
    threshold: float = 256.0, preemptive: bool = True, front: bool = True, mode: str = "recompute"
) -> Policy:
    """True shorts first (oracle): `threshold` in tokens, `preemptive` or not, `mode` of preemption; `front`: a short
    one goes before the shorts that wait."""
    return _one_bit("one-bit-true", threshold, preemptive, front, mode, oracle=True)


def _one_bit(name: str, threshold: float, preemptive: bool, front: bool, mode: str, oracle: bool) -> Policy:
    return Policy(
        name,
        order=last_short_first if front else short_first,
        preempt=(anybody_for_later_short if front else long_for_short) if preemptive else None,
        victim=long_first,
        preempt_mode=mode,
        wake=math.inf,
        oracle=oracle,
        params=(check_real(f"threshold of {name}", threshold, 0, 1e15),),
    )
