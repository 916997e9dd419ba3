"""The Gittins index on the predictive distribution: least expected service for each chance to finish.

Rank of a request of age a with length X: the minimum over d of E[min(X - a, d) | X > a] / P[X <= a + d | X > a], where
X is the predicted length times exp(sigma N), as the predictor `lognormal` errs. Sources: Gittins, Glazebrook and Weber,
"Multi-armed bandit allocation indices", 2011; SageSched, arXiv 2603.07917, uses such an index (its costs of compute and
memory are not modelled here). X is represented by sixteen equally likely lengths.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Any

from baselines.shared import callable_from_hooks, while_waiting
from llmqgym.checks import check_real
from llmqgym.policy import Policy

_ATOMS = 16


@callable_from_hooks
def index_of(median: float, age: float, server: Any) -> float:
    """The rank in tokens: smallest first. Params are the atoms of X over its median. A request that has outlived all of
    them has a falling hazard, and ranks as long as the longest."""
    best, number, total, first = math.inf, 0, 0.0, 0
    while first < _ATOMS and not median * server.params[first] > age:
        first += 1
    for place in range(first, _ATOMS):
        left = median * server.params[place] - age
        number += 1
        total += left
        best = min(best, (total + (_ATOMS - place - 1) * left) / number)
    return best if number > 0 else median * server.params[_ATOMS - 1]


@callable_from_hooks
def rank_of(request: Any, server: Any) -> float:
    """The rank of a request; nan without a prediction."""
    return index_of(float(request.initial_predicted_output_tokens), float(request.generated_tokens), server)


def rank(request: Any, server: Any) -> float:
    """The smallest index first."""
    return rank_of(request, server)


def outranked_by(running: Any, candidate: Any, server: Any) -> float:
    """By how much the candidate's index is smaller."""
    return rank_of(running, server) - rank_of(candidate, server)


def largest_rank(running: Any, requester: Any, server: Any) -> float:
    """Victim: the largest index."""
    return rank_of(running, server)


def gittins(sigma: float = 0.5, mode: str = "recompute") -> Policy:
    """Smallest Gittins index first, preemptive: the length of a request is its first prediction times exp(`sigma` N),
    given what it has generated; `mode` of preemption.

    O(16) per arrival, O(16 running) per preemption.
    """
    sigma = check_real("sigma of gittins", sigma, 0, 10)
    normal = NormalDist()
    return Policy(
        "gittins",
        order=rank,
        preempt=outranked_by,
        victim=largest_rank,
        preempt_mode=mode,
        wake=while_waiting,
        params=tuple(math.exp(sigma * normal.inv_cdf((place + 0.5) / _ATOMS)) for place in range(_ATOMS)),
    )
