"""Metrics: figures that can be checked by hand, laws, and the files that hold them."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.files import json_text
from llmqgym.hardware import load_profile
from llmqgym.kernel import tables
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.metrics.alone import AloneTimes
from llmqgym.metrics.fairness import Fairness, _Service
from llmqgym.metrics.latencies import met_limits_mask
from llmqgym.metrics.per_request import write_per_request
from llmqgym.run import simulate
from llmqgym.workload.generate import poisson_lognormal
from llmqgym.workload.workload import make_workload


def run(policy="vllm", profile="constant:iteration_ms=1000", server=None, **settings):
    fields = ("arrival_s", "prompt_tokens", "output_tokens", "ttft_limit_ps", "tpot_limit_ps", "e2e_limit_ps")
    workload = make_workload("hand", {}, **{name: settings.pop(name) for name in fields if name in settings})
    return simulate(workload, policy=make_policy(policy), profile=profile, server=server or ServerConfig(), **settings)


def two_requests(**settings):
    """One slot, one second an iteration: the second request (one token) waits for the first (three tokens)."""
    server = ServerConfig(max_running=1, num_kv_blocks=10)
    lengths = {"prompt_tokens": [16, 16], "output_tokens": [3, 1]}
    return run(arrival_s=[0.0, 1.0], server=server, **lengths, **settings)


def test_by_hand():
    summary = two_requests().summary
    assert summary["outcome"] == "finished"
    assert not summary["censored"]
    assert (summary["num_requests"], summary["num_finished"]) == (2, 2)
    assert (summary["sim_time_s"], summary["num_iterations"]) == (4.0, 4)
    assert (summary["ttft_s"]["mean"], summary["ttft_s"]["max"]) == (2.0, 3.0)
    assert (summary["queue_s"]["p50"], summary["e2e_s"]["max"]) == (1.0, 3.0)
    assert (summary["tpot_s"]["mean"], summary["num_without_tpot"]) == (1.0, 1)
    assert (summary["requests_per_s"], summary["output_tokens_per_s"]) == (0.5, 1.0)
    assert (summary["mean_num_requests_running"], summary["mean_num_requests_waiting"]) == (1.0, 0.5)
    assert summary["kv_cache_usage_perc"] == (1 + 2 + 2 + 1) / (4 * 10)
    assert summary["little_residual"] == 0.0
    assert (summary["slowdown"]["mean"], summary["slowdown"]["max"]) == (2.0, 3.0)


def test_goodput_counts_every_stated_limit():
    s = PS_PER_S
    lengths = {"arrival_s": [0.0] * 4, "prompt_tokens": [1] * 4, "output_tokens": [1, 3, 3, 3]}
    result = run(
        **lengths, ttft_limit_ps=[-1, s, s - 1, -1], tpot_limit_ps=[0, s, -1, s - 1], e2e_limit_ps=[-1, 3 * s, -1, -1]
    )
    assert met_limits_mask(result.departures[np.argsort(result.departures["id"])]).tolist() == [
        True,
        True,
        False,
        False,
    ]
    assert result.summary["num_met_limits"] == 2
    assert result.summary["goodput_requests_per_s"] == 2 / 3


def test_unfinished_are_counted_and_enter_little_with_their_age():
    result = two_requests(until_s=1.5)
    summary = result.summary
    assert (summary["outcome"], summary["censored"], summary["num_unfinished"]) == ("horizon", True, 2)
    assert summary["little_residual"] == 0.0
    assert summary["ttft_s"]["mean"] is None
    assert two_requests(until_s=0.5).summary["num_not_arrived"] == 0  # it joined as the iteration ended
    assert run(arrival_s=[0, 9], prompt_tokens=[1, 1], output_tokens=[9, 1], until_s=2).summary["num_not_arrived"] == 1


def test_rejected_are_counted_apart():
    summary = run(
        arrival_s=[0, 0], prompt_tokens=[100, 1], output_tokens=[1, 1], server=ServerConfig(num_kv_blocks=2)
    ).summary
    assert (summary["num_rejected"], summary["num_finished"], summary["censored"]) == (1, 1, False)
    only = run(arrival_s=[0], prompt_tokens=[100], output_tokens=[1], server=ServerConfig(num_kv_blocks=2)).summary
    assert (only["requests_per_s"], only["kv_cache_usage_perc"], only["little_residual"]) == (None, None, None)
    json.loads(json_text(only), parse_constant=pytest.fail)


def test_under_pressure_the_figures_agree():
    workload = poisson_lognormal(60, 20.0, 1, prompt_median=100, output_median=40)
    server = ServerConfig(num_kv_blocks=150, max_batched_tokens=256)
    result = simulate(workload, policy=make_policy("vllm"), server=server)
    summary, rows = result.summary, result.departures
    assert summary["num_preemptions"] == rows["num_preemptions"].sum() > 0
    assert summary["num_preemptions_by_mode"]["recompute"] == summary["num_preemptions"]
    assert summary["lost_tokens"] == rows["lost_tokens"].sum()
    assert summary["wasted_token_ratio"] == summary["lost_tokens"] / summary["processed_tokens"]
    assert 0 < summary["kv_cache_usage_perc"] <= 1
    assert summary["little_residual"] == 0.0


def test_a_request_alone_has_slowdown_one():
    for profile in ("a100-llama-3-8b", "linear:base_ms=1,token_ms=0.1,kv_ms=0.001,square_ms=0.0001", "staircase"):
        for prompt, output in ((1, 1), (300, 40), (2048, 2), (5000, 7)):
            server = ServerConfig(long_prefill_token_threshold=64)
            summary = run(
                profile=profile, server=server, arrival_s=[2.0], prompt_tokens=[prompt], output_tokens=[output]
            ).summary
            assert summary["slowdown"]["mean"] == pytest.approx(1.0, rel=1e-9)


def test_alone_takes_no_less_time_for_more_output():
    integers = load_profile("a100-llama-3-8b").to_integers(16)
    outputs = np.arange(1, 50)
    times = AloneTimes(integers, 512).seconds(np.full(49, 700), outputs)
    assert (np.diff(times) > 0).all()


def test_alone_times_do_not_depend_on_what_was_asked_before():
    integers = load_profile("a100-llama-3-8b").to_integers(16)
    asked, prompts = AloneTimes(integers, 512), np.array([700, 3, 2_000_000, 700, 512, 1024, 3])
    one_by_one = [AloneTimes(integers, 512).seconds(prompts[i : i + 1], np.array([9]))[0] for i in range(7)]
    asked.seconds(prompts[3:], np.full(4, 9))
    assert asked.seconds(prompts, np.full(7, 9)).tolist() == one_by_one


def test_extrapolation_is_flagged():
    profile = "constant:iteration_ms=1,max_context_tokens=20"
    assert (
        run(profile=profile, arrival_s=[0, 0], prompt_tokens=[10, 16], output_tokens=[10, 5]).summary[
            "num_extrapolated"
        ]
        == 1
    )


def read(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_the_per_request_table_leaves_unknown_times_empty(tmp_path):
    result = two_requests(until_s=1.5)
    write_per_request(tmp_path / "r.csv", result.departures)
    rows = read(tmp_path / "r.csv")
    assert [row["id"] for row in rows] == ["0", "1"]
    assert (rows[0]["status"], rows[0]["ttft_s"], rows[0]["finish_s"], rows[0]["tpot_s"]) == (
        "unfinished",
        "1.0",
        "",
        "",
    )
    assert (rows[1]["first_scheduled_s"], rows[1]["queue_s"], rows[1]["predicted_output_tokens"]) == ("", "", "")
    write_per_request(tmp_path / "done.csv", two_requests().departures)
    rows = read(tmp_path / "done.csv")
    assert [float(row["e2e_s"]) for row in rows] == [3.0, 3.0]
    assert [row["tpot_s"] for row in rows] == ["1.0", ""]


def test_the_log_counts_iterations_or_seconds():
    lengths = {"arrival_s": [0, 7], "prompt_tokens": [4, 4], "output_tokens": [2, 1]}
    steps = list(run(profile="iterations", log=True, **lengths).log_lines())
    assert [line.get("i") for line in steps[1:-1]] == [0, 1, 7]
    assert steps[-1]["finish_iter"] == [1, 7]
    steps = list(run(profile="constant:iteration_ms=500", log=True, **lengths).log_lines())
    assert [(line["i"], line.get("t")) for line in steps[1:-1]] == [(0, None), (1, 0.5), (2, 7)]
    assert "step_base" not in steps[0]["params"]


def test_the_log_has_none_for_what_never_came():
    footer = list(run(arrival_s=[0], prompt_tokens=[4], output_tokens=[9], until_s=1.5, log=True).log_lines())[-1]
    assert footer["finish_iter"] == [None]
    assert footer["first_token_iter"] == [0]


def test_json_is_strict():
    assert json.loads(json_text({"a": math.nan, "b": (1, np.int64(2)), "c": {"d": math.inf}})) == {
        "a": None,
        "b": [1, 2],
        "c": {"d": None},
    }


@pytest.mark.skipif(not COMPILED, reason="six thousand requests take minutes in plain Python")
@pytest.mark.parametrize(("rate_per_s", "verdict"), [(7.0, "stable"), (10.5, "growing")])
def test_stability(rate_per_s, verdict):
    """The chat traffic is served at 8.5 requests a second at most."""
    result = simulate(poisson_lognormal(6000, rate_per_s, seed=3), policy=make_policy("vllm"))
    assert result.summary["stability"] == verdict


def test_a_short_run_has_no_verdict():
    assert two_requests().summary["stability"] == "undecided"


def departures_of_two_tenants():
    """Tenant 0 is served at a cost of 300 a second for 120 s, tenant 1 of 100; both asked at the start."""
    rows = np.zeros(2, tables.DEPARTURE)
    rows["status"] = tables.Status.FINISHED
    rows["finish_ps"] = 120 * PS_PER_S
    rows["tenant"] = [0, 1]
    rows["output_tokens"] = rows["generated_tokens"] = [18_000, 6_000]
    return rows


def test_service_gap_by_hand():
    """In the windows after 30 s nobody asks: min(300 - 100, |0 - 100|) for tenant 1, min(0, 300) for tenant 0."""
    rows, fairness = departures_of_two_tenants(), Fairness()
    fairness.add(rows, rows["finish_ps"])
    figures = fairness.figures(120 * PS_PER_S)
    assert figures["vtc_service_gap_per_s"]["max"] == pytest.approx(100.0)
    speeds = np.array([18_000, 6_000]) / 120
    assert figures["jain_index"] == pytest.approx(speeds.sum() ** 2 / (2 * (speeds**2).sum()))


def test_service_is_conserved():
    rng = np.random.default_rng(0)
    rows = np.zeros(50, tables.DEPARTURE)
    rows["first_token_ps"] = rng.integers(0, 500 * PS_PER_S, 50)
    rows["finish_ps"] = rows["first_token_ps"] + rng.integers(0, 400 * PS_PER_S, 50)
    rows["prompt_tokens"], rows["generated_tokens"] = rng.integers(1, 999, 50), rng.integers(1, 999, 50)
    who = rng.integers(0, 3, 50)
    service = _Service()
    service.add(rows, who, 3, rows["finish_ps"])
    cost = rows["prompt_tokens"] + 2 * rows["generated_tokens"]
    assert service._served.sum(axis=1)[:3] == pytest.approx(np.bincount(who, cost, 3))


def test_one_tenant_has_nobody_to_be_compared_with():
    assert two_requests().summary["jain_index"] is None
