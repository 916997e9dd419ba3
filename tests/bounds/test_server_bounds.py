"""Bounds for the simulated server: no schedule that a search finds on small instances is below them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cases
import numpy as np
import pytest
from hypothesis import given, settings

from baselines.registry import POLICIES, make_policy
from llmqgym.bounds.minorant import corners, least_from, lines, without_attention_ps
from llmqgym.bounds.needs import measure
from llmqgym.bounds.pooled import prices
from llmqgym.bounds.server import LatencyBounds, latency_bounds
from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware import load_profile
from llmqgym.hardware.integers import IntegerProfile
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.policy import Policy
from llmqgym.scenario import load_scenario, with_traffic
from llmqgym.shipped import shipped_names
from llmqgym.simulator import Simulator
from llmqgym.traffic import build_workload
from llmqgym.workload.predictors import apply_predictor
from llmqgym.workload.workload import as_table, make_requests

SPECS = (
    "linear:base_ms=10,token_ms=0.3,decode_ms=0.5,kv_ms=0.02,square_ms=0.001",
    "linear:base_ms=1,token_ms=2,decode_ms=0,kv_ms=0.5",  # a prefill may be cheaper than the KV reads of a decode
    "linear:base_ms=0,token_ms=1,decode_ms=0.1,kv_ms=0,square_ms=0.01",
    "linear:base_ms=5,token_ms=0,decode_ms=2,kv_ms=0.3",
    "constant:iteration_ms=7",
    "staircase:base_ms=3,step_ms=5,tile_tokens=4",
    "staircase:base_ms=3,step_ms=5,tile_tokens=16",
    "a100-llama-3-8b",
    "a100-llama-2-70b-tp4:kind=linear",
)
FAMILY = [
    Policy(f"{order.__name__}-{mode}-{mix}-{miss}", order=order, preempt=preempt, preempt_mode=mode, mix=mix, miss=miss)
    for order, preempt in ((cases.by_priority, cases.more_urgent), (cases.by_priority, None))
    for mode in ("recompute", "restart", "swap", "hold")
    for mix in ("mixed", "prefill_first", "prefill_first_mixed", "batch_to_completion")
    for miss in ("stop", "skip")
    if preempt is not None or mode == "recompute"
]


def check(bounds: LatencyBounds, rows: Any) -> float | None:
    """No bound above what a run has come to; returns bound / mean E2E, None if it did not finish all that fit."""
    done = rows[rows["finish_ps"] >= 0]
    if len(done) != bounds.num_requests:
        return None
    e2e_ps, ttft_ps = (done[name] - done["arrival_ps"] for name in ("finish_ps", "first_token_ps"))
    e2e_s, ttft_s = float(e2e_ps.mean()) / PS_PER_S, float(ttft_ps.mean()) / PS_PER_S
    for name, bound in bounds.e2e_s.items():
        assert bound <= e2e_s, (name, bound, e2e_s)
    for name, bound in bounds.ttft_s.items():
        assert bound <= ttft_s, (name, bound, ttft_s)
    return bounds.best_e2e_s / e2e_s


def run(requests: Any, server: ServerConfig, profile: IntegerProfile, policy: Policy) -> Any:
    until = int(requests["arrival_ps"][-1]) + 10**15
    simulator = Simulator(server, profile, policy, until_ps=until, capacity=16)
    simulator.run(iter([requests]))
    return simulator.departures()


def small_instance(rng: np.random.Generator, num: int) -> tuple[Any, ServerConfig, IntegerProfile]:
    """A few requests and a server that they fill."""
    prompts, outputs = rng.integers(1, rng.choice([3, 12, 40]), num), rng.integers(1, rng.choice([3, 12, 40]), num)
    size = int(rng.choice([1, 4, 16]))
    server = ServerConfig(
        num_kv_blocks=int(-(-(prompts + outputs).max() // size) * rng.choice([1, 1, 2, 5])) + 1,
        block_size=size,
        max_running=int(rng.choice([1, 2, 4, 64])),
        max_batched_tokens=int(rng.choice([4, 16, 64, 2048])),
        reserve_full_isl=bool(rng.integers(2)),
        host_kv_blocks=int(rng.choice([0, 1000])),
    )
    gaps = rng.exponential(rng.choice([0.0, 0.02, 0.2]), num)
    requests = make_requests(arrival_s=np.cumsum(gaps), prompt_tokens=prompts, output_tokens=outputs)
    return requests, server, load_profile(str(rng.choice(SPECS))).to_integers(size)


def search(rng: np.random.Generator, num: int, tries: int) -> float:
    """The largest bound / mean E2E that orders, modes and mixes come to on one instance, by local search."""
    requests, server, profile = small_instance(rng, num)
    bounds = latency_bounds(requests, profile, server)
    best, order = 0.0, np.argsort(np.argsort(requests["output_tokens"], kind="stable"))
    for _ in range(tries):
        swapped = order.copy()
        swapped[rng.permutation(num)[:2]] = order[rng.permutation(num)[:2]] if num > 1 else order
        requests["priority"] = swapped
        found = check(bounds, run(requests, server, profile, FAMILY[int(rng.integers(len(FAMILY)))]))
        if found is not None and found >= best:
            best, order = found, swapped
    return best


def test_no_schedule_found_is_below_a_bound() -> None:
    rng = np.random.default_rng(1)
    found = [search(rng, int(rng.integers(1, 9)), tries=12) for _ in range(150 if COMPILED else 5)]
    assert np.mean(found) > 0.6


@pytest.mark.slow
def test_no_schedule_found_is_below_a_bound_on_thousands() -> None:
    rng = np.random.default_rng(2)
    for _ in range(4000):
        search(rng, int(rng.integers(1, 9)), tries=40)


@settings(max_examples=150 if COMPILED else 20)
@given(case=cases.cases())
def test_no_random_policy_is_below_a_bound(case: cases.Case) -> None:
    without_caching = replace(case.server, prefix_caching=False)
    case = replace(case, server=without_caching, shared=None, looks=None, until_ps=case.arrivals[-1] + 300 * PS_PER_S)
    columns = {"arrival_ps": case.arrivals, "prompt_tokens": case.prompts, "output_tokens": case.outputs}
    requests = make_requests(**columns)  # type: ignore[arg-type]
    if (-(-(requests["prompt_tokens"] + requests["output_tokens"] - 1) // case.server.block_size)).min() <= (
        case.server.num_kv_blocks or 0
    ):
        check(latency_bounds(requests, case.profile, case.server), case.kernel().departures())


@pytest.mark.skipif(not COMPILED, reason="thousands of requests take minutes in plain Python")
@pytest.mark.parametrize("name", shipped_names())
def test_no_baseline_is_below_a_bound(name: str) -> None:
    scenario = with_traffic(load_scenario(name), None, None, num_requests=1500)
    server, profile = scenario.server, load_profile(scenario.profile).to_integers(scenario.server.block_size)
    workload = as_table(apply_predictor(build_workload(scenario), "perfect", 0))
    bounds = latency_bounds(workload.requests, profile, server)
    for policy in POLICIES:
        simulator = Simulator(server, profile, make_policy(policy))
        simulator.run(workload.chunks())
        check(bounds, simulator.departures())


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("budget", [1, 5, 64, 2048])
def test_the_lines_are_below_the_profile(spec: str, budget: int) -> None:
    profile = load_profile(spec).to_integers(16)
    tokens = np.arange(1, budget + 1)
    time = without_attention_ps(profile, tokens)
    for line in lines(profile, budget):
        assert (line.fixed + line.token * tokens <= time * (1 + 1e-12)).all()
    assert np.isin(corners(profile, budget)[0], tokens).all()
    least = np.minimum.accumulate(time[::-1])[::-1]
    assert np.array_equal(least_from(profile, budget, tokens), least)


def test_no_pass_is_shorter_than_its_prices() -> None:
    rng = np.random.default_rng(3)
    for _ in range(60):
        requests, server, profile = small_instance(rng, 8)
        needs = measure(requests, profile, server)
        price = prices(needs, profile, rng.random(len(needs)), prefill_only=bool(rng.integers(2)))
        for _ in range(50):
            requests_in = int(rng.integers(1, needs.max_requests + 1))
            decodes = int(rng.integers(0, requests_in + 1))
            chunks = requests_in - decodes
            prefill = int(rng.integers(chunks, needs.max_tokens - decodes + 1)) if chunks else 0
            context, two_f = int(rng.integers(0, 50)) * decodes, prefill * prefill
            time = profile.iteration_ps(prefill, two_f, decodes, context)
            cost = price.request * requests_in + price.decode * decodes + price.prefill * prefill
            cost += price.block * needs.max_blocks + price.kv * context + price.square * two_f
            assert cost <= time * (1 + 1e-9)


@pytest.mark.skipif(not COMPILED, reason="millions of passes take minutes in plain Python")
def test_the_crowd_is_tight_where_nothing_but_the_rate_matters() -> None:
    """Requests of 200 tokens, evenly spaced, on passes of 1 ms + 0.1 ms a decode: some eighty share a pass."""
    num = 20_000
    requests = make_requests(
        arrival_s=0.0225 * np.arange(num), prompt_tokens=np.ones(num, np.int64), output_tokens=np.full(num, 200)
    )
    server, profile = ServerConfig(), load_profile("linear:base_ms=1,token_ms=0.1").to_integers(16)
    bounds = latency_bounds(requests, profile, server)
    found = check(bounds, run(requests, server, profile, Policy("fcfs")))
    assert found is not None
    assert found > 0.8
    assert bounds.e2e_s["crowding"] > 3 * bounds.e2e_s["alone"]


def test_hits_lower_the_bounds_and_rejected_requests_are_left_out() -> None:
    requests = make_requests(arrival_s=[0, 0, 1], prompt_tokens=[40, 40, 5000], output_tokens=[9, 9, 9])
    server, profile = ServerConfig(num_kv_blocks=100), load_profile("a100-llama-3-8b").to_integers(16)
    whole = latency_bounds(requests, profile, server)
    hit = latency_bounds(requests, profile, server, np.array([32, 32, 0]))
    assert (whole.num_requests, whole.num_never_fit) == (2, 1)
    assert hit.best_e2e_s <= whole.best_e2e_s
    assert hit.best_ttft_s < whole.best_ttft_s


def test_prefix_caching_is_not_bounded_as_if_it_were_not_there() -> None:
    requests = make_requests(arrival_s=[0], prompt_tokens=[5], output_tokens=[2])
    profile = load_profile("constant:iteration_ms=10").to_integers(16)
    with pytest.raises(InputError, match="give hit_tokens"):
        latency_bounds(requests, profile, ServerConfig(prefix_caching=True))
    hits = latency_bounds(requests, profile, ServerConfig(prefix_caching=True), np.zeros(1, np.int64))
    assert hits.best_e2e_s <= 0.02
