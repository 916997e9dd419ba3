"""The shipped scenarios, run: each to its end, and each with the property that it is named for."""

from __future__ import annotations

import dataclasses
import math
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.stats import kendalltau

from baselines.registry import make_policy
from llmqgym import scenario as sc
from llmqgym.config import ServerConfig
from llmqgym.kernel.jit import COMPILED
from llmqgym.load import Capacity
from llmqgym.run import RunResult, simulate
from llmqgym.shipped import shipped_folder
from llmqgym.traffic import build_workload, capacity_of, lengths_of
from llmqgym.workload.compare import burstiness
from llmqgym.workload.model import TrafficModel

NAMES = sc.shipped_names()
NOISY = {sigma: f"noisy-{sigma:g}" for sigma in (0.0, 0.5, 1.0, 2.0)}
#: Resources that bind, by scenario.
BINDING = {
    "bursty": "slots", "chat": "slots", "chat-azure": "slots", "code": "tokens", "kv-bound": "kv", "long-context": "kv",
    "multi-tenant": "slots", "one-bit": "slots", "reasoning": "kv", "slo": "slots", "textbook-queue": "slots",
    **dict.fromkeys(NOISY.values(), "slots"),
}  # fmt: skip
simulated = pytest.mark.skipif(not COMPILED, reason="tens of thousands of requests take hours in plain Python")


@cache
def capacity_for(model: TrafficModel, profile: str, server: ServerConfig) -> Capacity:
    scenario = sc.ScenarioConfig("", sc.GeneratedTraffic(model, rho=1.0), server, profile=profile)
    return capacity_of(scenario, lengths_of(scenario))


def fluid(name: str) -> Capacity:
    scenario = sc.load_scenario(name)
    return capacity_for(scenario.workload.model, scenario.profile, scenario.server)


def at_rate(name: str) -> sc.ScenarioConfig:
    """A shipped scenario with its load made into a rate, as `at_load` does."""
    scenario = sc.load_scenario(name)
    if scenario.workload.rho is None:
        return scenario
    return sc.with_traffic(scenario, None, rate_per_s=fluid(name).rate_at(scenario.workload.rho))


def run_of(scenario: sc.ScenarioConfig) -> RunResult:
    return simulate(
        build_workload(scenario),
        policy=make_policy(scenario.policy),
        server=scenario.server,
        profile=scenario.profile,
        predictor=scenario.predictor,
        seed=scenario.seed,
    )


@cache
def run(name: str, policy: str | None = None) -> RunResult:
    """A shipped scenario as it is, or under another policy."""
    scenario = at_rate(name)
    return run_of(scenario if policy is None else dataclasses.replace(scenario, policy=policy))


def wait_s(name: str, policy: str | None = None) -> float:
    return float(run(name, policy).summary["queue_s"]["mean"])


# All of them


@pytest.mark.parametrize("name", NAMES)
def test_the_file_begins_with_what_it_is(name: str) -> None:
    first, second = (shipped_folder() / f"{name}.toml").read_text().splitlines()[:2]
    assert first.startswith("# ")
    assert first.endswith(".")
    assert second.startswith("summary = ")


@pytest.mark.parametrize("name", NAMES)
def test_a_few_requests_run_to_the_end(name: str) -> None:
    few = run_of(sc.with_traffic(at_rate(name), None, num_requests=30)).summary
    assert (few["outcome"], few["num_finished"], few["little_residual"]) == ("finished", 30, 0)


@pytest.mark.parametrize("name", NAMES)
def test_what_binds(name: str) -> None:
    assert fluid(name).binding == BINDING[name]


@simulated
@pytest.mark.parametrize("name", NAMES)
def test_the_run_is_stable_at_the_load_that_the_file_names(name: str) -> None:
    scenario, summary = at_rate(name), run(name).summary
    assert summary["num_finished"] == scenario.workload.num_requests
    assert summary["stability"] == "stable"
    assert summary["little_residual"] == 0
    # The rate of the clients and of the bursts wanders from seed to seed.
    off = 0.1 if scenario.workload.model.arrivals == "poisson" else 0.15
    assert summary["requests_per_s"] == pytest.approx(scenario.workload.rate_per_s, rel=off)


# Each by itself


@simulated
def test_chat_is_busy_and_neither_waits_long_nor_preempts() -> None:
    summary = run("chat").summary
    assert summary["num_preemptions"] == 0
    assert summary["queue_s"]["mean"] < 0.1 * summary["e2e_s"]["mean"]


@simulated
def test_chat_azure_comes_at_its_own_rate_and_in_waves() -> None:
    assert fluid("chat-azure").rho_of(5.53) == pytest.approx(0.73, abs=0.01)
    arrivals = {name: burstiness(arrival_ps(name)) for name in ("chat", "chat-azure")}
    assert arrivals["chat"]["dispersion_60s"] < 1.5 < 3 < arrivals["chat-azure"]["dispersion_60s"]


@simulated
def test_code_has_long_prompts_and_short_answers() -> None:
    rows = run("code").departures
    assert rows["prompt_tokens"].mean() > 2000
    assert np.median(rows["output_tokens"]) == pytest.approx(8, abs=1)


