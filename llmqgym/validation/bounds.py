"""Certified lower bounds against exact optima of small instances in unit rounds: none is above one."""

from __future__ import annotations

from functools import partial

import numpy as np

from llmqgym.bounds import UnitRounds, optimum, relaxation
from llmqgym.validation.check import Check, Measured, Sense

#: Instances of the full run and of the quick one.
NUM_INSTANCES, NUM_QUICK = 2500, 150


def random_instance(rng: np.random.Generator, num: int) -> UnitRounds:
    """Tight or roomy, all at once or spread out."""
    capacity = int(rng.integers(6, 21))
    prompt = rng.integers(0, 4, num)
    output = rng.integers(1, np.maximum(capacity - prompt, 1) // int(rng.integers(1, 4)) + 1)
    arrival = rng.integers(0, 1 + int(rng.choice([0, 0, 4, 15])), num)
    return UnitRounds.of(arrival, prompt, output, capacity)


def bounds_of(instance: UnitRounds) -> dict[str, float]:
    """Every bound on the sum of completion times, by name."""
    return {
        "trivial": instance.trivial(),
        "srpt pooling": instance.srpt_pooling(),
        "mean busy": instance.mean_busy_time(),
        "lp": relaxation(instance),
    }


def num_violations(quick: bool, seed: int, most_requests: int) -> Measured:
    """Bounds above the optimum of a random instance."""
    rng = np.random.default_rng(seed)
    num, violations = NUM_QUICK if quick else NUM_INSTANCES, 0
    shares: dict[str, list[float]] = {}
    for _ in range(num):
        instance = random_instance(rng, int(rng.integers(1, (6 if quick else most_requests) + 1)))
        best = optimum(instance, time_limit_s=600).total_completion
        for name, bound in bounds_of(instance).items():
            violations += bound > best * (1 + 1e-9)
            shares.setdefault(name, []).append(bound / best)
    means = ", ".join(f"{name} {np.mean(values):.3f}" for name, values in shares.items())
    return Measured(violations, note=f"{num:,} instances; mean bound / optimum: {means}")


CHECKS = (
    Check(
        group="bounds",
        name="bounds above the exact optimum, instances of at most 8 requests",
        source="reference/policies.md 9",
        expected=0,
        tolerance=0,
        quick_tolerance=0,
        sense=Sense.AT_MOST,
        measure=partial(num_violations, seed=3, most_requests=8),
        cost_s=120,
    ),
)
