"""Unit rounds: two exact methods against a search over all schedules, and every bound below every optimum."""

from __future__ import annotations

import numpy as np
import pytest

from llmqgym.bounds import optimum, program_optimum, relaxation
from llmqgym.bounds.unit_rounds import UnitRounds
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
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
    assert optimum(instance).total_completion == best == best_by_search(instance)


def test_both_methods_find_what_a_search_without_ideas_finds() -> None:
    rng = np.random.default_rng(1)
    for _ in range(120 if COMPILED else 12):
        instance = random_instance(rng, int(rng.integers(1, 5)))
        best = best_by_search(instance)
        assert optimum(instance).total_completion == program_optimum(instance).total_completion == best


def check_methods(rng: np.random.Generator, num: int) -> None:
    """The two methods agree, and the schedule that is returned is one and costs what is said."""
    instance = random_instance(rng, num)
    found = optimum(instance)
    assert found.total_completion == program_optimum(instance, 600).total_completion
    assert (found.starts >= instance.arrival).all()
    ends = found.starts + instance.output_tokens
    assert ends.sum() == found.total_completion
    for moment in range(1, int(ends.max()) + 1):
        runs = (found.starts < moment) & (moment <= ends)
        held = (instance.prompt_tokens + moment - found.starts)[runs]
        assert held.sum() <= instance.capacity_tokens


def test_the_search_finds_what_the_integer_program_finds() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60 if COMPILED else 3):
        check_methods(rng, int(rng.integers(1, 8 if COMPILED else 6)))


@pytest.mark.slow
def test_the_search_finds_what_the_integer_program_finds_on_hundreds() -> None:
    rng = np.random.default_rng(6)
    for _ in range(600):
        check_methods(rng, int(rng.integers(4, 10)))


def test_no_bound_is_above_an_optimum() -> None:
    rng = np.random.default_rng(2)
    for _ in range(120):
        check_bounds(random_instance(rng, int(rng.integers(1, 7))))


@pytest.mark.slow
def test_no_bound_is_above_an_optimum_on_thousands() -> None:
    rng = np.random.default_rng(3)
    for _ in range(2500):
        check_bounds(random_instance(rng, int(rng.integers(1, 9))))


@pytest.mark.slow
def test_no_bound_is_above_an_optimum_of_more_requests() -> None:
    rng = np.random.default_rng(4)
    for _ in range(300):
        check_bounds(random_instance(rng, int(rng.integers(9, 13))))


def test_what_is_too_much_for_the_search_is_refused() -> None:
    with pytest.raises(InputError, match="17 requests, at most 16"):
        optimum(UnitRounds.of([0] * 17, [1] * 17, [1] * 17, 9))
    with pytest.raises(InputError, match="no proof of optimality for 5 requests"):
        optimum(UnitRounds.of([0] * 5, [1] * 5, [3, 4, 5, 6, 7], 9), time_limit_s=0)


def test_a_request_that_never_fits_is_refused() -> None:
    with pytest.raises(InputError, match="grows to 10 tokens"):
        UnitRounds.of([0], [4], [6], 9)
