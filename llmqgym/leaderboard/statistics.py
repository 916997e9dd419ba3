"""Statistics of a board: intervals over seeds, paired differences, ranks with ties, and figures over all scenarios.

Seeds are common to all contestants, so that what is compared is paired: the difference of two on the same requests.
Intervals hold 95 %, each by itself. Over scenarios: the interquartile mean with a stratified bootstrap (Agarwal et al.,
NeurIPS 2021, arXiv 2108.13264), scenarios being the strata and seeds what is drawn anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
NUM_BOOTSTRAPS = 2000
#: Cut off at either end by the interquartile mean.
_CUT = 0.25


def interval(values: ArrayLike) -> dict[str, float | None]:
    """Mean of independent values [n] and its interval by Student's t; one value has no interval, none has no mean.

    >>> {name: round(value, 2) for name, value in interval([1.0, 2.0, 3.0]).items()}
    {'mean': 2.0, 'low': -0.48, 'high': 4.48}
    """
    given = np.asarray(values, np.float64)
    if not len(given):
        return {"mean": None, "low": None, "high": None}
    mean = float(given.mean())
    if len(given) == 1:
        return {"mean": mean, "low": None, "high": None}
    half = _half_width(given)
    return {"mean": mean, "low": mean - half, "high": mean + half}


def ranks(samples: Sequence[ArrayLike]) -> list[tuple[int, int]]:
    """(first, last) place of each of `samples` [P] of values [n], paired by position, the smallest mean first.

    Two tie unless the interval of their paired difference leaves out 0; a place is first if no other is surely smaller.
    With one value each all tie.

    >>> ranks([[1.0, 2.0, 3.0], [1.1, 1.9, 3.0], [5.0, 6.1, 7.0]])
    [(1, 2), (1, 2), (3, 3)]
    """
    table = np.asarray(samples, np.float64)
    num = len(table)
    if num and table.shape[1] == 1:
        return [(1, num)] * num
    smaller = np.zeros((num, num), np.bool_)
    for one in range(num):
        for other in range(num):
            difference = table[one] - table[other]
            smaller[one, other] = bool(difference.mean() + _half_width(difference) < 0)
    return [(1 + int(smaller[:, each].sum()), num - int(smaller[each].sum())) for each in range(num)]


def iqm(values: ArrayLike) -> float:
    """Interquartile mean: of the middle half of the values, whatever their shape.

    >>> iqm([0.0, 1.0, 2.0, 100.0])
    1.5
    """
    return float(_iqm_of_rows(np.asarray(values, np.float64).reshape(1, -1))[0])


def iqm_interval(strata: Sequence[ArrayLike], seed: int = 0) -> dict[str, float]:
    """IQM of the values of all strata ([n_i] each) and its percentile interval from a stratified bootstrap."""
    given = [np.asarray(each, np.float64) for each in strata]
    rng = np.random.default_rng(seed)
    drawn = [each[rng.integers(0, len(each), (NUM_BOOTSTRAPS, len(each)))] for each in given]
    means = _iqm_of_rows(np.concatenate(drawn, axis=1))
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    return {"mean": iqm(np.concatenate(given)), "low": float(low), "high": float(high)}


def improvement(strata: Sequence[ArrayLike], seed: int = 0) -> dict[str, float]:
    """How often a ratio to the reference is below 1, ties counting half: the mean over strata, with its interval."""
    scores = [np.heaviside(1 - np.asarray(each, np.float64), 0.5) for each in strata]
    rng = np.random.default_rng(seed)
    drawn = [each[rng.integers(0, len(each), (NUM_BOOTSTRAPS, len(each)))].mean(axis=1) for each in scores]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(np.mean(drawn, axis=0), [tail, 100 - tail])
    return {"mean": float(np.mean([each.mean() for each in scores])), "low": float(low), "high": float(high)}


def mean_of(values: Sequence[float | None]) -> dict[str, Any]:
    """`interval` of a figure over runs, where each run has it; of those that have it otherwise, and how many."""
    had = [value for value in values if value is not None and math.isfinite(value)]
    told: dict[str, Any] = interval(had)
    return told if len(had) == len(values) else {**told, "num_runs": len(had)}


def _half_width(values: Floats) -> float:
    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    return quantile * float(values.std(ddof=1)) / math.sqrt(len(values))


def _iqm_of_rows(rows: Floats) -> Floats:
    """[b] of rows [b, n]."""
    cut = int(_CUT * rows.shape[1])
    middle: Floats = np.sort(rows, axis=1)[:, cut : rows.shape[1] - cut]
    return np.asarray(middle.mean(axis=1))
