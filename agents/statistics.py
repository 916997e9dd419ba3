"""Statistics of agents and baselines on the same requests, seed by seed, and of several runs."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmqgym.leaderboard.statistics import interval as student


def interval(values: ArrayLike) -> tuple[float, float, float]:
    """The mean of independent values, and its 95 % interval by Student's t; that of one value is without bounds.

    >>> [round(each, 3) for each in interval([1.0, 3.0])]
    [2.0, -10.706, 14.706]
    """
    found = student(values)
    mean, low, high = (found[name] for name in ("mean", "low", "high"))
    assert mean is not None
    return mean, -math.inf if low is None else low, math.inf if high is None else high


def paired(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean of ours / theirs - 1 over seeds, and its 95 % interval: below 0 is better in latency."""
    return interval(ours / theirs - 1.0)
