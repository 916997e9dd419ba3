"""The SB3 VecEnv is the vector environment, and SB3 learns from what it has seen."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from llmqgym.env import LLMServerEnv, LLMServerVectorEnv
from llmqgym.env.wrappers import VectorDifferenceToReference
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED

WHY = "torch and Stable-Baselines3 are not installed: the extra [train], which `make test-train` installs"
torch = pytest.importorskip("torch", reason=WHY)
pytest.importorskip("sb3_contrib", reason=WHY)

from sb3_contrib import MaskablePPO  # noqa: E402
from sb3_contrib.common.maskable.callbacks import MaskableEvalCallback  # noqa: E402
from sb3_contrib.common.maskable.evaluation import evaluate_policy  # noqa: E402
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported  # noqa: E402
from stable_baselines3 import PPO  # noqa: E402
from stable_baselines3.common.callbacks import BaseCallback  # noqa: E402
from stable_baselines3.common.env_checker import check_env  # noqa: E402
from stable_baselines3.common.monitor import Monitor  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor, VecNormalize  # noqa: E402

from llmqgym.sb3 import SB3VecEnv, make_sb3_vec_env  # noqa: E402

if not COMPILED:
    pytest.skip("learning in plain Python takes too long", allow_module_level=True)

torch.set_num_threads(1)
NUM, STEPS = 20, 400
KV_BOUND = "llmqgym/LLMServerKVBound-v0"
SETTINGS: dict[str, Any] = {"num_requests": NUM, "max_decisions": 90}
FLAT = SETTINGS | {"observation": "flat"}
OBSERVATIONS = pytest.mark.parametrize("observation", ["dict", "flat"])


def choose(masks: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Mostly the first that may enter, sometimes anything, forbidden or not."""
    wanted = masks[:, 1:17]
    chosen = np.where(wanted.any(axis=1), 1 + wanted.argmax(axis=1), 0)
    return np.where(rng.random(len(masks)) < 0.1, rng.integers(0, masks.shape[1], len(masks)), chosen)


def copied(observation: Any) -> Any:
    if isinstance(observation, dict):
        return {name: values.copy() for name, values in observation.items()}
    return observation.copy()


def same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)
    return bool(np.array_equal(a, b))


def model_for(env: Any, **settings: Any) -> MaskablePPO:
    policy = "MultiInputPolicy" if isinstance(env.observation_space, gym.spaces.Dict) else "MlpPolicy"
    return MaskablePPO(policy, env, n_steps=16, batch_size=64, n_epochs=2, seed=0, device="cpu", **settings)


# The same as the vector environment


@OBSERVATIONS
def test_it_is_the_vector_environment(observation: str) -> None:
    settings = SETTINGS | {"observation": observation}
    ours = make_sb3_vec_env(KV_BOUND, 5, seed=7, **settings)
    theirs = LLMServerVectorEnv(5, autoreset_mode=AutoresetMode.SAME_STEP, scenario="kv-bound", **settings)
    rng, num_ended, num_truncated, num_invalid = np.random.default_rng(0), 0, 0, 0
    assert same(ours.reset(), theirs.reset(seed=7)[0])
    returns, lengths = np.zeros(5), np.zeros(5, int)
    for _ in range(STEPS):
        assert np.array_equal(get_action_masks(ours), theirs.action_masks())
        actions = choose(theirs.action_masks(), rng)
        seen, rewards, dones, infos = ours.step(actions)
        theirs_seen, theirs_rewards, terminations, truncations, theirs_infos = theirs.step(actions)
        assert same(seen, theirs_seen)
        assert rewards.dtype == np.float32
        assert np.array_equal(rewards, theirs_rewards.astype(np.float32))
        assert np.array_equal(dones, terminations | truncations)
        returns += theirs_rewards
        lengths += 1
        for place, info in enumerate(infos):
            if not dones[place]:
                assert info == ({"invalid_action": True} if theirs_infos["invalid_action"][place] else {})
                num_invalid += bool(info)
                assert ours.get_attr("dt_s")[place] == theirs_infos["dt_s"][place]
                continue
            final = theirs_infos["final_info"]
            assert same(info["terminal_observation"], theirs_infos["final_obs"][place])
            assert info["TimeLimit.truncated"] == truncations[place]
            assert (info["episode"]["r"], info["episode"]["l"]) == (round(returns[place], 6), lengths[place])
            assert info["metrics"]["outcome"] == final["metrics"]["outcome"][place]
            assert info["metrics"]["num_finished"] == final["metrics"]["num_finished"][place]
            assert info["terms"]["latency"] == final["terms"]["latency"][place]
            assert ours.get_attr("dt_s", place) == [final["dt_s"][place]]
            num_ended, num_truncated = num_ended + 1, num_truncated + bool(truncations[place])
            returns[place], lengths[place] = 0.0, 0
    assert num_ended > num_truncated > 0
    assert num_invalid > 10
    ours.close()


