"""Latencies of requests, in seconds, from the kernel's table of departures. nan wherever a time is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.kernel.tables import PS_PER_S

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Latencies:
    """float64 [R] each, in seconds: the words of the glossary."""

    queue_s: Floats  # arrival to the start of the first pass
    ttft_s: Floats
    tpot_s: Floats  # nan for a request of one token
    e2e_s: Floats


def latencies(departures: NDArray[Any]) -> Latencies:
    """Latencies of DEPARTURE[R], row by row."""
    arrival, first = departures["arrival_ps"], departures["first_token_ps"]
    finish = departures["finish_ps"]
    gaps = departures["output_tokens"] - 1
    decode_s = gap_s(first, finish)
    tpot_s = np.divide(decode_s, gaps, out=np.full(len(departures), np.nan), where=gaps > 0)
    return Latencies(
        queue_s=gap_s(arrival, departures["first_scheduled_ps"]),
        ttft_s=gap_s(arrival, first),
        tpot_s=tpot_s,
        e2e_s=gap_s(arrival, finish),
    )


def gap_s(start_ps: NDArray[np.int64], end_ps: NDArray[np.int64]) -> Floats:
    """Seconds from `start_ps` to `end_ps`, [R] each; nan where one of them is -1: not yet."""
    known_mask = (start_ps >= 0) & (end_ps >= 0)
    return np.where(known_mask, (end_ps - start_ps) / PS_PER_S, np.nan)


def seconds(time_ps: NDArray[np.int64]) -> Floats:
    """Times [R] in seconds; nan for -1: not yet."""
    return np.where(time_ps >= 0, time_ps / PS_PER_S, np.nan)


def met_limits_mask(departures: NDArray[Any]) -> NDArray[np.bool_]:
    """Which of DEPARTURE[R], all finished, met every limit stated for them; -1 is no limit, a nan TPOT meets any.

    Exact: a mean gap is at most the limit when its ceiling is.
    """
    arrival, first = departures["arrival_ps"], departures["first_token_ps"]
    finish = departures["finish_ps"]
    gaps = departures["output_tokens"] - 1
    tpot_ps = np.where(gaps > 0, -((first - finish) // np.maximum(gaps, 1)), 0)
    met = np.ones(len(departures), np.bool_)
    for limit, spent in (("ttft", first - arrival), ("tpot", tpot_ps), ("e2e", finish - arrival)):
        limit_ps = departures[f"{limit}_limit_ps"]
        met &= (limit_ps < 0) | (spent <= limit_ps)
    return met
