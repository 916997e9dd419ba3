"""N servers in one call are N environments, bit for bit."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from llmqgym.env import LLMServerEnv, LLMServerVectorEnv
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.registration import ENVIRONMENTS

NUM, STEPS = (30, 600) if COMPILED else (5, 60)
KINDS: list[dict[str, Any]] = [
    {},
    {"observation": "flat", "max_decisions": 40},
    {"action": "priority", "server": {"num_kv_blocks": 400}},
    {"preempt_mode": "any", "shortage": "agent", "server": {"num_kv_blocks": 400, "host_kv_blocks": 60}},
    {"randomise": {"sigma": (0.0, 2.0)}, "predictor": "perfect", "until_s": 9.0},
]


def same(a: Any, b: Any, path: str = "") -> None:
    """Equal, in type of array and in every bit; dicts by their keys."""
    if isinstance(a, dict):
        assert isinstance(b, dict), path
        assert a.keys() == b.keys(), (path, a.keys() ^ b.keys())
        for key in a:
            same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, np.ndarray) and a.dtype == object:
        for x, y in zip(a, b, strict=True):
            same(x, y, path)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, (path, a.dtype, b.dtype)
        assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), (path, a, b)
    else:
        assert a == b, path


def same_all(a: tuple[Any, ...], b: tuple[Any, ...]) -> None:
    """What two calls return."""
    for ours, theirs in zip(a, b, strict=True):
        same(ours, theirs)


def actions_of(env: LLMServerVectorEnv, rng: np.random.Generator) -> Any:
    if env.config.action == "priority":
        return rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
    masks = env.action_masks()
    wanted = masks[:, 1 : 1 + env.config.window]
    chosen = np.where(wanted.any(axis=1) & (rng.random(len(masks)) < 0.8), 1 + wanted.argmax(axis=1), 0)
    return np.where(rng.random(len(masks)) < 0.05, rng.integers(0, env.config.num_actions, len(masks)), chosen)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("settings", KINDS, ids=str)
@pytest.mark.parametrize("copy", [True, False])
def test_it_is_n_environments(settings: dict[str, Any], mode: AutoresetMode, copy: bool) -> None:
    settings = {"num_requests": NUM, **settings}
    ours = LLMServerVectorEnv(5, autoreset_mode=mode, copy=copy, **settings)
    theirs = SyncVectorEnv([lambda: LLMServerEnv(**settings)] * 5, autoreset_mode=mode)
    assert ours.single_observation_space == theirs.single_observation_space
    assert ours.action_space == theirs.action_space
    rng = np.random.default_rng(0)
    same_all(ours.reset(seed=7), theirs.reset(seed=7))
    num_ended = 0
    for _ in range(STEPS):
        actions = actions_of(ours, rng)
        a, b = ours.step(actions), theirs.step(actions)
        same_all(a, b)
        num_ended += int((a[2] | a[3]).sum())
    assert num_ended >= 3
    same_all(ours.reset(), theirs.reset())


def test_gymnasium_makes_it() -> None:
    env = gym.make_vec(
        "llmqgym/LLMServerKVBound-v0", num_envs=3, vectorization_mode="vector_entry_point", num_requests=5
    )
    assert isinstance(env, LLMServerVectorEnv)
    assert env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP
    observations, _ = env.reset(seed=1)
    assert env.observation_space.contains(observations)
    limited = gym.make_vec("llmqgym/LLMServer-v0", num_envs=2, max_episode_steps=3)
    limited.reset(seed=0)
    truncations = [limited.step(np.zeros(2, np.int64))[3] for _ in range(3)]
    assert [bool(each.all()) for each in truncations] == [False, False, True]


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_gymnasium_makes_every_id_in_both_modes(name: str, mode: AutoresetMode) -> None:
    settings: dict[str, Any] = {"num_requests": 2, "decision_interval": 1000, "autoreset_mode": mode}
    env = gym.make_vec(f"llmqgym/{name}", 2, "vector_entry_point", **settings)
    observations, infos = env.reset(seed=0)
    num_ended = 0
    for _ in range(100):
        assert env.observation_space.contains(observations)
        observations, _, terminations, truncations, infos = env.step(infos["action_mask"][:, 1].astype(np.int64))
        ended = terminations | truncations
        num_ended += int(ended.sum())
        assert ended.any() == ("metrics" in infos or "final_info" in infos)
    assert num_ended >= 2
    env.close()


def test_copies_meet_the_same_requests() -> None:
    env = LLMServerVectorEnv(6, copies=3, num_requests=4)
    for _ in range(2):
        env.reset(seed=None)
        arrivals = [each._arrays["arrivals"].tobytes() for each in env.servers.simulators]
        assert arrivals[0] == arrivals[1] == arrivals[2] != arrivals[3] == arrivals[4] == arrivals[5]


def test_buffers_are_written_in_turn() -> None:
    env = LLMServerVectorEnv(4, copy=False, observation="flat", num_requests=NUM)
    first, _ = env.reset(seed=0)
    kept = first.copy()
    second = env.step(np.ones(4, np.int64))[0]
    assert np.array_equal(first, kept)
    assert second is not first
    assert env.step(np.zeros(4, np.int64))[0] is not second


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"copies": 2}, "a divisor"),
        ({"num_envs": 0}, "num_envs is 0"),
        ({"autoreset_mode": AutoresetMode.DISABLED}, "NEXT_STEP"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LLMServerVectorEnv(**{"num_envs": 3, **settings})