def test_monitors_agree() -> None:
    """`episode` is what SB3's Monitor says of the single environment."""
    ours = make_sb3_vec_env("llmqgym/LLMServer-v0", 1, seed=3, **FLAT)
    theirs = Monitor(LLMServerEnv(**FLAT))
    ours.reset()
    theirs.reset(seed=3)
    rng = np.random.default_rng(1)
    while True:
        action = choose(ours.action_masks(), rng)
        info, found = ours.step(action)[3][0], theirs.step(int(action[0]))
        if "episode" in info:
            break
    assert info["episode"] == found[4]["episode"] | {"t": info["episode"]["t"]}
    assert 0 < info["episode"]["t"] < 100


# Buffers


class Recorder(BaseCallback):
    """Copies of what every observation was when it came, and of the masks by which the next action was chosen."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def _on_rollout_start(self) -> None:
        self.seen = [copied(self.model._last_obs)]

    def _on_step(self) -> bool:
        self.seen.append(copied(self.locals["new_obs"]))
        return True


def stored_as_seen(env: SB3VecEnv) -> bool:
    """Whether the rollout buffer holds the observations that came, one after the other."""
    model, recorder = model_for(env), Recorder()
    model.learn(16 * env.num_envs, callback=recorder)
    stored = model.rollout_buffer.observations
    seen = recorder.seen[:-1]
    if not isinstance(stored, dict):
        return bool(np.array_equal(stored, np.stack(seen).swapaxes(0, 1).reshape(stored.shape)))
    columns = {name: np.stack([each[name] for each in seen]).swapaxes(0, 1) for name in stored}
    return all(np.array_equal(stored[name], columns[name].reshape(stored[name].shape)) for name in stored)


@OBSERVATIONS
def test_the_rollout_buffer_holds_what_was_seen(observation: str) -> None:
    assert stored_as_seen(make_sb3_vec_env(KV_BOUND, 4, seed=0, num_requests=NUM, observation=observation))


def test_one_buffer_would_corrupt_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: without a second buffer SB3 stores the observation after the step."""
    env = make_sb3_vec_env(KV_BOUND, 4, seed=0, num_requests=NUM)
    monkeypatch.setattr(env.env.servers, "flip", lambda: None)
    assert not stored_as_seen(env)


def test_a_reset_leaves_the_last_observation_alone() -> None:
    env = make_sb3_vec_env(KV_BOUND, 3, seed=0, **FLAT)
    first = env.reset()
    kept = first.copy()
    second = env.reset()
    assert np.array_equal(first, kept)
    assert not np.array_equal(second, first)


# Masks


class Watcher(BaseCallback):
    def __init__(self) -> None:
        super().__init__()
        self.num_invalid = self.num_steps = self.num_episodes = 0

    def _on_step(self) -> bool:
        self.num_steps += self.training_env.num_envs
        self.num_invalid += sum(bool(info.get("invalid_action")) for info in self.locals["infos"])
        self.num_episodes += sum("episode" in info for info in self.locals["infos"])
        return True


@OBSERVATIONS
def test_learning_respects_the_masks(observation: str) -> None:
    env = make_sb3_vec_env(KV_BOUND, 8, seed=0, **SETTINGS | {"observation": observation})
    model, watcher = model_for(env), Watcher()
    model.learn(4000, callback=watcher)
    assert watcher.num_steps >= 4000
    assert watcher.num_episodes > 8
    assert watcher.num_invalid == 0
    assert len(model.ep_info_buffer) == min(watcher.num_episodes, 100)
    assert all(each["r"] < 0 and 0 < each["l"] <= 90 for each in model.ep_info_buffer)


