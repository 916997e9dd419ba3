"""The environment as Gymnasium's users expect it, and what its rewards add up to."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import llmqgym
from llmqgym.env import LLMServerEnv
from llmqgym.env.page import page
from llmqgym.errors import InputError
from llmqgym.kernel.integrals import whole
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.reward import TERM_NAMES
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.registration import ENVIRONMENTS, register_envs
from llmqgym.scenario import load_scenario

NUM = 200 if COMPILED else 12
SETTINGS: list[dict[str, Any]] = [
    {},
    {"observation": "flat"},
    {"action": "priority", "miss": "skip"},
    {"shortage": "agent", "server": {"num_kv_blocks": 600}},
    {"preempt_mode": "hold", "server": {"num_kv_blocks": 600}},
    {"preempt_mode": "swap", "server": {"num_kv_blocks": 600}, "decision_interval": 1},
    {"preempt_mode": ["swap", "recompute", "hold"], "server": {"num_kv_blocks": 600, "host_kv_blocks": 80}},
    {"window": 1, "oldest": 0, "running": 0},
    {"predictor": "refreshing", "server": {"max_running": 8}},
    {"randomise": {"rho": (0.5, 1.1), "sigma": (0.0, 2.0), "num_kv_blocks": [800, 2000]}},
]


def make(**settings: Any) -> LLMServerEnv:
    return LLMServerEnv(num_requests=NUM, **settings)


def play(env: LLMServerEnv, seed: int, admit: float = 0.9, preempt: float = 0.02) -> tuple[float, list[dict[str, Any]]]:
    """An episode of allowed random commands, mostly admissions; the return, and the infos."""
    rng = np.random.default_rng(seed)
    _, info = env.reset(seed=seed)
    total, infos, over = 0.0, [], False
    while not over:
        action: Any = rng.uniform(-0.2, 1, env.config.num_actions - 1).astype(np.float32)
        if env.config.action == "command":
            allowed = np.flatnonzero(info["action_mask"])
            wanted = allowed[(allowed >= 1) & (allowed <= env.config.window)]
            victims = allowed[allowed > env.config.window]
            action = 0
            if len(wanted) and rng.random() < admit:
                action = rng.choice(wanted)
            elif len(victims) and (rng.random() < preempt or not info["action_mask"][0]):
                action = rng.choice(victims)
        _, reward, terminated, truncated, info = env.step(action)
        total, over = total + reward, terminated or truncated
        infos.append(info)
    return total, infos


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_gymnasium_accepts_every_id(name: str) -> None:
    env = gym.make(f"llmqgym/{name}", num_requests=NUM)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped, skip_render_check=True)
    assert env.reset(seed=1)[0]["action_mask"][0] == 1


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_gymnasium_accepts_every_kind_of_it(settings: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(**settings), skip_render_check=True)


@pytest.mark.parametrize("order", ["import llmqgym, gymnasium", "import gymnasium, llmqgym", "import gymnasium"])
def test_it_is_there_in_whatever_order_the_two_are_imported(order: str) -> None:
    name = "llmqgym/LLMServer-v0" if "llmqgym" in order else "llmqgym:llmqgym/LLMServer-v0"
    watching = "any(type(each).__name__ == '_Watch' for each in sys.meta_path)"
    code = f"import sys; {order}; gymnasium.make({name!r}, num_requests=2); assert not {watching}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_is_found_by_its_module_and_registered_once() -> None:
    env = gym.make("llmqgym:llmqgym/LLMServer-v0", num_requests=2)
    assert isinstance(env.unwrapped, LLMServerEnv)
    before = dict(gym.registry)
    register_envs()
    assert dict(gym.registry) == before
    assert llmqgym.__version__


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_returns_are_times_in_system(settings: dict[str, Any]) -> None:
    env = make(**settings)
    total, infos = play(env, 3)
    rows, metrics = env.simulator.departed(), infos[-1]["metrics"]
    assert metrics["num_finished"] == NUM - metrics["num_rejected"]
    done = rows[rows["finish_ps"] >= 0]
    in_system = int((done["finish_ps"] - done["arrival_ps"]).sum())
    assert whole(env.simulator.record.integral_requests) == in_system
    assert total == pytest.approx(-in_system / PS_PER_S, rel=1e-9)
    terms = {name: sum(info["terms"][name] for info in infos) for name in TERM_NAMES}
    assert terms["latency"] == pytest.approx(total, rel=1e-12)
    assert terms["finished"] == len(done)
    assert terms["preemptions"] == -metrics["num_preemptions"]
    assert terms["lost_tokens"] == -env.simulator.totals().lost_tokens
    assert sum(info["dt_s"] for info in infos) <= metrics["duration_s"] * (1 + 1e-12)
    ttft = int((done["first_token_ps"] - done["arrival_ps"]).sum())
    assert terms["ttft"] == pytest.approx(-ttft / PS_PER_S, rel=1e-9)
    assert metrics["mean_e2e_s"] * len(done) == pytest.approx(in_system / PS_PER_S, rel=1e-12)


def test_missed_limits_are_counted() -> None:
    env = make(scenario="slo", reward={"slo_misses": 2.0})
    total, _ = play(env, 0, admit=0.3)
    rows = env.simulator.departed()
    missed = np.zeros(len(rows), bool)
    for name, spent in (
        ("ttft", rows["first_token_ps"] - rows["arrival_ps"]),
        ("e2e", rows["finish_ps"] - rows["arrival_ps"]),
        ("tpot", (rows["finish_ps"] - rows["first_token_ps"]) / np.maximum(rows["output_tokens"] - 1, 1)),
    ):
        limit = rows[f"{name}_limit_ps"]
        missed |= (limit >= 0) & (spent > limit)
    assert 0 < missed.sum() < len(rows) or not COMPILED
    assert total == -2.0 * missed.sum()


def test_flat_and_dict_observations_are_the_same_numbers() -> None:
    flat, named = make(observation="flat"), make()
    (a, _), (b, _) = flat.reset(seed=5), named.reset(seed=5)
    for step in range(60):
        assert np.array_equal(a, np.concatenate([b["server"], b["waiting"].ravel(), b["running"].ravel()]))
        assert named.observation_space.contains(b)
        action = int(named.action_masks()[1] and step % 3 > 0)
        a, *_ = flat.step(action)
        b, *_, info = named.step(action)
        assert np.array_equal(info["action_mask"], b["action_mask"])
        assert np.array_equal(info["action_mask"], named.action_masks())


def test_invalid_actions_do_nothing() -> None:
    env = make()
    before, info = env.reset(seed=2)
    for action in (int(np.flatnonzero(info["action_mask"] == 0)[0]), -1, -2, 10_000):
        after, reward, terminated, truncated, info = env.step(action)
        assert info["invalid_action"]
        assert (reward, terminated, truncated, info["dt_s"]) == (0.0, False, False, 0.0)
        assert info["terms"]["invalid"] == -1.0
        assert all(np.array_equal(before[key], after[key]) for key in before)


def test_limits_truncate_and_account_for_who_is_left() -> None:
    env = make(until_s=3.0)
    total, infos = play(env, 1)
    metrics = infos[-1]["metrics"]
    assert metrics["outcome"] == "horizon"
    assert metrics["num_finished"] + metrics["num_unfinished"] + metrics["num_not_arrived"] == NUM
    assert total == pytest.approx(-metrics["time_in_system_s"], rel=1e-9)
    env = make(max_decisions=7)
    _, infos = play(env, 1)
    assert len(infos) == 7
    assert "metrics" in infos[-1]


def test_waiting_on_purpose_takes_an_idle_step() -> None:
    """One request, one decision to wait: the clock moves on, and it can still be admitted."""
    env = LLMServerEnv(num_requests=1, server={"idle_step_s": 0.25})
    env.reset(seed=0)
    _, reward, _, _, info = env.step(0)
    assert (info["dt_s"], reward) == (0.25, -0.25)
    assert info["action_mask"][1] == 1
    env.step(1)
    over = False
    while not over:
        _, _, over, _, info = env.step(0)
    assert info["metrics"]["num_finished"] == 1


def test_nobody_who_can_never_enter_keeps_an_episode_alive() -> None:
    server = {"chunked_prefill": False, "max_batched_tokens": 1}
    chat = load_scenario("chat")
    at_once = dataclasses.replace(chat, workload=dataclasses.replace(chat.workload, rho=None, rate_per_s=100.0))
    env = LLMServerEnv(num_requests=3, server=server, scenario=at_once)
    env.reset(seed=0)
    over, steps = False, 0
    while not over:
        _, _, over, _, info = env.step(0)
        steps += 1
        assert steps < 50
    assert info["metrics"]["outcome"] == "stalled"
    assert info["metrics"]["num_unfinished"] == 3


def test_traces_are_cut_into_episodes(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    rows = "".join(f"{0.5 * i},{10 + i},{3 + i % 7}\n" for i in range(40))
    trace.write_text("arrival_time_s,prompt_tokens,output_tokens\n" + rows)
    env = LLMServerEnv(trace=str(trace), num_requests=10, predictor="perfect")
    firsts = set()
    for seed in range(5):
        env.reset(seed=seed)
        requests = env.servers.simulators[0]._arrays["arrivals"]
        assert len(requests) == 10
        assert requests["arrival_ps"][0] == 0
        assert np.array_equal(np.diff(requests["prompt_tokens"]), np.ones(9))
        assert np.array_equal(requests["predicted_output_tokens"], requests["output_tokens"])
        firsts.add(int(requests["prompt_tokens"][0]))
    assert len(firsts) > 2
    with pytest.raises(InputError, match="the trace has 40"):
        LLMServerEnv(trace=str(trace), num_requests=41)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"windw": 3}, "did you mean 'window'"),
        ({"scenario": "cat"}, "did you mean 'chat'"),
        ({"window": 0}, "window is 0"),
        ({"oldest": 17}, "oldest is 17"),
        ({"action": "commands"}, "did you mean 'command'"),
        ({"preempt_mode": "recomputed"}, "did you mean 'recompute'"),
        ({"preempt_mode": ["swap", "holds"]}, "did you mean 'hold'"),
        ({"preempt_mode": ["swap", "swap"]}, "every mode once"),
        ({"preempt_mode": []}, "preempt_mode is empty"),
        ({"preempt_mode": ["hold", "swap"], "shortage": "agent"}, "Add 'recompute'"),
        ({"preempt_mode": "any", "action": "priority"}, "needs action='command'"),
        ({"reward": {"latencies": 1}}, "did you mean 'latency'"),
        ({"reward": {"latency": float("nan")}}, "finite"),
        ({"waiting_fields": ["age"]}, "did you mean 'age_s'"),
        ({"randomise": {"roh": (0, 1)}}, "did you mean 'rho'"),
        ({"randomise": {"rho": (1, 0.5)}}, "must not be larger"),
        ({"randomise": {"profile": "a100"}}, "give a list"),
        ({"shortage": "agent", "action": "priority"}, "needs action='command'"),
        ({"shortage": "agent", "running": 0}, "running with shortage='agent' is 0"),
        ({"num_requests": 0}, "num_requests is 0"),
        ({"until_s": -1}, "until_s is -1"),
        ({"render_mode": "rgb"}, "did you mean 'rgb_array'"),
        ({"predictor": "perfet"}, "did you mean 'perfect'"),
        ({"server": {"max_runing": 2}}, "did you mean 'max_running'"),
        ({"scenario": "chat", "config": "x.toml"}, "give one of the two"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LLMServerEnv(**settings)


def test_the_page_is_the_docstring_and_the_documentation() -> None:
    assert LLMServerEnv.__doc__ == page()
    documented = (Path(__file__).parents[2] / "docs" / "environment.md").read_text()
    assert documented.endswith(page())
