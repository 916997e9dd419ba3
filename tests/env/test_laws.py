"""Laws that hold whatever an agent does: conservation, honesty, and that copies go on like the original."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import numpy as np
import pytest

from llmqgym.env import LLMServerEnv, LLMServerVectorEnv
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.memory import _ARRAYS
from llmqgym.kernel.tables import Status

KINDS: list[dict[str, Any]] = [
    {"server": {"num_kv_blocks": 500, "max_running": 20}},
    {"server": {"num_kv_blocks": 500}, "shortage": "agent", "preempt_mode": "swap"},
    {"server": {"num_kv_blocks": 700}, "preempt_mode": "hold", "window": 4, "running": 30},
    {"server": {"num_kv_blocks": 500, "block_size": 1}, "preempt_mode": "restart"},
    {"server": {"num_kv_blocks": 500, "prefix_caching": True}},
    {"server": {"num_kv_blocks": 500}, "action": "priority", "miss": "skip"},
    {"server": {"num_kv_blocks": 500, "host_kv_blocks": 80}, "shortage": "agent", "preempt_mode": "any"},
]


def check_laws(env: LLMServerEnv) -> None:
    """Blocks, tokens and requests are all accounted for (MODEL.md, section 9)."""
    simulator = env.simulator
    record, requests = simulator.record, simulator._arrays["requests"]
    here = requests[np.isin(requests["status"], [Status.WAITING, Status.RUNNING])]
    rows, totals = simulator.departed(), simulator.totals()
    done = rows[rows["status"] == Status.FINISHED]
    assert len(here) == record.num_running + record.num_waiting
    assert len(here) + len(rows) == record.next_id
    member = simulator._arrays["hidden"]["together"][np.isin(requests["status"], [Status.RUNNING])]
    if not member.any() and not record.prefix_caching:
        assert here["kv_blocks"].sum() + record.free_kv_blocks == record.num_kv_blocks
    assert 0 <= record.free_kv_blocks <= record.num_kv_blocks
    useful = int((done["prompt_tokens"] + done["output_tokens"] - 1).sum())
    behind = np.where(simulator._arrays["hidden"]["together"] == 1, 1, 0)
    late = int(((record.cohort_clock - simulator._arrays["hidden"]["stamp"]) * behind)[requests["status"] == 2].sum())
    held = int(here["computed_tokens"].sum()) + late
    shared = totals.prefix_cache_hits - totals.regained_tokens
    assert totals.processed_tokens + shared - totals.lost_tokens == useful + held
    assert (done["generated_tokens"] == done["output_tokens"]).all()
    assert (done["arrival_ps"] <= done["first_scheduled_ps"]).all()
    assert (done["first_scheduled_ps"] < done["first_token_ps"]).all()
    assert (done["first_token_ps"] <= done["finish_ps"]).all()


def random_action(env: LLMServerEnv, rng: np.random.Generator) -> Any:
    """Allowed ones mostly, any number now and then."""
    if env.config.action == "priority":
        return rng.uniform(-1, 1, env.config.num_actions - 1).astype(np.float32)
    if rng.random() < 0.05:
        return int(rng.integers(-3, env.config.num_actions + 3))
    allowed = np.flatnonzero(env.action_masks())
    admit = allowed[(allowed > 0) & (allowed <= env.config.window)]
    if len(admit) and rng.random() < 0.7:
        return int(rng.choice(admit))
    return 0 if rng.random() < 0.8 and env.action_masks()[0] else int(rng.choice(allowed))


def fuzz(settings: dict[str, Any], steps: int, every: int) -> None:
    """Random actions, resets and seeds, with the laws looked at now and then."""
    rng = np.random.default_rng(len(settings))
    env = LLMServerEnv(num_requests=60, **settings)
    env.reset(seed=0)
    ended = 0
    for step in range(steps):
        observation, _, terminated, truncated, _ = env.step(random_action(env, rng))
        if step % every == 0:
            check_laws(env)
            assert env.observation_space.contains(observation)
        if terminated or truncated or rng.random() < 0.0005:
            check_laws(env)
            ended += terminated
            env.reset(seed=int(rng.integers(1000)) if rng.random() < 0.5 else None)
    assert ended > 0
    env.close()
    env.close()


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_whatever_an_agent_does(settings: dict[str, Any]) -> None:
    fuzz(settings, 6000 if COMPILED else 400, 7)


@pytest.mark.slow
@pytest.mark.skipif(not COMPILED, reason="a million steps take hours in plain Python")
@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_whatever_an_agent_does_for_long(settings: dict[str, Any]) -> None:
    fuzz(settings, 170_000, 101)


def test_nothing_is_left_behind() -> None:
    """Tables of environments that are gone are gone."""

    def make_and_play() -> None:
        env = LLMServerVectorEnv(3, num_requests=20)
        env.reset(seed=0)
        for _ in range(20):
            env.step(np.zeros(3, np.int64))
        env.close()

    make_and_play()
    gc.collect()
    before = len(_ARRAYS)
    for _ in range(5):
        make_and_play()
    gc.collect()
    assert len(_ARRAYS) <= before


@pytest.mark.parametrize("way", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))], ids=["copy", "pickle"])
@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_a_copy_goes_on_like_the_original(settings: dict[str, Any], way: Any) -> None:
    rng = np.random.default_rng(1)
    env = LLMServerEnv(num_requests=60, **settings)
    env.reset(seed=4)
    for _ in range(300 if COMPILED else 40):
        env.step(random_action(env, rng))
    twin = way(env)
    for _ in range(400 if COMPILED else 40):
        action = random_action(env, rng)
        ours, theirs = env.step(action), twin.step(action)
        assert all(np.array_equal(ours[0][key], theirs[0][key]) for key in ours[0])
        assert ours[1:4] == theirs[1:4]
        if ours[2]:
            env.reset()
            twin.reset()


def test_a_copy_meets_the_hardware_that_the_original_meets() -> None:
    """Servers on the same hardware share its tables; a copy comes with tables of its own."""
    profiles = ["a100-llama-3-8b", "h100-llama-3-8b"]
    env = LLMServerEnv(num_requests=15, randomise={"profile": profiles})
    drawn = {env.reset(seed=seed)[1]["drawn"]["profile"]: seed for seed in range(12)}
    assert set(drawn) == set(profiles)
    rng = np.random.default_rng(3)
    for first in profiles:
        env.reset(seed=drawn[first])
        twin = pickle.loads(pickle.dumps(env))
        for _ in range(4):
            for _ in range(40):
                action = random_action(env, rng)
                ours, theirs = env.step(action), twin.step(action)
                assert ours[1:4] == theirs[1:4]
                assert all(np.array_equal(ours[0][key], theirs[0][key]) for key in ours[0])
                if ours[2]:
                    break
            assert env.reset()[1]["drawn"] == twin.reset()[1]["drawn"]


@pytest.mark.parametrize("settings", KINDS, ids=str)
def test_nothing_that_is_hidden_is_seen(settings: dict[str, Any]) -> None:
    """The observation of a state stays as it is when true lengths and future arrivals are others."""
    rng = np.random.default_rng(2)
    env = LLMServerEnv(num_requests=60, **{**settings, "action": "command"})
    env.reset(seed=1)
    for _ in range(200 if COMPILED else 30):
        _, _, terminated, _, _ = env.step(random_action(env, rng))
        if terminated:
            env.reset()
    seen, *_ = env.step(-1)  # not allowed: shows the state as it is
    arrays, record = env.simulator._arrays, env.simulator.record
    here = np.isin(arrays["requests"]["status"], [Status.WAITING, Status.RUNNING])
    arrays["hidden"]["output_tokens"][here] += rng.integers(1, 500, int(here.sum()))
    arrays["arrivals"]["output_tokens"][record.next_arrival :] += 77
    arrays["arrivals"]["arrival_ps"][record.next_arrival :] += 10**9
    again, *_ = env.step(-1)
    assert here.any()
    assert all(np.array_equal(seen[key], again[key]) for key in seen)