def test_without_masks_invalid_actions_are_counted() -> None:
    """The count above can be other than 0."""
    env = make_sb3_vec_env(KV_BOUND, 8, seed=0, **FLAT)
    watcher = Watcher()
    PPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(128, callback=watcher)
    assert watcher.num_invalid > 10


def test_scores_are_learnt_by_plain_ppo() -> None:
    env = make_sb3_vec_env(KV_BOUND, 4, seed=0, action="priority", **FLAT)
    PPO("MlpPolicy", env, n_steps=16, batch_size=64, n_epochs=1, seed=0, device="cpu").learn(128)


def test_masks_are_rows_of_one_array() -> None:
    env = make_sb3_vec_env(KV_BOUND, 4, seed=0, **FLAT)
    env.reset()
    assert env.has_attr("action_masks")
    assert is_masking_supported(env)
    rows = env.env_method("action_masks")
    assert len(rows) == 4
    assert all(row.base is rows[0].base is not None and row.dtype == np.bool_ for row in rows)
    assert np.array_equal(env.env_method("action_masks", indices=[2, 0])[0], rows[2])
    assert np.array_equal(env.env_method("action_masks", indices=1)[0], rows[1])
    with pytest.raises(AttributeError, match="only 'action_masks'"):
        env.env_method("teleport")


# Evaluation


@OBSERVATIONS
def test_evaluation(observation: str, tmp_path: Any) -> None:
    settings = SETTINGS | {"observation": observation}
    env, other = make_sb3_vec_env(KV_BOUND, 4, seed=0, **settings), make_sb3_vec_env(KV_BOUND, 2, seed=9, **settings)
    callback = MaskableEvalCallback(
        other, n_eval_episodes=4, eval_freq=16, log_path=str(tmp_path), best_model_save_path=str(tmp_path), verbose=0
    )
    model = model_for(env)
    model.learn(64, callback=callback)
    found = np.load(tmp_path / "evaluations.npz")
    assert found["results"].shape == (1, 4)
    other.seed(9)
    returns, lengths = evaluate_policy(model, other, n_eval_episodes=4, return_episode_rewards=True)
    assert len(returns) == 4
    assert all(each < 0 for each in returns)
    assert all(0 < each <= 90 for each in lengths)
    loaded = MaskablePPO.load(tmp_path / "best_model", device="cpu")
    other.seed(1)
    seen, masks = other.reset(), get_action_masks(other)
    actions, _ = loaded.predict(seen, action_masks=masks, deterministic=True)
    assert masks[np.arange(2), actions].all()


def test_evaluation_agrees_with_single_environments() -> None:
    """Same seeds, same policy: the returns that SB3 finds with its own DummyVecEnv around single environments."""
    env = make_sb3_vec_env("llmqgym/LLMServer-v0", 3, **FLAT)
    model = model_for(env)
    single = DummyVecEnv([lambda: Monitor(LLMServerEnv(**FLAT))] * 1)
    found = {}
    for name, each in (("ours", make_sb3_vec_env("llmqgym/LLMServer-v0", 1, **FLAT)), ("single", single)):
        each.seed(5)
        found[name] = evaluate_policy(model, each, n_eval_episodes=3, return_episode_rewards=True)
    assert found["ours"] == found["single"]


@pytest.mark.parametrize("action", ["command", "priority"])
def test_sb3s_own_check_of_the_flat_environment(action: str) -> None:
    """Passes without a warning: warnings are errors here."""
    check_env(LLMServerEnv(observation="flat", action=action, num_requests=NUM))
    check_env(gym.make("llmqgym/LLMServerChat-v0", observation="flat", num_requests=NUM))


# Settings, seeds, attributes


def test_seeds_and_copies() -> None:
    env = make_sb3_vec_env(KV_BOUND, 6, copies=3, seed=4, num_requests=NUM)
    assert env.seed(4) == [4, 4, 4, 5, 5, 5]
    first = copied(env.reset())

    def arrivals() -> list[bytes]:
        return [each._arrays["arrivals"].tobytes() for each in env.get_attr("simulator")]

    drawn = arrivals()
    assert drawn[0] == drawn[1] == drawn[2] != drawn[3] == drawn[4] == drawn[5]
    env.reset()
    assert arrivals()[0] != drawn[0]
    env.seed(4)
    assert same(env.reset(), first)
    rng, returns = np.random.default_rng(0), []
    for _ in range(STEPS):  # what is done alike ends alike, from episode to episode
        choices = choose(env.action_masks()[[0, 3]], rng)
        infos = env.step(np.repeat(choices, 3))[3]
        assert [("episode" in info) for info in infos[:3]] in ([True] * 3, [False] * 3)
        if "episode" in infos[0]:
            returns.append([info["episode"]["r"] for info in infos[:3]])
            drawn = arrivals()
            assert drawn[0] == drawn[1] == drawn[2] != drawn[3]
    assert len(returns) >= 2
    assert all(a == b == c for a, b, c in returns)


