"""Compare a traffic model with a trace: means, quantiles, burstiness, and the distance of the distributions."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, ks_2samp

from llmqgym.errors import InputError
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.workload.generate import GeneratedWorkload, sample_lengths
from llmqgym.workload.model import TrafficModel
from llmqgym.workload.named import NamedWorkload
from llmqgym.workload.traces.open import read_lengths, read_trace

Ints = NDArray[np.int64]
Figures = dict[str, float]

#: Relative differences at which a model is said to match its trace.
TOLERANCES = {"mean": 0.05, "p50": 0.10, "p90": 0.25}
#: Windows in which arrivals are counted for the index of dispersion.
WINDOWS_S = (1, 10, 60)
#: Runs of arrivals of which the mean is compared: counts in long windows vary much from run to run.
_ARRIVAL_SEEDS = 16
_BINS = 48
_MAX_PAIRS = 20_000


def compare(
    named: NamedWorkload, trace: str | os.PathLike[str], *, seed: int = 0, dequantised: bool = False
) -> dict[str, Any]:
    """Figures of the trace and of the model, and how far they are apart.

    Lengths come from a sample of 131,072 requests; arrivals, where the trace has any, are as many as the trace's, at
    its rate, in 16 runs whose mean is given (`spread`: their standard deviation). `dequantised`: see `read_trace`.
    Raises InputError for a trace that cannot be read.
    """
    generated = sample_lengths(named.model)
    real, arrivals = _read(trace, dequantised)
    lengths = {
        name: _lengths(ours, theirs)
        for name, ours, theirs in zip(("prompt_tokens", "output_tokens"), generated, real, strict=True)
    }
    return {
        "trace": str(trace),
        "num_requests": len(real[0]),
        **lengths,
        "kendall_tau": {"trace": _tau(*real), "generated": _tau(*generated)},
        "arrivals": None if arrivals is None else _arrivals(named.model, arrivals, seed),
        "matches": all(row["matches"] for part in lengths.values() for row in part["figures"].values()),
    }


def index_of_dispersion(arrival_s: NDArray[np.float64], window_s: float) -> float:
    """Variance over mean of the number of arrivals in windows of `window_s`: 1 for Poisson. nan without two windows."""
    num = int(arrival_s[-1] // window_s)
    if num < 2:
        return float("nan")
    counts = np.bincount((arrival_s / window_s).astype(np.int64), minlength=num)[:num]
    return float(counts.var(ddof=1) / counts.mean())


def burstiness(arrival_ps: Ints) -> Figures:
    """Rate, coefficient of variation of the gaps, and index of dispersion in windows of 1, 10 and 60 s."""
    arrival_s = (arrival_ps - arrival_ps[0]) / PS_PER_S
    gaps = np.diff(arrival_s)
    figures = {"rate_per_s": 1 / float(gaps.mean()), "interarrival_cv": float(gaps.std() / gaps.mean())}
    return figures | {f"dispersion_{window}s": index_of_dispersion(arrival_s, window) for window in WINDOWS_S}


def _read(trace: str | os.PathLike[str], dequantised: bool) -> tuple[tuple[Ints, Ints], Ints | None]:
    lengths = read_lengths(trace)
    positive = np.maximum(lengths[0], 1), np.maximum(lengths[1], 1)
    try:
        requests = read_trace(trace, dequantised=dequantised).requests
    except InputError as error:
        if "lengths only" not in str(error):
            raise
        return positive, None
    return positive, requests["arrival_ps"] if len(requests) > 1 and np.ptp(requests["arrival_ps"]) else None


def _lengths(generated: Ints, real: Ints) -> dict[str, Any]:
    figures = {}
    for name, percentile in (("mean", None), ("p50", 50), ("p90", 90), ("p99", 99)):
        theirs, ours = (
            float(x.mean() if percentile is None else np.percentile(x, percentile)) for x in (real, generated)
        )
        difference = ours / theirs - 1
        matches = abs(difference) <= TOLERANCES.get(name, np.inf)
        figures[name] = {"trace": theirs, "generated": ours, "difference": difference, "matches": bool(matches)}
    edges = np.geomspace(1, max(real.max(), generated.max()) + 1, _BINS + 1)
    return {
        "figures": figures,
        "ks": float(ks_2samp(real, generated, method="asymp").statistic),
        "histogram": {
            "edges_tokens": edges.tolist(),
            **{
                name: (np.histogram(x, edges)[0] / len(x)).tolist()
                for name, x in (("trace", real), ("generated", generated))
            },
        },
    }


def _tau(prompts: Ints, outputs: Ints) -> float:
    return float(kendalltau(prompts[:_MAX_PAIRS], outputs[:_MAX_PAIRS]).statistic)


def _arrivals(model: TrafficModel, arrival_ps: Ints, seed: int) -> dict[str, Any]:
    real = burstiness(arrival_ps)
    runs = [
        burstiness(_first_arrivals(model, len(arrival_ps), real["rate_per_s"], seed + run))
        for run in range(_ARRIVAL_SEEDS)
    ]
    return {
        name: {
            "trace": value,
            "generated": float(np.mean([run[name] for run in runs])),
            "spread": float(np.std([run[name] for run in runs])),
        }
        for name, value in real.items()
    }


def _first_arrivals(model: TrafficModel, num: int, rate_per_s: float, seed: int) -> Ints:
    workload = GeneratedWorkload("comparison", model, num, rate_per_s, seed)
    return np.concatenate([chunk["arrival_ps"] for chunk in workload.chunks()])
