"""Bounds for the simulated server: no schedule that a search finds on small instances is below them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cases
import numpy as np
import pytest
from adversary import SPECS, Instance, check, crowd, few, run, search
from hypothesis import given, settings

from baselines.registry import POLICIES, make_policy
from llmqgym.bounds.minorant import corners, least_from, lines, without_attention_ps
from llmqgym.bounds.needs import measure
from llmqgym.bounds.pooled import prices
from llmqgym.bounds.server import latency_bounds
from llmqgym.config import ServerConfig
from llmqgym.hardware import load_profile
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.policy import Policy
from llmqgym.scenario import load_scenario, with_traffic
from llmqgym.shipped import shipped_names
from llmqgym.simulator import Simulator
from llmqgym.traffic import build_workload
from llmqgym.workload.predictors import apply_predictor
from llmqgym.workload.workload import as_table, make_requests


def attack(seed: int, num_instances: int, tries: int, least: int, most: int, make: Any) -> list[dict[str, float]]:
    """The largest bound / mean that searches against so many instances of least .. most requests come to."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(num_instances):
        instance = make(rng, int(rng.integers(least, most + 1)))
        bounds = latency_bounds(instance.requests, instance.profile, instance.server)
        found.append(search(rng, instance, bounds, tries))
    return found


def test_no_schedule_found_is_below_a_bound() -> None:
    found = attack(1, 150 if COMPILED else 5, 12, 1, 8, few)
    assert np.mean([ratios.get("shortest_first", 0) for ratios in found]) > 0.5
    attack(2, 30 if COMPILED else 1, 12 if COMPILED else 2, 20, 60, crowd)


@pytest.mark.slow
def test_no_schedule_found_is_below_a_bound_on_thousands() -> None:
    attack(3, 4000, 40, 1, 8, few)


@pytest.mark.slow
def test_no_schedule_found_of_a_crowd_is_below_a_bound() -> None:
    found = attack(4, 1000, 60, 20, 60, crowd)
    assert max(ratios.get("crowding", 0) for ratios in found) > 0.9


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
        instance = few(rng, 8)
        requests, server, profile = instance.requests, instance.server, instance.profile
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
    found = check(bounds, run(Instance(requests, server, profile), requests, Policy("fcfs")))
    assert found is not None
    assert found["crowding"] > 0.8
    assert bounds.e2e_s["crowding"] > 3 * bounds.e2e_s["alone"]


def test_rejected_requests_are_left_out() -> None:
    requests = make_requests(arrival_s=[0, 0, 1], prompt_tokens=[40, 40, 5000], output_tokens=[9, 9, 9])
    server, profile = ServerConfig(num_kv_blocks=100), load_profile("a100-llama-3-8b").to_integers(16)
    bounds = latency_bounds(requests, profile, server)
    assert (bounds.num_requests, bounds.num_never_fit) == (2, 1)
