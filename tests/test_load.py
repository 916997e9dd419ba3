"""Load as rho: the fluid's capacity against closed forms and against the simulator."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from baselines.registry import make_policy
from llmqgym.cli.app import app
from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware import load_profile
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.load import Capacity, capacity
from llmqgym.load.check import Bench, check, largest_stable_rho
from llmqgym.load.lengths import measure
from llmqgym.run import simulate
from llmqgym.workload.arrivals import make_arrivals
from llmqgym.workload.workload import make_workload

simulated = pytest.mark.skipif(not COMPILED, reason="ten thousand requests take hours in plain Python")


@dataclass(frozen=True)
class Case:
    """Lengths `median exp(sigma N)` up to a maximum, a profile and a server; how far the fluid's state may be off."""

    binding: str
    profile: str
    prompt: tuple[float, float, int]
    output: tuple[float, float, int]
    server: dict[str, Any] = field(default_factory=dict)
    off: float = 0.04
    kv_off: float = 0.04

    def lengths(self, num: int = 10_000) -> list[np.ndarray]:
        """A tenth drawn, and ten times over, so that every part of a run has the same means."""
        rng = np.random.default_rng(3)
        drawn = [
            np.clip(np.rint(median * np.exp(sigma * rng.standard_normal(num // 10))), 1, most).astype(np.int64)
            for median, sigma, most in (self.prompt, self.output)
        ]
        return [np.tile(values, 10) for values in drawn]

    def capacity(self) -> Capacity:
        return fluid(*self.lengths(), self.profile, **self.server)

    def bench(self, policy: str = "vllm") -> Bench:
        return Bench(*self.lengths(), load_profile(self.profile), ServerConfig(**self.server), make_policy(policy), 5)


CHAT: Any = {"prompt": (600, 1.0, 8192), "output": (160, 0.8, 4096)}
LONG_PROMPTS: Any = {"prompt": (3000, 0.8, 16384), "output": (60, 0.7, 1024)}
A100, H100 = "a100-llama-3-8b", "h100-llama-3-8b"
TOKENS_OR_SLOTS = {
    "chat": Case("slots", A100, **CHAT),
    "chat-h100": Case("slots", H100, **CHAT),
    "chat-70b": Case("slots", "a100-llama-2-70b-tp4", **CHAT),
    "chat-16-slots": Case("slots", A100, **CHAT, server={"max_running": 16}),
    "chat-budget-512": Case("tokens", A100, **CHAT, server={"max_batched_tokens": 512}),
    "reasoning": Case("slots", H100, (400, 0.8, 8192), (2000, 0.5, 8192), {"max_running": 32}),
    "long-prompts": Case("tokens", A100, **LONG_PROMPTS, off=0.1, kv_off=0.15),
    "long-prompts-linear": Case("tokens", f"{A100}:kind=linear", **LONG_PROMPTS, off=0.1, kv_off=0.15),
    "threshold": Case(
        "tokens", A100, **LONG_PROMPTS, server={"long_prefill_token_threshold": 512}, off=0.08, kv_off=0.15
    ),
    "dai": Case("tokens", "staircase", (100, 0, 100), (101, 0, 101), {"max_batched_tokens": 512, "max_running": 999}),
    "constant": Case("slots", "constant:iteration_ms=20", **CHAT, server={"max_running": 40}),
}
KV = {
    "chat": Case("kv", A100, **CHAT, server={"num_kv_blocks": 3600}),
    "chat-h100": Case("kv", H100, **CHAT, server={"num_kv_blocks": 2000}),
    "linear": Case("kv", f"{A100}:kind=linear", **CHAT, server={"num_kv_blocks": 4000}),
}


def fluid(prompts: Any, outputs: Any, profile: str, **server: Any) -> Capacity:
    integers = load_profile(profile).to_integers(server.get("block_size", 16))
    return capacity(np.asarray(prompts), np.asarray(outputs), integers, ServerConfig(**server))


def steady(case: Case, rate_per_s: float) -> dict[str, Any]:
    """The summary of a run up to its last arrival, so that its time averages know no tail."""
    bench = case.bench()
    arrival_s = make_arrivals("poisson", [])(1.0, 5).take(len(bench.prompt_tokens))[0] / PS_PER_S
    arrival_s *= len(arrival_s) / arrival_s[-1] / rate_per_s
    workload = make_workload(
        "steady", {}, arrival_s=arrival_s, prompt_tokens=bench.prompt_tokens, output_tokens=bench.output_tokens
    )
    until_s = float(arrival_s[-1])
    return simulate(workload, policy=bench.policy, server=bench.server, profile=bench.profile, until_s=until_s).summary


def saturated_rate(case: Case) -> float:
    """Requests per second that leave when all wait from the beginning, between 30 and 70 % of them."""
    finish_s = np.sort(case.bench().run(1e6).departures["finish_ps"]) / 1e12
    first, last = int(0.3 * len(finish_s)), int(0.7 * len(finish_s))
    return float((last - first) / (finish_s[last] - finish_s[first]))


def passes_by_hand(prompt: int, output: int, chunk: int) -> list[int]:
    """KV tokens held in each pass of a request."""
    prefill = [min(done + chunk, prompt) for done in range(0, prompt, chunk)]
    return [*prefill, *range(prompt + 1, prompt + output)]


def test_sums_over_the_passes_of_a_request():
    rng = np.random.default_rng(0)
    prompts, outputs = rng.integers(1, 300, 200), rng.integers(1, 100, 200)
    lengths = measure(prompts, outputs, 16, 2**40)
    for chunk in (1, 7, 16, 50, 10_000):
        held = [passes_by_hand(p, o, chunk) for p, o in zip(prompts.tolist(), outputs.tolist(), strict=True)]
        blocks = np.mean([sum(math.ceil(tokens / 16) for tokens in one) for one in held])
        assert lengths.prefill_blocks(chunk) + lengths.mean_decode_blocks == pytest.approx(blocks)
        assert lengths.prefill_passes(chunk) + lengths.mean_decodes == pytest.approx(
            np.mean([len(one) for one in held])
        )
    before = [sum(range(p, p + o - 1)) for p, o in zip(prompts.tolist(), outputs.tolist(), strict=True)]
    assert lengths.mean_decode_kv == pytest.approx(np.mean(before))


def test_textbook_queue_serves_one_over_the_mean_job():
    outputs = np.random.default_rng(1).integers(1, 2000, 5000)
    found = fluid(np.ones(5000, np.int64), outputs, "constant:iteration_ms=10", max_running=1, max_batched_tokens=2**40)
    assert found.rate_per_s == pytest.approx(1 / (0.010 * outputs.mean()), rel=1e-12)
    assert (found.binding, found.use.slots) == ("slots", pytest.approx(1.0))
    assert found.rho_of(found.rate_at(0.8)) == pytest.approx(0.8)
    assert found.at(found.rate_at(0.8)).mean_num_requests_running == pytest.approx(0.8)


def test_staircase_meets_dai():
    """lambda* (m_p + m_d) = b / t_b: the papers' 100 decode tokens come with our 101st, which is never processed."""
    found = fluid([100], [101], "staircase", max_batched_tokens=512, max_running=1000)
    assert found.rate_per_s == pytest.approx(512 / 153.16 / 200 * 1000)
    assert found.rate_per_s == pytest.approx(16.715, abs=0.001)
    assert found.binding == "tokens"


def test_unit_rounds_meet_the_memory_bound():
    """M / E[sum of the blocks held over the passes], per iteration."""
    prompts, outputs = [10, 40, 7], [60, 5, 33]
    server = {"num_kv_blocks": 16_492, "block_size": 1, "max_running": 2**40, "max_batched_tokens": 2**40}
    found = fluid(prompts, outputs, "constant:iteration_ms=1", **server)
    held = np.mean([sum(passes_by_hand(p, o, 10**9)) for p, o in zip(prompts, outputs, strict=True)])
    assert found.rate_per_s == pytest.approx(1000 * 16_492 / held)
    assert (found.binding, found.use.kv) == ("kv", pytest.approx(1.0))


def test_time_binds_where_the_budget_lies_just_above_a_tread():
    """A pass of 400 tokens takes as long as one of 512: leaving it a little empty serves more than filling it."""
    found = fluid([100], [101], "staircase", max_batched_tokens=400, max_running=1000)
    assert found.binding == "compute"
    assert found.saturated_rate_per_s == pytest.approx(400 / 153.16 / 200 * 1000)
    assert found.rate_per_s > 1.02 * found.saturated_rate_per_s


def test_requests_that_never_fit_are_left_out_and_arrive_all_the_same():
    alone = fluid([100, 200], [50, 60], A100, num_kv_blocks=50)
    mixed = fluid([100, 5000, 200, 5000], [50, 10, 60, 10], A100, num_kv_blocks=50)
    assert (alone.num_never_fit, mixed.num_never_fit) == (0, 2)
    assert mixed.rate_per_s == pytest.approx(2 * alone.rate_per_s)


@pytest.mark.parametrize(
    ("prompts", "outputs", "server", "message"),
    [
        ([], [], {}, "at least one request"),
        ([5], [5, 6], {}, "shape"),
        ([5, 0], [5, 6], {}, "least of prompt_tokens is 0"),
        ([500], [5], {"num_kv_blocks": 2}, "raise num_kv_blocks"),
        ([500], [5], {"chunked_prefill": False, "max_batched_tokens": 300}, "raise max_batched_tokens"),
    ],
)
def test_what_has_no_capacity(prompts: list[int], outputs: list[int], server: Any, message: str):
    with pytest.raises(InputError, match=message):
        fluid(np.array(prompts, np.int64), np.array(outputs, np.int64), A100, **server)


def test_loads_out_of_bounds():
    found = fluid([100], [101], "staircase", max_batched_tokens=512)
    for rho in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="rho is"):
            found.rate_at(rho)
    with pytest.raises(InputError, match="lower the rate"):
        found.at(found.rate_at(1.01))


@simulated
@pytest.mark.parametrize("name", TOKENS_OR_SLOTS)
def test_tokens_and_slots_bind_where_the_simulator_says(name: str):
    """Stable at 0.95, growing at 1.05; a saturated server serves lambda* within 1 %."""
    case = TOKENS_OR_SLOTS[name]
    found = case.capacity()
    assert found.binding == case.binding
    assert getattr(found.use, case.binding) == pytest.approx(1.0)
    checked = check(found, case.bench())
    assert (checked.below, checked.above, checked.largest_stable_rho) == ("stable", "growing", None)
    assert saturated_rate(case) == pytest.approx(found.rate_per_s, rel=0.01)


@simulated
@pytest.mark.parametrize("rho", [0.5, 0.8])
@pytest.mark.parametrize("name", TOKENS_OR_SLOTS)
def test_state_below_the_capacity(name: str, rho: float):
    """The mean batch, the time of a pass and the KV use are the simulator's time averages."""
    case = TOKENS_OR_SLOTS[name]
    found = case.capacity()
    state, summary = found.at(found.rate_at(rho)), steady(case, found.rate_at(rho))
    assert state.mean_num_requests_running == pytest.approx(summary["mean_num_requests_running"], rel=case.off)
    assert state.kv_cache_usage_perc == pytest.approx(summary["kv_cache_usage_perc"], rel=case.kv_off)
    if summary["mean_num_requests_running"] > 10:  # or it stands idle now and then, and the simulator's mean has that
        mean_s = summary["sim_time_s"] / summary["num_iterations"]
        assert state.iteration_s == pytest.approx(mean_s, rel=case.off)


@simulated
@pytest.mark.parametrize("name", KV)
def test_kv_binds_and_vllm_stays_below(name: str):
    case = KV[name]
    found = case.capacity()
    assert found.binding == "kv"
    assert found.use.kv == pytest.approx(1.0)
    checked = check(found, case.bench())
    assert checked.above == "growing"
    assert checked.largest_stable_rho is not None
    assert 0.9 <= checked.largest_stable_rho < 1
    half = found.rate_at(0.5)
    state, summary = found.at(half), steady(case, half)
    assert state.mean_num_requests_running == pytest.approx(summary["mean_num_requests_running"], rel=case.off)
    assert state.kv_cache_usage_perc == pytest.approx(summary["kv_cache_usage_perc"], rel=case.kv_off)


@simulated
def test_blocks_alone_cost_nothing_in_constant_time():
    """Where a pass takes the same time whatever is in it, recomputing is nearly free, and vLLM reaches the bound."""
    case = Case("kv", "constant:iteration_ms=20", **CHAT, server={"num_kv_blocks": 4000})
    assert saturated_rate(case) == pytest.approx(case.capacity().rate_per_s, rel=0.03)


@simulated
def test_a_policy_that_wastes_slots_has_a_largest_stable_load():
    case = TOKENS_OR_SLOTS["chat-16-slots"]
    rho = largest_stable_rho(case.capacity(), case.bench("static"))
    assert 0.2 < rho < 0.8


@simulated
def test_few_requests_have_no_verdict():
    bench = Bench(np.ones(5, np.int64), np.ones(5, np.int64), load_profile(A100), ServerConfig(), make_policy("vllm"))
    with pytest.raises(InputError, match="at least 1000"):
        bench.verdict(1.0)


@simulated
def test_the_command_prints_and_writes(tmp_path: Any):
    out = tmp_path / "load.json"
    args = ["load", "--scenario", "kv-bound", "--check", "--requests", "5000", "--json", str(out)]
    result = CliRunner().invoke(app, args)
    assert result.exit_code == 0, result.output
    for word in ("capacity", "kv: all blocks are held", "largest stable load", "load 1.05: growing"):
        assert word in result.stdout
    document = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert document["capacity"]["binding"] == "kv"
    assert document["workload_rho"] == pytest.approx(
        document["workload_rate_per_s"] / document["capacity"]["rate_per_s"]
    )
    assert [state["rho"] for state in document["states"]] == [0.5, 0.8]
    assert document["check"]["above"] == "growing"


def test_the_command_without_a_check_and_for_stdout():
    document = json.loads(CliRunner().invoke(app, ["load", "--scenario", "textbook-queue", "--json", "-"]).stdout)
    assert document["check"] is None
    assert document["capacity"]["binding"] == "slots"
    assert document["workload_rho"] == pytest.approx(0.8, abs=0.02)
