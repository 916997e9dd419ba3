"""Looks: what a run has found of its agent on the held-out requests, and which of them was the best.

A look is a dict, as `curve.json` has it: `steps`, the decisions until then; `wall_s`; and `figures` by part and name,
a value for each held-out seed. Beside it are the baselines' by part and spec. numpy only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

#: By what looks may be compared.
FIGURES_TO_KEEP_BY = ("mean_e2e_s", "p99_e2e_s", "mean_ttft_s", "p99_ttft_s", "requests_per_s")
#: Those of them that are better the larger they are.
LARGER_IS_BETTER = frozenset({"requests_per_s"})

#: Of the held-out seeds, by name of the figure.
Figures = Mapping[str, Any]


def mean_of(figures: Figures, name: str) -> float:
    """Over the seeds."""
    return float(np.mean(figures[name]))


def best_baseline(baselines: Mapping[str, Figures], figure: str) -> str | None:
    """The spec with the best mean figure; None: there is none.

    >>> best_baseline({"a": {"mean_e2e_s": [1.0, 3.0]}, "b": {"mean_e2e_s": [1.0, 2.0]}}, "mean_e2e_s")
    'b'
    """
    return min(baselines, key=lambda spec: _cost(mean_of(baselines[spec], figure), figure), default=None)


def score(look: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Figures]], figure: str) -> float:
    """How good a look was, less is better: the mean over the parts of what the agent's figure is beside that of the
    best baseline, or of the figure itself where there is no baseline; inf where it is no number, as the latency of an
    agent that lets nobody finish.

    >>> figures = {"figures": {"chat": {"mean_e2e_s": [1.0, 3.0], "requests_per_s": [4.0]}}}
    >>> baselines = {"chat": {"vllm": {"mean_e2e_s": [4.0], "requests_per_s": [2.0]}}}
    >>> [score(figures, baselines, name) for name in ("mean_e2e_s", "requests_per_s")]
    [0.5, 0.5]
    """
    scores = [_score(figures, baselines.get(part, {}), figure) for part, figures in look["figures"].items()]
    found = float(np.mean(scores))
    return found if math.isfinite(found) else math.inf


def _score(ours: Figures, baselines: Mapping[str, Figures], figure: str) -> float:
    mean, best = mean_of(ours, figure), best_baseline(baselines, figure)
    if best is None:
        return -mean if figure in LARGER_IS_BETTER else mean
    theirs = mean_of(baselines[best], figure)
    above, below = (theirs, mean) if figure in LARGER_IS_BETTER else (mean, theirs)
    return above / below if below > 0.0 else math.inf


def _cost(value: float, figure: str) -> float:
    if math.isnan(value):
        return math.inf
    return -value if figure in LARGER_IS_BETTER else value
