"""Info: what a workload looks like, as one plain dictionary."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.kernel.tables import PS_PER_S
from llmqgym.workload.workload import Workload

#: Distinct tenants or priorities are listed up to this many; beyond, only counted.
MAX_LISTED = 16


def describe(w: Workload) -> dict[str, Any]:
    """Plain Python values only. Times in seconds, lengths in tokens; nan where a number is not defined.

    `rate_per_s` is (R - 1) / duration_s and `interarrival_cv` the standard deviation over the mean of the gaps
    (1 for Poisson); both are nan when all requests arrive at once.
    """
    requests = w.requests
    gaps_s = np.diff(requests["arrival_ps"]) / PS_PER_S
    mean_gap_s = float(gaps_s.mean()) if gaps_s.any() else math.nan
    caps = requests["max_output_tokens"]
    return {
        "name": w.name,
        "source": dict(w.source),
        "num_requests": len(w),
        "first_arrival_s": float(requests["arrival_ps"][0]) / PS_PER_S,
        "duration_s": w.duration_s,
        "rate_per_s": 1 / mean_gap_s,
        "interarrival_cv": float(gaps_s.std()) / mean_gap_s if len(gaps_s) else math.nan,
        "prompt_tokens": length_summary(requests["prompt_tokens"]),
        "output_tokens": length_summary(requests["output_tokens"]),
        "max_output_tokens": {"min": int(caps.min()), "max": int(caps.max())},
        "num_predictions": int(np.count_nonzero(~np.isnan(requests["predicted_output_tokens"]))),
        "tenants": distinct(requests["tenant"]),
        "priorities": distinct(requests["priority"]),
        "corrections": dict(w.corrections),
    }


def length_summary(tokens: NDArray[np.int64]) -> dict[str, float]:
    """Mean, quantiles (linear interpolation) and maximum of lengths [R]."""
    p50, p90, p99 = np.percentile(tokens, [50, 90, 99])
    return {
        "mean": float(tokens.mean()),
        "p50": float(p50),
        "p90": float(p90),
        "p99": float(p99),
        "max": int(tokens.max()),
    }


def distinct(values: NDArray[np.int64]) -> dict[str, Any]:
    """The number of distinct values, and the values themselves when they are few (else None)."""
    found = np.unique(values)
    return {"num": len(found), "values": found.tolist() if len(found) <= MAX_LISTED else None}
