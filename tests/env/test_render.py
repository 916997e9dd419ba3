"""Rendering shows what is there, in every mode, and changes nothing."""

from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
import time
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import DependencyNotInstalled
from gymnasium.utils.env_checker import check_env

from llmqgym.env.env import LLMServerEnv
from llmqgym.env.render.scene import Scene
from llmqgym.env.vector_env import LLMServerVectorEnv
from llmqgym.errors import InputError
from llmqgym.registration import register_envs

SETTINGS: dict[str, Any] = {"scenario": "kv-bound", "num_requests": 40, "server": {"num_kv_blocks": 600}}
MODES = ("rgb_array", "human", "ansi")


@pytest.fixture(autouse=True)
def no_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")


def shortest_first(env: LLMServerEnv) -> int:
    """Admit the last of those who fit, who are the shortest; now and then preempt somebody."""
    mask = env.servers.masks[0]
    admissible = np.flatnonzero(mask[1 : 1 + env.config.window])
    if len(admissible):
        return 1 + int(admissible[-1])
    preemptible = np.flatnonzero(mask[1 + env.config.window :])
    if len(preemptible) and env.simulator.record.num_iterations % 7 == 3:
        return 1 + env.config.window + int(preemptible[0])
    return 0


def episode(env: LLMServerEnv, render: bool) -> list[Any]:
    """Everything that an episode returns."""
    observation, info = env.reset(seed=3)
    seen: list[Any] = [observation, info]
    over = False
    while not over:
        if render:
            env.render()
        observation, reward, terminated, truncated, info = env.step(shortest_first(env))
        seen += [observation, reward, info]
        over = terminated or truncated
    env.close()
    return seen


def same(first: Any, second: Any) -> bool:
    """Equal bit for bit; nan is nan."""
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(same(*pair) for pair in zip(first, second, strict=True))
    if isinstance(first, np.ndarray):
        return first.dtype == second.dtype and first.tobytes() == second.tobytes()
    return bool(first == second) or (first != first and second != second)


@pytest.mark.parametrize("mode", MODES)
def test_rendering_changes_nothing(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LLMServerEnv.metadata, "render_fps", 100_000)
    plain = episode(LLMServerEnv(**SETTINGS), render=False)
    assert same(plain, episode(LLMServerEnv(render_mode=mode, **SETTINGS), render=True))


def scenes(running: int) -> list[Scene]:
    env = LLMServerEnv(render_mode="ansi", running=running, **SETTINGS)
    env.reset(seed=5)
    seen, over = [], False
    while not over:
        admissible = np.flatnonzero(env.servers.masks[0, 1 : 1 + env.config.window])
        _, _, terminated, truncated, _ = env.step(1 + int(admissible[0]) if len(admissible) else 0)
        seen.append(env._viewer.scene())
        over = terminated or truncated
    return seen


def test_requests_out_of_view_are_shown_as_they_are() -> None:
    """The kernel brings up to date those that the agent sees: all of 64, of which the other agent sees one."""
    num_stale = 0
    for one, all_of_them in zip(scenes(1), scenes(64), strict=True):
        assert [request.id for request in one.running] == [request.id for request in all_of_them.running]
        for mine, given in zip(one.running, all_of_them.running, strict=True):
            assert mine.computed_tokens == given.computed_tokens
            assert mine.generated_tokens == given.generated_tokens
            num_stale += mine.command < 0
        assert one.used_kv_blocks == all_of_them.used_kv_blocks
    assert num_stale > 100


def test_a_scene_writes_nothing() -> None:
    env = LLMServerEnv(render_mode="ansi", **SETTINGS)
    env.reset(seed=0)
    for _ in range(60):
        env.step(shortest_first(env))
        arrays = env.simulator._arrays
        before = [env.simulator.record.tobytes(), env.servers.agents.tobytes(), *(a.tobytes() for a in arrays.values())]
        env.render()
        after = [env.simulator.record.tobytes(), env.servers.agents.tobytes(), *(a.tobytes() for a in arrays.values())]
        assert before == after


@pytest.mark.parametrize("mode", [None, *MODES])
def test_gymnasiums_checker(mode: str | None) -> None:
    register_envs()
    env = gym.make("llmqgym/LLMServerKVBound-v0", render_mode=mode, num_requests=40, disable_env_checker=True)
    check_env(env.unwrapped)
    env.close()


def test_frames() -> None:
    env = LLMServerEnv(render_mode="rgb_array", **SETTINGS)
    env.reset(seed=1)
    frames = []
    for _ in range(10):
        frames.append(env.render())
        env.step(shortest_first(env))
    for frame in frames:
        assert frame.dtype == np.uint8
        assert frame.shape == frames[0].shape
        assert frame.ndim == 3
        assert frame.shape[2] == 3
    assert len({frame.tobytes() for frame in frames}) == 10


