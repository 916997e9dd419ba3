"""Fit: the channel of a real predictor of length classes, from what it said of requests whose lengths are known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from llmqgym.errors import InputError
from llmqgym.workload.predictors.channel import Channel, class_means
from llmqgym.workload.predictors.predictor import Ints
from llmqgym.workload.predictors.worth import kendall_tau_b


def fit_confusion(
    output_tokens: Ints, predicted_class: Ints, edges: Sequence[float], *, within: float = 0.0
) -> Channel:
    """The channel of a real predictor: `predicted_class` [n], 0 to K - 1, of true lengths [n], with K - 1 `edges`.

    A true class without requests is taken to be predicted right; a class that is never predicted has its lower edge
    for a mean. `within` is not fitted here (see `fit_within`). Raises InputError for classes out of range.
    """
    num = len(edges) + 1
    bad = (predicted_class < 0) | (predicted_class >= num)
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"row {row}: predicted class {predicted_class[row]} is outside 0 to {num - 1}: {num - 1} edges make {num} "
            "classes; correct the class or the edges."
        )
    true_class = np.searchsorted(edges, output_tokens)
    counts = np.zeros((num, num))
    np.add.at(counts, (true_class, predicted_class), 1)
    empty = counts.sum(axis=1) == 0
    rows = counts + np.diag(empty)
    means = class_means(
        np.bincount(predicted_class, output_tokens, num), counts.sum(axis=0), np.array(edges, np.float64)
    )
    return Channel(
        edges=tuple(edges),
        shares=tuple((counts.sum(axis=1).cumsum()[:-1] / counts.sum()).tolist()),
        confusion=tuple(map(tuple, (rows / rows.sum(axis=1, keepdims=True)).tolist())),
        mean_tokens=tuple(means.tolist()),
        within=within,
    )


def fit_within(channel: Channel, output_tokens: Ints, predicted_class: Ints) -> Channel:
    """The channel with the `within` at which its Kendall tau-b is that of the real predictor, to 0.01.

    As it is where the real predictor has no tau: all lengths, or all its classes, are the same.
    """
    means, reference = np.array(channel.mean_tokens), np.sort(output_tokens)
    normal = np.random.default_rng(0).standard_normal(len(output_tokens))
    real = kendall_tau_b(output_tokens, means[predicted_class])
    if math.isnan(real):
        return channel
    low, high = -0.99, 0.99
    while high - low > 0.005:
        tried = replace(channel, within=(low + high) / 2)
        drawn = means[tried.predicted_class(output_tokens, reference, normal)]
        low, high = (tried.within, high) if kendall_tau_b(output_tokens, drawn) < real else (low, tried.within)
    return replace(channel, within=round((low + high) / 2, 2))
