"""The summary of a run: one plain dictionary of numbers, strict JSON (None where a number is not defined)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.hardware.integers import UNLIMITED_BLOCKS, IntegerProfile
from llmqgym.kernel.tables import PS_PER_S, Mode, Status
from llmqgym.metrics.alone import alone_s
from llmqgym.metrics.fairness import fairness
from llmqgym.metrics.latencies import latencies, met_limits_mask
from llmqgym.metrics.stability import stability
from llmqgym.simulator import Totals

Rows = NDArray[Any]

QUANTILES = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}


def summarise(
    departures: Rows,
    totals: Totals,
    *,
    num_requests: int,
    profile: IntegerProfile,
    budget_tokens: int,
    max_context_tokens: int | None = None,
) -> dict[str, Any]:
    """Figures of a run from DEPARTURE[R] and the totals at its end.

    `num_requests` is the length of the workload: those that the run ended before are `num_not_arrived`. Latencies
    cover all finished requests, with no warm-up cut. Rates and time averages are over [0, sim_time_s].
    """
    finished = departures[departures["status"] == Status.FINISHED]
    unfinished = int(np.count_nonzero(departures["status"] == Status.UNFINISHED))
    context = departures["prompt_tokens"] + departures["output_tokens"]
    beyond = 0 if max_context_tokens is None else int(np.count_nonzero(context > max_context_tokens))
    not_arrived = num_requests - len(departures)
    return {
        "outcome": totals.outcome,
        "censored": unfinished > 0 or not_arrived > 0,
        "num_requests": num_requests,
        "num_finished": totals.num_finished,
        "num_rejected": totals.num_rejected,
        "num_unfinished": unfinished,
        "num_not_arrived": not_arrived,
        "num_extrapolated": beyond,
        "sim_time_s": totals.clock_ps / PS_PER_S,
        "num_iterations": totals.num_iterations,
        "num_events": totals.num_events,
        **_latency_figures(finished, profile, budget_tokens),
        **_rates(finished, totals.clock_ps),
        **_preemption_figures(totals),
        **_time_averages(totals),
        **fairness(departures, totals.clock_ps),
        "stability": stability(departures, totals.clock_ps),
        "little_residual": little_residual(departures, totals),
    }


def distribution(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Mean, quantiles (linear interpolation) and maximum of the values that are not nan; None if there are none.

    >>> distribution(np.array([1.0, 3.0, np.nan]))["mean"]
    2.0
    """
    values = values[~np.isnan(values)]
    if not len(values):
        return dict.fromkeys(("mean", *QUANTILES, "max"))
    quantiles = np.percentile(values, list(QUANTILES.values()))
    named = {name: float(value) for name, value in zip(QUANTILES, quantiles, strict=True)}
    return {"mean": float(values.mean()), **named, "max": float(values.max())}


def little_residual(departures: Rows, totals: Totals) -> float | None:
    """How far the integral of the requests in the system is from the sum of their times in it, relative; exactly 0.

    Both are exact integers; whoever is unfinished counts with the age at the end. None if nobody was ever there.
    """
    inside = departures[departures["status"] != Status.REJECTED]
    left = np.where(inside["finish_ps"] >= 0, inside["finish_ps"], totals.clock_ps)
    times = left - inside["arrival_ps"]
    # In two halves: a sum of many times passes an int64.
    total = (int((times >> 32).sum()) << 32) + int((times & 0xFFFF_FFFF).sum())
    if totals.integral_requests == 0:
        return None if total == 0 else math.inf
    return abs(totals.integral_requests - total) / totals.integral_requests


def _latency_figures(finished: Rows, profile: IntegerProfile, budget_tokens: int) -> dict[str, Any]:
    times = latencies(finished)
    alone = alone_s(finished["prompt_tokens"], finished["output_tokens"], profile, budget_tokens)
    return {
        "ttft_s": distribution(times.ttft_s),
        "tpot_s": distribution(times.tpot_s),
        "e2e_s": distribution(times.e2e_s),
        "queue_s": distribution(times.queue_s),
        "slowdown": distribution(times.e2e_s / alone),
        "num_without_tpot": int(np.count_nonzero(np.isnan(times.tpot_s))),
    }


def _rates(finished: Rows, clock_ps: int) -> dict[str, Any]:
    met = int(np.count_nonzero(met_limits_mask(finished)))
    amounts = {
        "requests_per_s": len(finished),
        "goodput_requests_per_s": met,
        "prompt_tokens_per_s": int(finished["prompt_tokens"].sum()),
        "output_tokens_per_s": int(finished["output_tokens"].sum()),
    }
    rates = {name: _ratio(amount * PS_PER_S, clock_ps) for name, amount in amounts.items()}
    return {**rates, "num_met_limits": met}


def _preemption_figures(totals: Totals) -> dict[str, Any]:
    by_mode = {mode.name.lower(): totals.num_preemptions[mode] for mode in Mode}
    return {
        "num_preemptions": sum(by_mode.values()),
        "num_preemptions_by_mode": by_mode,
        "num_held_dropped": totals.num_held_dropped,
        "swapped_blocks": totals.swapped_blocks,
        "processed_tokens": totals.processed_tokens,
        "lost_tokens": totals.lost_tokens,
        "wasted_token_ratio": _ratio(totals.lost_tokens, totals.processed_tokens, empty=0.0),
    }


def _time_averages(totals: Totals) -> dict[str, Any]:
    unlimited = totals.num_kv_blocks >= UNLIMITED_BLOCKS
    capacity = totals.num_kv_blocks * totals.clock_ps
    waiting = totals.integral_requests - totals.integral_running
    return {
        "kv_cache_usage_perc": 0.0 if unlimited else _ratio(totals.integral_kv_blocks, capacity),
        "mean_num_requests_running": _ratio(totals.integral_running, totals.clock_ps),
        "mean_num_requests_waiting": _ratio(waiting, totals.clock_ps),
    }


def _ratio(amount: int, base: int, empty: float | None = None) -> float | None:
    return amount / base if base else empty
