"""Formulas no table of the reference prints, against a plain event-by-event M/G/1.

The estimate is steadied by its correlation with FCFS on the same jobs, whose mean is known.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from llmqgym.theory import Lognormal, exponential, make_prediction, one_bit, pspjf, skip_predict, trail
from llmqgym.theory.blind import fcfs

NUM_JOBS, NUM_BATCHES = 100_000, 50
Floats = NDArray[np.float64]
#: Rank of a job by its number and age: lower is first; it does not rise while the job is served.
Rank = Callable[[int, float], tuple[float, float]]


def simulate(arrival: Floats, size: Floats, rank: Rank) -> Floats:
    """Response times [n] where the lowest rank is served, looked at on each arrival and each departure."""
    response = np.empty(arrival.size)
    waiting: list[tuple[tuple[float, float], int, float]] = []  # rank, job, age
    clock = 0.0
    times, sizes = arrival.tolist(), size.tolist()
    for job, until in enumerate([*times, float("inf")]):
        while waiting:
            _, served, age = waiting[0]
            left = sizes[served] - age
            if clock + left > until:
                age += until - clock
                heapq.heapreplace(waiting, (rank(served, age), served, age))
                break
            clock += left
            response[served] = clock - times[served]
            heapq.heappop(waiting)
        clock = until
        if job < arrival.size:
            heapq.heappush(waiting, (rank(job, 0.0), job, 0.0))
    return response


def in_order(arrival: Floats, size: Floats) -> Floats:
    """Response times [n] of FCFS (Lindley)."""
    ends = np.cumsum(size)
    return ends + np.maximum.accumulate(arrival - (ends - size)) - arrival


def check(law, load: float, size: Floats, rank: Rank, expected: float, rng) -> None:  # type: ignore[no-untyped-def]
    arrival = np.cumsum(rng.exponential(1 / load, size.size))
    batches = simulate(arrival, size, rank).reshape(NUM_BATCHES, -1).mean(axis=1)
    control = in_order(arrival, size).reshape(NUM_BATCHES, -1).mean(axis=1) - fcfs(law, load)
    slope = np.cov(batches, control)[0, 1] / control.var(ddof=1)
    steadied = batches - slope * control
    error = steadied.std(ddof=1) / NUM_BATCHES**0.5
    assert error < 0.01 * expected
    assert abs(steadied.mean() - expected) < 4 * error


def bit_rank(variant: str, short: NDArray[np.bool_]) -> Rank:
    def rank(job: int, age: float) -> tuple[float, float]:
        if not short[job]:
            return (-1.0, 0.0) if variant == "no-preemption" and age > 0 else (1.0, job)
        if variant == "no-preemption":
            return (-1.0, 0.0) if age > 0 else (0.0, job)
        return 0.0, -job if variant == "front" else job

    return rank


@pytest.mark.parametrize("variant", ["no-preemption", "front", "in-order"])
def test_one_bit(variant: str) -> None:
    """A lognormal law, a bit of noisy size, and a tenth of the long called short."""
    rng, law, prediction = np.random.default_rng(3), Lognormal(0.8), make_prediction("lognormal:sigma=0.5")
    size = np.exp(0.8 * rng.standard_normal(NUM_JOBS) - 0.32)
    short = (prediction.sample(size, rng) < 1.2) | (rng.random(NUM_JOBS) < 0.1)
    expected = one_bit(law, 0.7, prediction, threshold=1.2, error_long=0.1, variant=variant)
    check(law, 0.7, size, bit_rank(variant, short), expected, rng)


@pytest.mark.parametrize(("spec", "cutoff"), [("uniform:a=0.8", 0.3), ("bias:k=0.4", 1.0), ("bias:k=0.4", 0.6)])
def test_trail(spec: str, cutoff: float) -> None:
    rng, law, prediction = np.random.default_rng(4), Lognormal(0.8), make_prediction(spec)
    size = np.exp(0.8 * rng.standard_normal(NUM_JOBS) - 0.32)
    said = prediction.sample(size, rng)

    def rank(job: int, age: float) -> tuple[float, float]:
        return (-np.inf, 0.0) if age > cutoff * said[job] else (said[job] - age, job)

    check(law, 0.7, size, rank, trail(law, 0.7, prediction, cutoff=cutoff), rng)


def test_pspjf() -> None:
    rng, law, prediction = np.random.default_rng(5), Lognormal(0.8), make_prediction("exponential")
    size = np.exp(0.8 * rng.standard_normal(NUM_JOBS) - 0.32)
    said = prediction.sample(size, rng)
    check(law, 0.7, size, lambda job, age: (said[job], job), pspjf(law, 0.7, prediction), rng)


@pytest.mark.parametrize("cheap", ["exponential", "perfect", "uniform:a=0.5", None])
def test_skip_predict(cheap: str | None) -> None:
    """The bit from a predictor of its own, or from the same Y."""
    rng, law, prediction = np.random.default_rng(6), exponential(), make_prediction("lognormal:sigma=0.7")
    size = rng.exponential(1, NUM_JOBS)
    said = prediction.sample(size, rng)
    bit = said if cheap is None else make_prediction(cheap).sample(size, rng)

    def rank(job: int, age: float) -> tuple[float, float]:
        return (0.0, job) if bit[job] <= 0.8 else (1.0, said[job] - age)

    own = None if cheap is None else make_prediction(cheap)
    check(law, 0.75, size, rank, skip_predict(law, 0.75, prediction, threshold=0.8, cheap=own), rng)
