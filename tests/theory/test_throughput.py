"""Power of d, multi-bin batching, and the bounds by tokens and KV cache: the numbers of the reference 3.5 and 6."""

from __future__ import annotations

import numpy as np
import pytest

from llmqgym.errors import InputError
from llmqgym.theory import (
    Density,
    exponential,
    flow_control_tokens,
    kv_bound,
    make_law,
    memory_time,
    multi_bin,
    multi_bin_uniform,
    power_of_d,
    token_bound,
)


def test_power_of_d() -> None:
    """d = 1 is M/M/1; more choices are better; d = 3 by its series, load^0 + load^3 + load^12 + load^39 + .."""
    for load in (0.1, 0.9, 0.999):
        assert power_of_d(load, 1) == pytest.approx(1 / (1 - load))
        responses = [power_of_d(load, d) for d in (1, 2, 3, 5, 100)]
        assert responses == sorted(responses, reverse=True)
    assert power_of_d(0.9, 3) == pytest.approx(1 + 0.9**3 + 0.9**12 + 0.9**39 + 0.9**120)


UNIFORM = Density(lambda x: np.where((x > 1) & (x < 20), 1 / 19, 0.0), jumps=(1.0, 20.0))


@pytest.mark.parametrize("bins", [1, 2, 4, 8, 16])
def test_multi_bin_of_a_density_is_that_of_the_formula(bins: int) -> None:
    assert multi_bin(UNIFORM, 128, bins) / 10.5 == pytest.approx(multi_bin_uniform(128, bins, 1, 20), rel=1e-8)


def test_multi_bin_limits() -> None:
    """The ceiling is batch / mean; exponential sizes give B / H_B."""
    assert multi_bin_uniform(128, 10**6, 1, 20) == pytest.approx(12.190, abs=5e-4)
    assert multi_bin(exponential(), 8, 1) == pytest.approx(2.9435, abs=5e-5)
    for batch in (1, 2, 500):
        harmonic = sum(1 / k for k in range(1, batch + 1))
        assert multi_bin(exponential(), batch, 1) == pytest.approx(batch / harmonic, rel=1e-8)


@pytest.mark.parametrize("bins", [1, 3])
def test_multi_bin_sampled(bins: int) -> None:
    """Weibull sizes, cut into bins by rank, batches drawn within a bin."""
    rng = np.random.default_rng(2)
    size = np.sort(rng.weibull(0.5, 600_000) / 2).reshape(bins, -1)
    longest = np.mean([rng.permutation(part).reshape(-1, 8).max(axis=1).mean() for part in size])
    assert multi_bin(make_law("weibull:shape=0.5"), 8, bins) == pytest.approx(8 / longest, rel=0.01)


@pytest.mark.parametrize(
    ("prompt", "output", "capacity", "expected"),
    [(10, 60, 16492, 6.787), (100, 100, 10000, 0.6645), (512, 128, 65536, 0.8881)],
)
def test_kv_bound(prompt: int, output: int, capacity: int, expected: float) -> None:
    assert kv_bound(capacity, prompt, output) == pytest.approx(expected, rel=1e-4)


def test_memory_time_is_a_sum_over_iterations() -> None:
    assert memory_time(7, 5) == sum(7 + j for j in range(1, 6))
    mixed = kv_bound(1000, np.array([10, 20]), np.array([5, 50]))
    assert mixed == pytest.approx(1000 / np.mean([65, 2275]))


def test_dong_cao_peak() -> None:
    assert flow_control_tokens([4, 4, 4], [10, 10, 10], [20, 40, 60]) == 16240 <= 16492


def test_dai_capacity() -> None:
    """CodeLlama-34B: 11.28 + 35.47 ceil(512 / 128) ms a full budget; (100, 100) tokens a request."""
    iteration_s = (11.28 + 35.47 * 4) / 1000
    assert token_bound(512, iteration_s, 200) == pytest.approx(16.715, abs=5e-4)


def test_bad_input() -> None:
    for call in (
        lambda: power_of_d(0.5, 0),
        lambda: multi_bin_uniform(0, 1, 1, 2),
        lambda: multi_bin_uniform(8, 1, 3, 2),
        lambda: multi_bin(exponential(), 8, 0),
        lambda: kv_bound(0, 1, 1),
        lambda: memory_time(1, 0),
        lambda: memory_time([], []),
        lambda: token_bound(512, 0, 200),
    ):
        with pytest.raises(InputError):
            call()
