"""Worth: what predictions are worth, measured against the true lengths."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

from llmqgym.workload.predictors.predictor import Floats, Ints, Predictions

#: Ranks are compared on at most this many requests: every k-th one beyond.
MAX_RANKED = 200_000
NUM_BINS = 5
LONG_QUANTILE = 0.9

#: What the figures mean, for those whose names do not say. Lengths in tokens, shares from 0 to 1; all but the first two
#: are of the requests that have a prediction.
MEANINGS = {
    "predicted_share": "requests with a prediction",
    "num_ranked": "requests in the rank correlations: all, or evenly spaced ones",
    "mae_tokens": "mean absolute error",
    "median_ae_tokens": "median absolute error",
    "bias_tokens": "mean of prediction less truth",
    "under_share": "predicted below the truth",
    "kendall_tau_b": "1: same order, 0: none",
    "bin_accuracy": "in the right fifth of the true lengths",
    "bin_within_one": "in it or next to it",
    "class_accuracy": "in the right one of the predictor's own classes",
    "class_within_one": "in it or next to it",
    "long_tokens": "long is what has so many: the true p90 unless stated",
    "long_recall": "of the truly long, those predicted to be",
    "long_recall_by_rank": "of the truly long, those among as many longest predictions",
    "interval_coverage": "truth within its bounds",
    "interval_width_tokens": "mean upper less lower bound",
}


def worth(
    output_tokens: Ints,
    said: Predictions,
    *,
    in_tokens: bool = True,
    classes: tuple[Ints, Ints] | None = None,
    long_tokens: float | None = None,
) -> dict[str, float]:
    """What `said` is worth on true lengths [n], by the names of MEANINGS; nan where a figure is not defined.

    `in_tokens` False marks a score: errors in tokens are nan, and bins are cut at the score's own quantiles.
    `classes` are the true and predicted classes of the requests that have a prediction, where the predictor has
    classes. `long_tokens` None is the p90 of the true lengths.
    """
    long_from = float(np.quantile(output_tokens, LONG_QUANTILE) if long_tokens is None else long_tokens)
    has_mask = ~np.isnan(said.point)
    truth, point = output_tokens[has_mask].astype(np.float64), said.point[has_mask]
    return {
        "num_requests": len(output_tokens),
        "predicted_share": len(point) / len(output_tokens),
        **_errors(truth, point if in_tokens else np.full(len(point), np.nan)),
        **_order(truth, point),
        **_hits("bin", _bins(truth, point, in_tokens=in_tokens)),
        **_hits("class", classes),
        "long_tokens": long_from,
        "long_recall": _mean(point[truth >= long_from] >= long_from) if in_tokens else math.nan,
        "long_recall_by_rank": _recall_by_rank(truth >= long_from, point),
        **_interval(truth, said.lower[has_mask], said.upper[has_mask]),
    }


def _errors(truth: Floats, point: Floats) -> dict[str, float]:
    error = point - truth
    return {
        "mae_tokens": _mean(np.abs(error)),
        "median_ae_tokens": float(np.median(np.abs(error))) if len(error) else math.nan,
        "bias_tokens": _mean(error),
        "under_share": _mean(np.where(np.isnan(error), np.nan, error < 0)),
    }


def kendall_tau_b(truth: NDArray[Any], point: NDArray[Any]) -> float:
    """Kendall's tau-b [n] with [n], of evenly spaced ones beyond MAX_RANKED; nan where either does not vary."""
    ranked = _ranked(truth, point)
    return float(kendalltau(*ranked).statistic) if all(map(_varies, ranked)) else math.nan


def _order(truth: Floats, point: Floats) -> dict[str, float]:
    ranked = _ranked(truth, point)
    return {
        "num_ranked": len(ranked[0]),
        "kendall_tau_b": kendall_tau_b(truth, point),
        "spearman": float(spearmanr(*ranked).statistic) if all(map(_varies, ranked)) else math.nan,
    }


def _ranked(truth: NDArray[Any], point: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    step = max(1, math.ceil(len(point) / MAX_RANKED))
    return truth[::step], point[::step]


def _varies(values: NDArray[Any]) -> bool:
    return len(values) > 1 and bool((values != values[0]).any())


def _interval(truth: Floats, lower: Floats, upper: Floats) -> dict[str, float]:
    bounded_mask = ~np.isnan(lower)
    return {
        "interval_coverage": _mean(((lower <= truth) & (truth <= upper))[bounded_mask]),
        "interval_width_tokens": _mean((upper - lower)[bounded_mask]),
    }


def _bins(truth: Floats, point: Floats, *, in_tokens: bool) -> tuple[Ints, Ints] | None:
    """The fifth of the true lengths that each truth and each prediction [n] falls into; None for n = 0."""
    if not len(truth):
        return None
    shares = np.arange(1, NUM_BINS) / NUM_BINS
    edges = np.quantile(truth, shares)
    own_edges = edges if in_tokens else np.quantile(point, shares)
    return np.searchsorted(edges, truth), np.searchsorted(own_edges, point)


def _hits(what: str, classes: tuple[Ints, Ints] | None) -> dict[str, float]:
    distance = np.empty(0) if classes is None else np.abs(classes[0] - classes[1])
    return {f"{what}_accuracy": _mean(distance == 0), f"{what}_within_one": _mean(distance <= 1)}


def _recall_by_rank(long_mask: NDArray[np.bool_], point: Floats) -> float:
    """Share of the long among the k largest predictions, k their number; ties at the k-th count in proportion."""
    num_long = int(long_mask.sum())
    if not num_long:
        return math.nan
    cut = np.partition(point, -num_long)[-num_long]
    above, tied = point > cut, point == cut
    weight = (num_long - above.sum()) / tied.sum()
    return float(((above & long_mask).sum() + weight * (tied & long_mask).sum()) / num_long)


def _mean(values: NDArray[np.bool_] | Floats) -> float:
    return float(values.mean()) if len(values) else math.nan
