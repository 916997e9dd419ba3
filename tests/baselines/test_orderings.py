"""What the papers claim of their policies against each other, on a server with a KV cache and real iteration times."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel import log
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.simulator import Simulator
from llmqgym.workload.generate import poisson_lognormal
from llmqgym.workload.predictors import apply_predictor
from llmqgym.workload.workload import make_requests

pytestmark = pytest.mark.skipif(not COMPILED, reason="thousands of requests take hours in plain Python")


def run(policy: str, requests: np.ndarray, server: ServerConfig, profile: str = "a100-llama-3-8b") -> Simulator:
    """A run to its end."""
    sim = Simulator(server, load_profile(profile).to_integers(server.block_size), make_policy(policy))
    sim.run(iter([requests]))
    return sim


def times_s(policy: str, requests: np.ndarray, server: ServerConfig) -> tuple[np.ndarray, np.ndarray]:
    """(E2E, TTFT) of all requests, in seconds."""
    rows = run(policy, requests, server).departures()
    return (rows["finish_ps"] - rows["arrival_ps"]) / PS_PER_S, (rows["first_token_ps"] - rows["arrival_ps"]) / PS_PER_S


# The order by memory x time where prompts differ (arXiv 2508.06133: up to 30 %)


def backlog(prompt_sigma: float) -> np.ndarray:
    """6,000 requests at once whose lengths are known."""
    requests = poisson_lognormal(
        6000, 1e5, 3, prompt_median=300, prompt_sigma=prompt_sigma, prompt_max=8000, output_median=160
    ).requests
    requests["predicted_output_tokens"] = requests["output_tokens"]
    return requests


def test_volume_first_is_ahead_of_mc_sf_where_prompts_differ() -> None:
    """By a quarter, and Sorted-F's batches are near. Where all prompts are equal there is no difference."""
    server = ServerConfig(num_kv_blocks=3000)
    mean = {
        (sigma, policy): times_s(policy, backlog(sigma), server)[0].mean()
        for sigma in (0.0, 1.0)
        for policy in ("mc-sf", "volume-sf", "sorted-f", "vllm")
    }
    assert mean[1.0, "volume-sf"] < 0.8 * mean[1.0, "mc-sf"]
    assert mean[1.0, "sorted-f"] == pytest.approx(mean[1.0, "volume-sf"], rel=0.05)
    assert mean[1.0, "mc-sf"] < 0.7 * mean[1.0, "vllm"]
    assert mean[0.0, "volume-sf"] == pytest.approx(mean[0.0, "mc-sf"], rel=0.005)


# TRAIL's C, between SPJF (0) and SPRPT (1)


def test_c_moves_the_first_token_one_way_and_the_tail_the_other() -> None:
    """With 32 slots at 5.4 requests/s and preemption by hold: who is displaced makes room for first tokens, and waits
    at the end. Mean E2E stays within 2 %."""
    requests = poisson_lognormal(20_000, 5.4, 3, prompt_median=600, output_median=160)
    requests = apply_predictor(requests, "lognormal:sigma=0.5", 2).requests
    server = ServerConfig(num_kv_blocks=8000, max_running=32)
    e2e, ttft = zip(*(times_s(f"trail:c={c},mode=hold", requests, server) for c in (0, 0.2, 1)), strict=True)
    first = [each.mean() for each in ttft]
    tail = [np.percentile(each, 99) for each in e2e]
    assert first[2] < 0.9 * first[1] < 0.6 * first[0]
    assert tail[0] < 0.95 * tail[1]
    assert tail[1] < tail[2]
    assert max(each.mean() for each in e2e) < 1.02 * min(each.mean() for each in e2e)


# Paced admission at saturation: identical requests of 100 + 100 tokens, 10,000 tokens of memory, slots without limit


