"""Iteration times against the plain formula, jumps against stepping, integrals against Python's integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel.integrals import add_product, subtract_product, whole
from llmqgym.kernel.iteration_time import iteration_time, passes_until, span_of
from llmqgym.policy import Policy
from llmqgym.simulator import Simulator

PROFILES = ("a100-llama-3-8b", "h100-llama-2-70b-tp4", "linear:base_ms=3,token_ms=0.1,kv_ms=0.0001,square_ms=1e-6",
            "staircase", "constant:iteration_ms=10", "iterations")  # fmt: skip


@settings(max_examples=400)
@given(
    st.sampled_from(PROFILES),
    st.integers(0, 20_000),
    st.integers(0, 10**6),
    st.integers(0, 600),
    st.integers(0, 10**7),
)
def test_iteration_time_is_the_profile_formula(spec: str, chunk: int, prior: int, decodes: int, kv_tokens: int) -> None:
    if chunk + decodes == 0:
        chunk = 1
    profile = load_profile(spec).to_integers(16)
    sim = Simulator(ServerConfig(), profile, Policy("p"), capacity=4)
    two_f = chunk * (2 * prior + chunk)
    kv_tokens = kv_tokens if decodes else 0
    ours = iteration_time(sim.record, chunk, two_f, decodes, kv_tokens)
    assert ours == profile.iteration_ps(chunk, two_f, decodes, kv_tokens)


@given(st.integers(1, 10**13), st.integers(1, 10**12), st.integers(0, 10**9), st.integers(1, 300))
@settings(max_examples=500)
def test_passes_until_is_what_stepping_finds(gap: int, first: int, growth: int, limit: int) -> None:
    clock, passes = 0, 0
    while passes < limit and clock < gap:
        clock += first + passes * growth
        passes += 1
    assert passes_until(gap, first, growth, limit) == passes
    assert span_of(passes, first, growth) == clock


def test_a_jump_to_the_horizon_does_not_overflow() -> None:
    limit = 1 << 15
    passes = passes_until(8 * 10**18, 10**15, 10**13, limit)
    assert span_of(passes - 1, 10**15, 10**13) < 8 * 10**18 <= span_of(passes, 10**15, 10**13)


@njit
def compiled_add(total: np.ndarray, a: int, b: int) -> None:
    add_product(total, a, b)


@njit
def compiled_subtract(total: np.ndarray, a: int, b: int) -> None:
    subtract_product(total, a, b)


@pytest.mark.parametrize(("add", "subtract"), [(add_product, subtract_product), (compiled_add, compiled_subtract)])
def test_integrals_hold_what_an_int64_cannot(add: Any, subtract: Any) -> None:
    total = np.zeros(2, np.int64)
    rng = np.random.default_rng(1)
    expected = 0
    for _ in range(500):
        a, b = int(rng.integers(0, 2**62)), int(rng.integers(0, 2**50))
        add(total, a, b)
        expected += a * b
        small = int(rng.integers(0, 2**31))
        subtract(total, small, b >> 31)
        expected -= small * (b >> 31)
    assert whole(total) == expected
