"""Unit rounds: the integer program against a search over all schedules, and every bound below every optimum."""

from __future__ import annotations

import numpy as np
import pytest

from llmqgym.bounds.unit_optimum import optimum, relaxation
from llmqgym.bounds.unit_rounds import UnitRounds
from llmqgym.bounds.unit_search import optimum_by_search
from llmqgym.errors import InputError
from llmqgym.validation.bounds import random_instance

EXAMPLES = {  # reference/policies.md, section 10: optimum
    "E1": (UnitRounds.of([0, 0, 0, 0], [8, 1, 1, 1], [1, 2, 2, 2], 9), 9),
    "E2": (UnitRounds.of([0, 0, 0], [1, 8, 1], [7, 1, 1], 9), 11),
    "E3": (UnitRounds.of([0, 0, 0, 0], [1, 1, 2, 1], [4, 2, 1, 3], 9), 10),
    "E4": (UnitRounds.of([0, 0, 1, 2], [2, 2, 2, 2], [6, 2, 2, 2], 8), 15 + 3),
}


def best_by_search(instance: UnitRounds) -> int:
    """Branch and bound over the start of each request in turn, with no other idea in it."""
    arrival, s, o = (a.tolist() for a in (instance.arrival, instance.prompt_tokens, instance.output_tokens))
    horizon = max(arrival) + sum(o)
    held = [0] * (horizon + 1)
    least = [sum(a + b for a, b in zip(arrival[i:], o[i:], strict=True)) for i in range(len(o) + 1)]
    best = sum(max(arrival) + sum(o[: i + 1]) for i in range(len(o)))  # one after the other

    def place(i: int, total: int) -> None:
        nonlocal best
        if i == len(o):
            best = min(best, total)
            return
        for start in range(arrival[i], horizon - o[i] + 1):
            if total + start + o[i] + least[i + 1] >= best:
                return
            if all(held[start + j] + s[i] + j <= instance.capacity_tokens for j in range(1, o[i] + 1)):
                for j in range(1, o[i] + 1):
                    held[start + j] += s[i] + j
                place(i + 1, total + start + o[i])
                for j in range(1, o[i] + 1):
                    held[start + j] -= s[i] + j

    place(0, 0)
    return best


def check_bounds(instance: UnitRounds, time_limit_s: float = 600) -> dict[str, float]:
    """No bound above the optimum; returns bound / optimum."""
    found = optimum(instance, time_limit_s)
    best = found.total_completion
    assert (found.starts >= instance.arrival).all()
    bounds = {
        "trivial": instance.trivial(),
        "srpt": instance.srpt_pooling(),
        "mean busy": instance.mean_busy_time(),
        "lp": relaxation(instance),
    }
    for name, bound in bounds.items():
        assert bound <= best * (1 + 1e-9), (name, bound, best, instance)
    return {name: bound / best for name, bound in bounds.items()}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_reference_examples(name: str) -> None:
    instance, best = EXAMPLES[name]
    assert optimum(instance).total_completion == best == best_by_search(instance) == optimum_by_search(instance)


def test_the_integer_program_finds_what_a_search_finds() -> None:
    rng = np.random.default_rng(1)
    for _ in range(120):
        instance = random_instance(rng, int(rng.integers(1, 5)))
        assert optimum(instance).total_completion == best_by_search(instance) == optimum_by_search(instance)


def test_no_bound_is_above_an_optimum() -> None:
    rng = np.random.default_rng(2)
    for _ in range(120):
        check_bounds(random_instance(rng, int(rng.integers(1, 7))))


def test_the_search_finds_what_the_integer_program_finds() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        instance = random_instance(rng, int(rng.integers(1, 8)))
        assert optimum_by_search(instance) == optimum(instance).total_completion


def test_a_search_too_long_is_given_up() -> None:
    with pytest.raises(InputError, match="no optimum of 4 requests within 3 states"):
        optimum_by_search(EXAMPLES["E1"][0], most_states=3)


def test_a_request_that_never_fits_is_refused() -> None:
    with pytest.raises(InputError, match="grows to 10 tokens"):
        UnitRounds.of([0], [4], [6], 9)