@pytest.mark.parametrize("block_size", [1, 16])
def test_pacing_beats_filling_up(block_size: int) -> None:
    """By 10 % or more in throughput; nobody is preempted, where vLLM preempts every other request."""
    num = 20_000
    requests = make_requests(
        arrival_s=np.zeros(num),
        prompt_tokens=np.full(num, 100),
        output_tokens=np.full(num, 100),
        max_output_tokens=np.full(num, 100),
        predicted_output_tokens=np.full(num, 100.0),
    )
    server = ServerConfig(
        num_kv_blocks=10_000 // block_size, block_size=block_size, max_batched_tokens=2048, max_running=2**40
    )
    vllm, paced = (
        run(policy, requests, server, "a100-llama-3-8b:kind=linear").totals() for policy in ("vllm", "paced")
    )
    assert vllm.clock_ps > 1.1 * paced.clock_ps
    assert sum(paced.num_preemptions) == 0
    assert sum(vllm.num_preemptions) > num / 2


# VTC for two tenants with a backlog: requests of 100 + 200 and of 50 + 50 tokens, in turns

MEMORY_TOKENS, LONGEST_PROMPT = 4800, 100


def service_gap(policy: str) -> float:
    """The largest difference of the services (1 a prompt token at admission, 2 a generated one) of two tenants while
    both have somebody waiting."""
    num = 800
    tenant = np.arange(num) % 2
    output = np.where(tenant == 0, 200, 50)
    requests = make_requests(
        arrival_s=np.zeros(num),
        prompt_tokens=np.where(tenant == 0, LONGEST_PROMPT, 50),
        output_tokens=output,
        max_output_tokens=output,
        predicted_output_tokens=output * np.random.default_rng(1).lognormal(0, 0.5, num),
        tenant=tenant,
    )
    server = ServerConfig(num_kv_blocks=MEMORY_TOKENS // 16, max_running=32)
    profile = load_profile("a100-llama-3-8b").to_integers(16)
    sim = Simulator(server, profile, make_policy(policy), log=True)
    sim.run(iter([requests]))
    served, waiting, seen, largest = [0.0, 0.0], [num // 2, num // 2], set(), 0.0
    for what, request, _ in sim.log_triples().tolist():
        if what in (log.SCHEDULED, log.SCHEDULED_PART):
            who = request % 2
            if request not in seen:
                seen.add(request)
                waiting[who] -= 1
                served[who] += int(requests["prompt_tokens"][request])
            served[who] += 2 * (what == log.SCHEDULED)
        elif what == log.ITERATION and min(waiting) > 0:
            largest = max(largest, abs(served[0] - served[1]))
    return largest


@pytest.mark.parametrize("policy", ["vtc", "vtc-predicted"])
def test_counters_halve_the_gap_of_first_come(policy: str) -> None:
    """And more, and they keep it within 2 U, U = max(1 x longest prompt, 2 x memory)."""
    gap = service_gap(policy)
    assert gap < 0.5 * service_gap("fcfs")
    assert gap <= 2 * max(LONGEST_PROMPT, 2 * MEMORY_TOKENS)


# The tail is not SRPT's (arXiv 2404.08826)


def test_boosting_has_a_shorter_tail_than_shortest_first() -> None:
    """True lengths, one slot at a time of the textbook queue at load 0.8: gamma-Boost pays with the mean, SRPT and SPJF
    with the tail."""
    num = 60_000
    rng = np.random.default_rng(5)
    requests = make_requests(
        arrival_s=np.cumsum(rng.exponential(1.0 / 0.008, num)),
        prompt_tokens=np.ones(num, np.int64),
        output_tokens=np.maximum(np.rint(rng.exponential(100.0, num)), 1).astype(np.int64),
    )
    server = ServerConfig(num_kv_blocks=2**40, max_running=1)
    profile = load_profile("iterations").to_integers(16)
    e2e = {}
    for policy in ("srpt:mode=hold", "gamma-boost-true:gamma=0.002,token_s=1,prompt_token_s=0,mode=hold", "fcfs"):
        sim = Simulator(server, profile, make_policy(policy))
        sim.run(iter([requests]))
        rows = sim.departures()
        e2e[policy.partition(":")[0]] = (rows["finish_ps"] - rows["arrival_ps"]) / PS_PER_S
    tail = {name: np.percentile(each, 99.5) for name, each in e2e.items()}
    assert e2e["srpt"].mean() < e2e["gamma-boost-true"].mean() < e2e["fcfs"].mean()
    assert tail["gamma-boost-true"] < 0.9 * tail["srpt"]
    assert tail["gamma-boost-true"] < tail["fcfs"]
