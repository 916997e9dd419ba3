"""The summary of a run: one plain dictionary of numbers, strict JSON (None where a number is not defined)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.hardware.integers import UNLIMITED_BLOCKS, IntegerProfile
from llmqgym.kernel.tables import DEPARTURE, PS_PER_S, Mode, Status
from llmqgym.metrics.alone import AloneTimes
from llmqgym.metrics.fairness import Fairness
from llmqgym.metrics.latencies import latencies, met_limits_mask
from llmqgym.metrics.quantiles import Sample, distribution
from llmqgym.metrics.rows import joined, picked, put
from llmqgym.metrics.stability import Stability
from llmqgym.totals import Totals

Rows = NDArray[Any]

#: Departures are taken in so many at a time, however they come: floats are then summed in one order.
_BLOCK = 8192
_COUNTS = ("left", "unfinished", "extrapolated", "finished", "met", "prompt_tokens", "output_tokens")
_SAMPLES = ("ttft_s", "tpot_s", "e2e_s", "queue_s", "slowdown")


def summarise(
    departures: Rows,
    totals: Totals,
    *,
    num_requests: int,
    profile: IntegerProfile,
    budget_tokens: int,
    max_context_tokens: int | None = None,
) -> dict[str, Any]:
    """Figures of a run from DEPARTURE[R] and the totals at its end, all at once."""
    metrics = RunMetrics(profile, budget_tokens, max_context_tokens)
    metrics.add(departures)
    return metrics.summary(totals, num_requests)


class RunMetrics:
    """Figures of a run from its departures, as they come, in memory that does not grow with them.

    Latencies cover all finished requests, with no warm-up cut. Rates and time averages are over [0, sim_time_s]. No
    figure depends, in any bit, on how the departures were cut into pieces.
    """

    def __init__(self, profile: IntegerProfile, budget_tokens: int, max_context_tokens: int | None = None) -> None:
        self._max_context_tokens = max_context_tokens
        self._blocks = _Blocks()
        self._unfinished = np.zeros(0, DEPARTURE)  # their end is the clock at the end of the run
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._time_in_system_ps = 0
        self._alone = AloneTimes(profile, budget_tokens)
        self._samples = {name: Sample() for name in _SAMPLES}
        self._fairness, self._stability = Fairness(), Stability()

    def add(self, departures: Rows) -> None:
        """Take in DEPARTURE[n]: finished, rejected and, at the end of a run, unfinished. Raises OutputError."""
        self._counts["left"] += len(departures)
        if self._max_context_tokens is not None:
            context = departures["prompt_tokens"] + departures["output_tokens"]
            self._counts["extrapolated"] += int(np.count_nonzero(context > self._max_context_tokens))
        unfinished_mask = departures["status"] == Status.UNFINISHED
        if unfinished_mask.any():
            self._counts["unfinished"] += int(np.count_nonzero(unfinished_mask))
            self._unfinished = joined(self._unfinished, picked(departures, unfinished_mask))
            departures = picked(departures, ~unfinished_mask)
        for block in self._blocks.cut(departures):
            self._take(block)

    def summary(self, totals: Totals, num_requests: int) -> dict[str, Any]:
        """The figures, once all departures are in. `num_requests` is the length of the workload: those that the run
        ended before are `num_not_arrived`."""
        self._take(self._blocks.rest())
        self._observe(self._unfinished, np.full(len(self._unfinished), totals.clock_ps))
        self._unfinished = self._unfinished[:0]
        not_arrived = num_requests - self._counts["left"]
        return {
            "outcome": totals.outcome,
            "censored": self._counts["unfinished"] > 0 or not_arrived > 0,
            "num_requests": num_requests,
            "num_finished": totals.num_finished,
            "num_rejected": totals.num_rejected,
            "num_unfinished": self._counts["unfinished"],
            "num_not_arrived": not_arrived,
            "num_extrapolated": self._counts["extrapolated"],
            "sim_time_s": totals.clock_ps / PS_PER_S,
            "num_iterations": totals.num_iterations,
            "num_events": totals.num_events,
            **{name: distribution(sample) for name, sample in self._samples.items()},
            "num_without_tpot": self._samples["tpot_s"].num_nan,
            **self._rates(totals.clock_ps),
            **_preemption_figures(totals),
            "prefix_cache_queries": totals.prefix_cache_queries,
            "prefix_cache_hits": totals.prefix_cache_hits,
            "prefix_cache_hit_rate": _ratio(totals.prefix_cache_hits, totals.prefix_cache_queries),
            **_time_averages(totals),
            **self._fairness.figures(totals.clock_ps),
            "stability": self._stability.verdict(),
            "little_residual": self._little_residual(totals),
        }

    def _take(self, rows: Rows) -> None:
        """A block of the finished and rejected."""
        if (rows["status"] != Status.FINISHED).any():
            rows = picked(rows, rows["status"] == Status.FINISHED)
        self._observe(rows, rows["finish_ps"])
        times = latencies(rows)
        for name in ("ttft_s", "tpot_s", "e2e_s", "queue_s"):
            self._samples[name].add(getattr(times, name))
        self._samples["slowdown"].add(times.e2e_s / self._alone.seconds(rows["prompt_tokens"], rows["output_tokens"]))
        self._counts["finished"] += len(rows)
        self._counts["met"] += int(np.count_nonzero(met_limits_mask(rows)))
        for name in ("prompt_tokens", "output_tokens"):
            self._counts[name] += int(rows[name].sum())

    def _observe(self, rows: Rows, left_ps: NDArray[np.int64]) -> None:
        """Whoever was in the system, and until when."""
        times = left_ps - rows["arrival_ps"]
        # In two halves: a sum of many times passes an int64.
        self._time_in_system_ps += (int((times >> 32).sum()) << 32) + int((times & 0xFFFF_FFFF).sum())
        self._fairness.add(rows, left_ps)
        self._stability.add(rows, left_ps)

    def _little_residual(self, totals: Totals) -> float | None:
        """How far the integral of the requests in the system is from the sum of their times in it, relative; exactly 0.

        Both are exact integers; whoever is unfinished counts with the age at the end. None if nobody was ever there.
        """
        integral, total = totals.integral_requests, self._time_in_system_ps
        if integral == 0:
            return None if total == 0 else math.inf
        return abs(integral - total) / integral

    def _rates(self, clock_ps: int) -> dict[str, Any]:
        amounts = {
            "requests_per_s": self._counts["finished"],
            "goodput_requests_per_s": self._counts["met"],
            "prompt_tokens_per_s": self._counts["prompt_tokens"],
            "output_tokens_per_s": self._counts["output_tokens"],
        }
        rates = {name: _ratio(amount * PS_PER_S, clock_ps) for name, amount in amounts.items()}
        return {**rates, "num_met_limits": self._counts["met"]}


class _Blocks:
    """Rows cut into blocks of one length, however they come."""

    def __init__(self) -> None:
        self._block = np.empty(_BLOCK, DEPARTURE)
        self._filled = 0

    def cut(self, rows: Rows) -> Iterator[Rows]:
        """The blocks that are full; each is to be used before the next is asked for."""
        while len(rows):
            if self._filled == 0 and len(rows) >= _BLOCK:
                yield rows[:_BLOCK]
                rows = rows[_BLOCK:]
                continue
            room = _BLOCK - self._filled
            piece, rows = rows[:room], rows[room:]
            put(self._block, self._filled, piece)
            self._filled += len(piece)
            if self._filled == _BLOCK:
                self._filled = 0
                yield self._block

    def rest(self) -> Rows:
        """What is left over at the end."""
        rows, self._filled = self._block[: self._filled], 0
        return rows


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
