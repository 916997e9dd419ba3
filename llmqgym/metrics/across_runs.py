"""Figures of several runs made into one of each: mean, confidence and range over the runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from scipy.special import stdtrit

CONFIDENCE = 0.95
_NOT_FIGURES = ("config", "version")


def across_runs(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What came of several runs, from their documents, nested as they are: the `spread` of each number, and of each
    word or truth value in how many runs it was given."""
    return {name: _across([each[name] for each in documents]) for name in documents[0] if name not in _NOT_FIGURES}


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean, half-width of its confidence interval (Student's t, runs independent and alike), smallest and largest.

    Over the runs that have the figure, of which there are `num_runs`: None and what is not finite are left out. One
    run has no half-width.

    >>> figure = spread([1.0, 3.0, None])
    >>> figure["mean"], round(figure["half_width_95"], 3), figure["num_runs"]
    (2.0, 12.706, 2)
    """
    had = [value for value in values if value is not None and math.isfinite(value)]
    mean = math.fsum(had) / len(had) if had else None
    return {
        "mean": mean,
        "half_width_95": None if mean is None else _half_width(had, mean),
        "min": min(had, default=None),
        "max": max(had, default=None),
        "num_runs": len(had),
    }


def _half_width(values: Sequence[float], mean: float) -> float | None:
    freedom = len(values) - 1
    if freedom == 0:
        return None
    variance = math.fsum((value - mean) ** 2 for value in values) / freedom
    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(variance / len(values))


def _across(values: Sequence[Any]) -> Any:
    given = [value for value in values if value is not None]
    if any(isinstance(value, dict) for value in given):
        names = dict.fromkeys(name for value in given for name in value)
        return {name: _across([(value or {}).get(name) for value in values]) for name in names}
    if any(isinstance(value, (str, bool)) for value in given):
        return dict(Counter(str(value).lower() for value in given))
    return spread(values)
