"""Statistics of agents and baselines on the same requests, seed by seed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def paired(ours: NDArray[np.float64], theirs: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean of ours / theirs - 1 over seeds, and its 95 % interval by Student's t: below 0 is better in latency."""
    from scipy import stats

    ratios = ours / theirs - 1.0
    mean = float(ratios.mean())
    if len(ratios) < 2:
        return mean, float("-inf"), float("inf")
    half = float(stats.t.ppf(0.975, len(ratios) - 1) * ratios.std(ddof=1) / np.sqrt(len(ratios)))
    return mean, mean - half, mean + half