def test_text_says_the_numbers() -> None:
    env = LLMServerEnv(render_mode="ansi", **SETTINGS)
    env.reset(seed=1)
    assert "last action: none" in env.render()
    for _ in range(200):
        env.step(shortest_first(env))
    sim, text = env.simulator.record, env.render()
    assert f"clock {sim.clock_ps / 1e12:.3f} s" in text
    assert f"finished {sim.num_finished} " in text
    assert f"running {sim.num_running} of 256" in text
    assert f"waiting {sim.num_waiting} " in text
    assert f"preemptions {sum(sim.num_preemptions)} " in text
    assert f"{sim.num_kv_blocks - sim.free_kv_blocks} of 600 blocks" in text


def test_actions_in_words() -> None:
    env = LLMServerEnv(render_mode="ansi", **SETTINGS)
    env.reset(seed=1)
    first = env._viewer.scene().oldest[0].id
    env.step(1)
    assert f"last action: admit {first} " in env.render()
    env.step(17)
    assert f"last action: preempt {first} (masked)" in env.render()
    env.step(16)
    assert "last action: admit nobody (masked)" in env.render()
    env.step(99)
    assert "last action: 99, which is no command" in env.render()
    env.step(0)
    assert "last action: run" in env.render()
    env.reset()
    assert "last action: none" in env.render()


def test_scores_in_words() -> None:
    env = LLMServerEnv(render_mode="ansi", action="priority", **SETTINGS)
    env.reset(seed=1)
    env.step(np.full(32, -1.0, np.float32))
    assert "last action: scores, 0 of them" in env.render()


def test_without_pygame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    for mode in ("rgb_array", "human"):
        with pytest.raises(DependencyNotInstalled, match=r'pip install "llmqgym\[render\]"'):
            LLMServerEnv(render_mode=mode, **SETTINGS)
    env = LLMServerEnv(render_mode="ansi", **SETTINGS)
    env.reset(seed=0)
    assert "KV cache" in env.render()


def test_without_a_render_mode() -> None:
    env = LLMServerEnv(**SETTINGS)
    env.reset(seed=0)
    with pytest.warns(UserWarning, match="needs a render_mode"):
        assert env.render() is None
    env.close()
    with pytest.raises(InputError, match="rgb_array"):
        LLMServerEnv(render_mode="rgb", **SETTINGS)
    with pytest.raises(InputError, match="rgb_array"):
        LLMServerVectorEnv(2, render_mode="human", **SETTINGS)


def test_a_human_sees_frames_at_the_rate_of_the_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LLMServerEnv.metadata, "render_fps", 25)
    env = LLMServerEnv(render_mode="human", **SETTINGS)
    env.reset(seed=0)
    began = time.perf_counter()
    for _ in range(8):
        assert env.render() is None
    assert time.perf_counter() - began > 7 / 25
    env.close()
    env.close()
    env.reset(seed=0)
    env.close()


@pytest.mark.parametrize("mode", ["rgb_array", "ansi"])
def test_many_servers(mode: str) -> None:
    """What a vector environment shows of its servers is what single environments show, episode after episode."""
    many = LLMServerVectorEnv(3, render_mode=mode, autoreset_mode="SameStep", max_decisions=50, **SETTINGS)
    single = [LLMServerEnv(render_mode=mode, max_decisions=50, **SETTINGS) for _ in range(3)]
    many.reset(seed=7)
    for place, env in enumerate(single):
        env.reset(seed=7 + place)
    for _ in range(70):
        actions = np.array([shortest_first(env) for env in single])
        many.step(actions)
        for env, action in zip(single, actions, strict=True):
            if any(env.step(action)[2:4]):
                env.reset()
        frames = many.render()
        assert isinstance(frames, tuple)
        for frame, env in zip(frames, single, strict=True):
            assert same(frame, env.render())
    many.close()


@pytest.mark.parametrize("mode", MODES)
def test_copies_are_seen_as_their_originals(mode: str) -> None:
    env = LLMServerEnv(render_mode=mode, **SETTINGS)
    env.reset(seed=2)
    for _ in range(25):
        env.step(shortest_first(env))
        env.render()
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert twin._viewer.scene() == env._viewer.scene()
        assert same(twin.render(), env.render())
        twin.step(0)
    env.close()


def test_importing_the_environment_does_not_import_pygame() -> None:
    code = "import sys, llmqgym.env.env, llmqgym.env.vector_env; sys.exit('pygame' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_refreshed_predictions_and_unknown_ones() -> None:
    for predictor in ("refreshing", "none"):
        env = LLMServerEnv(render_mode="rgb_array", predictor=predictor, **SETTINGS)
        env.reset(seed=0)
        for _ in range(30):
            env.step(shortest_first(env))
        assert env.render().shape[2] == 3
        unknown = [math.isnan(request.predicted_output_tokens) for request in env._viewer.scene().running]
        assert all(unknown) if predictor == "none" else not any(unknown)
