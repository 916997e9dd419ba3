"""Report: a predictor applied to lengths, what it is worth, and beside it the real predictor of the file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from llmqgym.errors import InputError
from llmqgym.workload.predictors.apply import REFERENCE_REQUESTS
from llmqgym.workload.predictors.bins import PreparedBins
from llmqgym.workload.predictors.channel import Channel
from llmqgym.workload.predictors.fit import fit_confusion, fit_within
from llmqgym.workload.predictors.follow import follow_requests
from llmqgym.workload.predictors.one_bit import OneBit
from llmqgym.workload.predictors.predictor import Draws, Floats, Ints, Predictions, Predictor
from llmqgym.workload.predictors.registry import make_predictor
from llmqgym.workload.predictors.ssjf import SSJF
from llmqgym.workload.predictors.worth import worth
from llmqgym.workload.traces.predictions import PredictedLengths

#: The spec that stands for the predictions of the file itself.
OF_THE_TRACE = "trace"


@dataclass(frozen=True, eq=False)
class _Real:
    """A real predictor: its points [n], nan for none, and as a channel of classes the m requests that have one."""

    point: Floats
    true_class: Ints  # [m]
    predicted_class: Ints  # [m]
    channel: Channel
    classified: bool  # whether these classes are ones it was asked for


def report(spec: str, lengths: PredictedLengths, seed: int, *, long_tokens: float | None = None) -> dict[str, Any]:
    """A plain dictionary: `predicted` is what `spec` is worth (worth.py), `real` what the file's own predictions are.

    `channel` is that of `bins`, `fitted` the one that fits the file's predictor, and `largest_difference` the most by
    which two entries of their confusion matrices differ; `followed` what refreshed predictions are worth while
    requests run (follow.py); each None where there is none. `long_tokens` None is the
    threshold of `one_bit`, else the p90. Raises InputError for a bad spec, or `trace` for a file without predictions.
    """
    truth = lengths.output_tokens
    predictor = None if spec == OF_THE_TRACE else make_predictor(spec)
    if predictor is not None and predictor.needs_reference:
        predictor = predictor.prepare(truth[:REFERENCE_REQUESTS])
    if isinstance(predictor, OneBit) and long_tokens is None:
        long_tokens = predictor.threshold
    channel = predictor.channel if isinstance(predictor, PreparedBins) else None
    real = _real_predictor(lengths, channel)
    if predictor is None and real is None:
        raise InputError(
            "'trace' stands for the predictions of a file, and there are none: name a file (--trace) with a column "
            "predicted_output_tokens or pred_class5, or another predictor."
        )
    fitted = None if real is None else real.channel
    return {
        "predictor": spec,
        "seed": seed,
        "cost_s": None if predictor is None else predictor.cost_s,
        "real_cost_s": _latency(lengths),
        "predicted": None if predictor is None else _worth_of(predictor, truth, seed, long_tokens),
        "real": None if real is None else _worth_of_real(real, truth, long_tokens),
        "channel": None if channel is None else channel.document(),
        "fitted": None if fitted is None else fitted.document(),
        "largest_difference": _largest_difference(channel, fitted),
        "followed": None if predictor is None else _followed(predictor, truth, seed),
    }


def _worth_of(predictor: Predictor, truth: Ints, seed: int, long_tokens: float | None) -> dict[str, float]:
    said = predictor.predict(truth, Draws(seed))
    has_mask = ~np.isnan(said.point)
    classes = predictor.classes(truth[has_mask], said.point[has_mask])
    return worth(truth, said, in_tokens=predictor.in_tokens, classes=classes, long_tokens=long_tokens)


def _followed(predictor: Predictor, truth: Ints, seed: int) -> dict[str, Any] | None:
    looks = predictor.looks(seed)
    if looks is None:
        return None
    return follow_requests(truth, predictor.predict(truth, Draws(seed)).point, looks)


def _worth_of_real(real: _Real, truth: Ints, long_tokens: float | None) -> dict[str, float]:
    classes = (real.true_class, real.predicted_class) if real.classified else None
    return worth(truth, Predictions.of(real.point), classes=classes, long_tokens=long_tokens)


def _real_predictor(lengths: PredictedLengths, channel: Channel | None) -> _Real | None:
    """The file's own predictor; lengths that it predicts are put into the classes of `channel` (None: SSJF's)."""
    truth, point = lengths.output_tokens, lengths.predicted_output_tokens
    if point is not None:
        has_mask = ~np.isnan(point)
        if not has_mask.any():
            return None
        edges = SSJF.edges if channel is None else channel.edges
        known, predicted_class = truth[has_mask], np.searchsorted(edges, point[has_mask])
    elif lengths.predicted_class is not None:
        known, predicted_class, edges = truth, lengths.predicted_class, SSJF.edges
    else:
        return None
    fitted = fit_within(fit_confusion(known, predicted_class, edges), known, predicted_class)
    classified = point is None or channel is not None
    if point is None:
        point = np.array(fitted.mean_tokens)[predicted_class]
    return _Real(point, fitted.true_class(known), predicted_class, fitted, classified)


def _largest_difference(channel: Channel | None, fitted: Channel | None) -> float | None:
    if channel is None or fitted is None or channel.edges != fitted.edges:
        return None
    return float(np.abs(np.array(channel.confusion) - np.array(fitted.confusion)).max())


def _latency(lengths: PredictedLengths) -> dict[str, float] | None:
    latency_s = lengths.predictor_latency_s
    if latency_s is None:
        return None
    p50, p99 = np.quantile(latency_s, [0.5, 0.99]).tolist()
    return {"mean": float(latency_s.mean()), "p50": p50, "p99": p99}
