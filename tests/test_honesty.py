"""A policy without oracle rights acts the same when every hidden field is scrambled."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.registry import POLICIES, make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel import log
from llmqgym.kernel.tables import PS_PER_S, Status
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests


def half_way(policy: str, scramble: bool) -> list[tuple[int, ...]]:
    """The decisions of one composition half-way; with `scramble` the hidden lengths are made longer first."""
    rng = np.random.default_rng(3)
    num = 200
    output = rng.integers(1, 120, num)
    requests = make_requests(
        arrival_s=np.cumsum(rng.exponential(0.02, num)),
        prompt_tokens=rng.integers(1, 300, num),
        output_tokens=output,
        predicted_output_tokens=output * rng.lognormal(0, 1, num),
        predicted_lower_tokens=output * rng.uniform(0.2, 1.0, num),
        predicted_upper_tokens=output * rng.uniform(1.0, 2.0, num),
        priority=rng.integers(0, 3, num),
        tenant=rng.integers(0, 3, num),
        max_output_tokens=120,
        ttft_limit_ps=PS_PER_S,
        tpot_limit_ps=PS_PER_S // 10,
    )
    server = ServerConfig(num_kv_blocks=100, max_running=10)
    sim = Simulator(server, load_profile("a100-llama-3-8b").to_integers(16), make_policy(policy), log=True)
    sim.feed(requests)
    sim.advance(max_events=150)
    assert sim.record.num_waiting > 5
    sim.log_triples()
    sim._log_sink.clear()
    if scramble:
        here = np.isin(sim._arrays["requests"]["status"], [Status.WAITING, Status.RUNNING])
        sim._arrays["hidden"]["output_tokens"][here] += rng.integers(1, 500, int(here.sum()))
    sim.advance(max_events=1)
    decided = (log.PREEMPTED, log.SCHEDULED, log.SCHEDULED_PART, log.FREE_BEFORE)
    return [tuple(t) for t in sim.log_triples().tolist() if t[0] in decided]


@pytest.mark.parametrize("policy", [name for name, entry in POLICIES.items() if not entry.oracle])
def test_hidden_lengths_do_not_matter_to_an_honest_policy(policy: str) -> None:
    decisions = half_way(policy, scramble=False)
    assert len(decisions) >= 2
    assert half_way(policy, scramble=True) == decisions


def shown_requests(policy: str) -> np.ndarray:
    """The REQUEST rows of two running requests of 70 and 80 tokens."""
    profile = load_profile("constant:iteration_ms=10").to_integers(16)
    sim = Simulator(ServerConfig(), profile, make_policy(policy), step_by_step=True)
    sim.feed(make_requests(arrival_s=[0.0, 0.0], prompt_tokens=[5, 5], output_tokens=[70, 80]))
    sim.advance(max_events=3)
    rows = sim._arrays["requests"]
    return rows[rows["status"] == Status.RUNNING]


@pytest.mark.parametrize("policy", POLICIES)
def test_oracles_are_declared_and_only_they_see_the_truth(policy: str) -> None:
    assert make_policy(policy).oracle == POLICIES[policy].oracle
    shown = shown_requests(policy)
    assert sorted(shown["true_output_tokens"].tolist()) == ([70, 80] if POLICIES[policy].oracle else [-1, -1])


def test_the_truth_is_not_in_what_a_policy_is_shown() -> None:
    shown = shown_requests("vllm")
    assert len(shown) == 2
    for name in shown.dtype.names or ():
        assert not {70, 80} & set(shown[name].ravel().tolist()), name