@simulated
def test_long_context_is_long_and_holds_up_what_comes_behind() -> None:
    rows, summary = run("long-context").departures, run("long-context").summary
    assert rows["prompt_tokens"].mean() > 10_000
    assert rows["prompt_tokens"].max() > 100_000
    assert summary["queue_s"]["p99"] > 5 * summary["queue_s"]["mean"]


@simulated
def test_reasoning_writes_thousands_of_tokens_and_half_of_them_for_one_client() -> None:
    rows = run("reasoning").departures
    assert rows["output_tokens"].mean() > 2000
    assert (rows["tenant"] == 0).mean() == pytest.approx(0.5, abs=0.1)


@simulated
def test_bursty_waits_longer_than_chat_at_a_lower_load() -> None:
    assert burstiness(arrival_ps("bursty"))["dispersion_10s"] > 10
    assert burstiness(arrival_ps("chat"))["dispersion_10s"] == pytest.approx(1, abs=0.2)
    assert sc.load_scenario("bursty").workload.rho < sc.load_scenario("chat").workload.rho
    assert wait_s("bursty") > 10 * wait_s("chat")


@simulated
def test_kv_bound_preempts_and_computes_again() -> None:
    summary = run("kv-bound").summary
    assert summary["num_preemptions"] > 100
    assert summary["num_preemptions_by_mode"]["recompute"] == summary["num_preemptions"]
    assert summary["wasted_token_ratio"] > 0.01
    assert summary["kv_cache_usage_perc"] > 0.5


def test_noisy_scenarios_differ_in_their_predictor_alone() -> None:
    known = {"name": "", "summary": "", "predictor": None}
    assert len({dataclasses.replace(sc.load_scenario(name), **known) for name in NOISY.values()}) == 1
    for sigma, name in NOISY.items():
        assert sc.load_scenario(name).predictor == f"lognormal:sigma={sigma:g}"


@simulated
def test_noise_costs_order_and_order_is_worth_waiting_less() -> None:
    taus = [tau(run(name).departures) for name in NOISY.values()]
    assert taus[0] == pytest.approx(1)
    assert all(later < sooner - 0.1 for sooner, later in pairwise(taus))
    # Normal scores: the logarithms of length and prediction have the correlation 0.8 / sqrt(0.8^2 + sigma^2).
    for sigma, found in zip(NOISY, taus, strict=True):
        expected = 2 / math.pi * math.asin(0.8 / math.hypot(0.8, sigma))
        assert found == pytest.approx(expected, abs=0.02)
    waits = [wait_s(name) for name in NOISY.values()]
    assert waits == sorted(waits)
    assert waits[-1] < wait_s("noisy-2", "vllm")


@simulated
def test_one_bit_is_worth_less_than_a_length_and_more_than_nothing() -> None:
    rows = run("one-bit").departures
    assert set(rows["predicted_output_tokens"]) == {0, 400}
    wrong = (rows["predicted_output_tokens"] == 400) != (rows["output_tokens"] >= 400)
    assert wrong.mean() == pytest.approx(0.1, abs=0.01)
    assert wait_s("noisy-0") < wait_s("one-bit") < 0.8 * wait_s("one-bit", "vllm")


@simulated
def test_tenants_wait_by_priority_and_the_index_says_so() -> None:
    rows = run("multi-tenant").departures
    waits = [queue_ps(rows[rows["tenant"] == tenant]) for tenant in range(3)]
    assert waits == sorted(waits)
    assert waits[2] > 5 * waits[1]
    assert run("multi-tenant").summary["jain_index"] < 0.95 < 0.999 < run("multi-tenant", "vllm").summary["jain_index"]


@simulated
def test_the_limits_of_slo_are_met_by_most_and_not_by_all() -> None:
    summary = run("slo").summary
    assert 0.5 < summary["goodput_requests_per_s"] / summary["requests_per_s"] < 0.95
    assert summary["ttft_s"]["max"] > 1.0 > summary["ttft_s"]["p90"]
    assert summary["tpot_s"]["p99"] > 0.1 > summary["tpot_s"]["p50"]
    apart = {"goodput_requests_per_s", "num_met_limits"}
    chat = run("chat").summary
    assert {name for name in summary if summary[name] != chat[name]} == apart


@simulated
def test_the_textbook_queue_waits_as_pollaczek_and_khinchine_say() -> None:
    summary = run_of(sc.with_traffic(sc.load_scenario("textbook-queue"), None, num_requests=1_000_000)).summary
    mean_s = 0.01 * 50 * math.exp(0.5**2 / 2)
    expected_s = 0.8 / 0.2 * math.exp(0.5**2) / 2 * mean_s
    assert summary["queue_s"]["mean"] == pytest.approx(expected_s, rel=0.03)


def arrival_ps(name: str) -> np.ndarray:
    return np.sort(run(name).departures["arrival_ps"])


def queue_ps(rows: Any) -> float:
    return float((rows["first_scheduled_ps"] - rows["arrival_ps"]).mean())


def tau(rows: Any) -> float:
    return float(kendalltau(rows["output_tokens"], rows["predicted_output_tokens"]).statistic)
