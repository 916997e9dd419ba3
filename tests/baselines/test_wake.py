"""Every baseline on random workloads and small servers: jumping from event to event gives what stepping gives, bit for
bit. A `wake` that promises too much shows here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import Case, cases, labels
from hypothesis import given, settings
from hypothesis import strategies as st
from policy_specs import SPECS

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel.tables import PS_PER_S

#: A hundredth of what other random tests get, for each spec.
EXAMPLES = max(settings.default.max_examples // 100, 2)


def assert_jumping_is_stepping(case: Case) -> None:
    """Every departure and every total."""
    jumping, stepping = case.kernel(), case.kernel(step_by_step=True)
    ours, theirs = jumping.departures(), stepping.departures()
    assert sorted(map(str, ours.tolist())) == sorted(map(str, theirs.tolist()))
    ours, theirs = jumping.totals(), stepping.totals()
    assert replace(ours, num_events=0) == replace(theirs, num_events=0)


@pytest.mark.parametrize("spec", SPECS)
def test_jumping_is_stepping(spec: str) -> None:
    policy = make_policy(spec)

    @settings(max_examples=EXAMPLES)
    @given(cases(), st.booleans())
    def check(case: Case, roomy: bool) -> None:
        case = replace(case, policy=policy, more=labels(case, np.random.default_rng(case.arrivals[-1])))
        if roomy:  # memory and tokens never run short: only the policy's own decisions are left
            case = replace(case, server=replace(case.server, num_kv_blocks=2000, max_batched_tokens=2048))
        assert_jumping_is_stepping(case)

    check()


def crowd(rng: np.random.Generator, spec: str) -> Case:
    """Requests that keep each other waiting while memory or slots are full, with predictions of some worth: here
    decisions change between events."""
    num, block_size, tight = 30, int(rng.choice([1, 4])), bool(rng.integers(0, 2))
    prompts, outputs = rng.integers(1, 30, num), rng.integers(1, 90, num)
    predictions = outputs * np.exp(rng.choice([0.0, 1.0]) * rng.standard_normal(num))
    server = ServerConfig(
        num_kv_blocks=-(-int(rng.integers(120, 250)) // block_size) if tight else 4000,
        block_size=block_size,
        max_running=64 if tight else int(rng.integers(1, 4)),
        host_kv_blocks=1000,
    )
    span_s = rng.choice([0.0, 500.0, 2000.0])
    columns = np.sort(rng.uniform(0, span_s, num)) * PS_PER_S, prompts, outputs
    arrivals, prompts, outputs = (tuple(map(int, column)) for column in columns)
    case = Case(
        arrivals, prompts, outputs, tuple(map(float, predictions)), tuple(map(int, rng.integers(0, 3, num))),
        server, load_profile("iterations").to_integers(block_size), make_policy(spec),
        until_ps=20_000 * PS_PER_S,
    )  # fmt: skip
    return replace(case, more=labels(case, rng))


@pytest.mark.parametrize("spec", SPECS)
def test_jumping_is_stepping_in_a_crowd(spec: str) -> None:
    rng = np.random.default_rng(8)
    for _ in range(EXAMPLES):
        assert_jumping_is_stepping(crowd(rng, spec))
