"""TRAIL: shortest predicted remaining time with limited preemption.

A request may be displaced only while generated <= C * max(first prediction, 1). C = 1 is SPRPT as long as predictions
stand; C = 0 switches preemption off, as in the authors' code, and is SPJF. Source: Shahout et al., "Don't stop me now",
arXiv 2410.01035 (ICLR 2025).

A waiting request past the cut-off (it lost its blocks to a shortage) goes first, as in the theory, where its rank is
-inf; the authors' code for SGLang sends it to the end. The cut-off passes between events, and yet asks for no `wake`:
all it does is protect a request that nobody could displace a pass before.
"""

from __future__ import annotations

import math
from typing import Any

from baselines.shared import callable_from_hooks, remaining_of
from llmqgym.checks import check_real
from llmqgym.policy import Policy


@callable_from_hooks
def rank_of(request: Any, server: Any) -> float:
    """The predicted remaining length, -inf past the cut-off."""
    first = request.initial_predicted_output_tokens
    if request.generated_tokens > server.params[0] * (1.0 if first < 1.0 else first):
        return -math.inf
    return remaining_of(request)


def rank(request: Any, server: Any) -> float:
    """Past the cut-off first, then the shortest predicted remaining length."""
    return rank_of(request, server)


def outranked_by(running: Any, candidate: Any, server: Any) -> float:
    """By how many tokens the candidate is closer to its end; past its cut-off a running request stays."""
    mine = rank_of(running, server)
    return 0.0 if mine == -math.inf else mine - rank_of(candidate, server)


def largest_rank(running: Any, requester: Any, server: Any) -> float:
    """Victim: the longest predicted remaining length; those past the cut-off last."""
    return rank_of(running, server)


def trail(c: float = 0.8, mode: str = "recompute") -> Policy:
    """TRAIL(C): `c` is the share of the first prediction after which a request stays (0.8 is RECALL), `mode` of
    preemption."""
    c = check_real("c of trail", c, 0, 1e9)
    return Policy(
        "trail",
        order=rank,
        preempt=outranked_by if c > 0 else None,
        victim=largest_rank,
        preempt_mode=mode,
        wake=math.inf,
        params=(c,),
    )
