"""Statistics of agents and baselines on the same requests, seed by seed, and of several runs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def interval(values: ArrayLike) -> tuple[float, float, float]:
    """The mean of independent values, and its 95 % interval by Student's t; that of one value is without bounds.

    >>> [round(each, 3) for each in interval([1.0, 3.0])]
    [2.0, -10.706, 14.706]
    """
    from scipy import stats

    found: NDArray[Any] = np.asarray(values, np.float64)
    mean = float(found.mean())
    if len(found) < 2:
        return mean, float("-inf"), float("inf")
    half = float(stats.t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found)))
    return mean, mean - half, mean + half


def paired(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean of ours / theirs - 1 over seeds, and its 95 % interval: below 0 is better in latency."""
    return interval(ours / theirs - 1.0)