def test_unseeded_environments_differ() -> None:
    env = make_sb3_vec_env(KV_BOUND, 2, num_requests=NUM)
    env.reset()
    first, second = (each._arrays["arrivals"].tobytes() for each in env.get_attr("simulator"))
    assert first != second


def test_attributes() -> None:
    env = make_sb3_vec_env({"scenario": "kv-bound"}, 3, randomise={"rho": (0.5, 0.9)}, **SETTINGS)
    assert env.get_attr("render_mode") == [None] * 3
    assert env.get_attr("config", indices=[1])[0].num_requests == NUM
    env.reset()
    assert [each["rho"] for each in env.get_attr("drawn")] == [info["drawn"]["rho"] for info in env.reset_infos]
    assert not env.has_attr("teleporter")
    env.set_attr("teleporter", 1)
    assert env.get_attr("teleporter") == [1, 1, 1]
    with pytest.raises(InputError, match="share"):
        env.set_attr("teleporter", 2, indices=[0])
    assert env.env_is_wrapped(Monitor) == [True] * 3
    assert env.env_is_wrapped(VectorDifferenceToReference, indices=0) == [False]


def test_sb3s_wrappers_go_around_it() -> None:
    env = VecNormalize(make_sb3_vec_env(KV_BOUND, 4, seed=0, **FLAT))
    model_for(env).learn(400)
    assert is_masking_supported(env)
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):  # nothing that it would add
        VecMonitor(env.venv)


def test_vector_wrappers_go_inside() -> None:
    env = make_sb3_vec_env(KV_BOUND, 4, seed=0, wrap=VectorDifferenceToReference, **FLAT)
    assert env.env_is_wrapped(VectorDifferenceToReference) == [True] * 4
    model_for(env).learn(400)
    plain = make_sb3_vec_env(KV_BOUND, 4, seed=0, **FLAT)
    env.seed(0)
    env.reset()
    plain.reset()
    rng, totals = np.random.default_rng(0), np.zeros((2, 4))
    for _ in range(50):
        actions = choose(plain.action_masks(), rng)
        totals += [env.step(actions)[1], plain.step(actions)[1]]
    assert (totals[0] > totals[1]).all()


def test_pictures_are_tiled(monkeypatch: pytest.MonkeyPatch) -> None:
    env = make_sb3_vec_env(KV_BOUND, 4, **FLAT)
    env.render_mode = "rgb_array"
    frames = tuple(np.full((2, 3, 3), place, np.uint8) for place in range(4))
    monkeypatch.setattr(env.env, "render", lambda: frames)
    picture = env.render()
    assert picture.shape == (4, 6, 3)
    assert picture[2, 3, 0] == 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"autoreset_mode": AutoresetMode.NEXT_STEP}, "leave it out"),
        ({"num_request": 3}, "num_requests"),
        ({"copies": 2}, "a divisor"),
    ],
)
def test_bad_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_sb3_vec_env("llmqgym/LLMServer-v0", 3, **settings)
    with pytest.raises(InputError, match=message):
        make_sb3_vec_env({}, 3, **settings)


def test_it_wants_servers_that_reset_in_the_same_step() -> None:
    with pytest.raises(InputError, match="SAME_STEP"):
        SB3VecEnv(LLMServerVectorEnv(2))


def test_torch_is_imported_here_only() -> None:
    """And without SB3 the error says what to install."""
    code = """
import sys
import llmqgym.env, llmqgym.env.wrappers
assert "torch" not in sys.modules and "stable_baselines3" not in sys.modules
sys.modules["stable_baselines3"] = None
try:
    import llmqgym.sb3
except ImportError as error:
    print(error)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'llmqgym[train]'" in found.stdout
