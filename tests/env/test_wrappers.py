"""What the wrappers add is what they say, held against other ways to get it."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from baselines.registry import make_policy
from llmqgym.env import LLMServerEnv, LLMServerVectorEnv, PolicyAgent
from llmqgym.env.wrappers import (
    DifferenceToReference,
    OracleObservation,
    RLlibObservation,
    TimeDiscount,
    VectorDifferenceToReference,
    VectorTimeDiscount,
    discounted_returns,
)
from llmqgym.env.wrappers.reference import Reference
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.tables import Status
from llmqgym.policy import Policy
from llmqgym.run import simulate
from llmqgym.workload.workload import Workload

NUM, STEPS = (30, 500) if COMPILED else (5, 120)
TIGHT: dict[str, Any] = {"scenario": "kv-bound", "num_requests": NUM, "server": {"num_kv_blocks": 400}}
MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP]


def mostly_admit(mask: np.ndarray, rng: np.random.Generator, window: int = 16) -> int:
    """The first that may enter, sometimes anything that is allowed."""
    allowed = np.flatnonzero(mask)
    wanted = allowed[(allowed > 0) & (allowed <= window)]
    if rng.random() < 0.1:
        return int(rng.choice(allowed))
    return int(wanted[0]) if len(wanted) else 0


def play(env: Any, seed: int, choose: Any = mostly_admit) -> list[tuple[Any, ...]]:
    """(observation, reward, info) of every step of an episode, with the reset as the first."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    steps: list[tuple[Any, ...]] = [(observation, 0.0, info)]
    while True:
        observation, reward, terminated, truncated, info = env.step(choose(env.unwrapped.action_masks(), rng))
        steps.append((observation, reward, info))
        if terminated or truncated:
            return steps


def reference_time_s(env: Any, policy: Policy) -> float:
    """Times in system of a policy's run on the requests of the episode at hand, by `simulate`."""
    config, episode = env.unwrapped.config, env.unwrapped.servers.episode_of[0]
    result = simulate(
        Workload("episode", episode.requests),
        policy=policy,
        server=config.scenario.server,
        profile=config.scenario.profile,
    )
    rows = result.departures[result.departures["status"] == Status.FINISHED]
    return float((rows["finish_ps"] - rows["arrival_ps"]).sum()) / 1e12


# RLlib


@pytest.mark.filterwarnings("ignore:.*different from the unwrapped version")
@pytest.mark.parametrize("observation", ["dict", "flat"])
def test_rllib_keys(observation: str) -> None:
    env = RLlibObservation(LLMServerEnv(observation=observation, **TIGHT))
    flat = LLMServerEnv(observation="flat", **TIGHT)
    check_env(env, skip_render_check=True)
    for (seen, _, info), (plain, _, _) in zip(play(env, 3), play(flat, 3), strict=True):
        assert env.observation_space.contains(seen)
        assert np.array_equal(seen["observations"], plain)
        assert np.array_equal(seen["action_mask"], info["action_mask"].astype(np.float32))


def test_a_difference_goes_on_from_its_state() -> None:
    """In another environment that has seen other requests: the same rewards, over episodes that end and begin."""
    settings: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP} | TIGHT
    env, other = (VectorDifferenceToReference(LLMServerVectorEnv(3, **settings)) for _ in range(2))
    env.reset(seed=0)
    other.reset(seed=9)
    rng = np.random.default_rng(0)
    for vector in (env, other):
        for _ in range(STEPS // 2):
            vector.step(np.array([mostly_admit(mask, rng) for mask in vector.unwrapped.action_masks()]))
    other.restore(copy.deepcopy(env.state()))
    num_ended = 0
    for _ in range(STEPS):
        actions = np.array([mostly_admit(mask, rng) for mask in env.unwrapped.action_masks()])
        (seen, rewards, ended, _, infos), found = env.step(actions), other.step(actions)
        np.testing.assert_array_equal(found[0]["waiting"], seen["waiting"])
        np.testing.assert_array_equal(found[1], rewards)
        np.testing.assert_array_equal(found[4]["reference_reward"], infos["reference_reward"])
        num_ended += int(ended.sum())
    assert num_ended >= 3 or not COMPILED


def test_rllib_needs_commands() -> None:
    with pytest.raises(InputError, match="action='command'"):
        RLlibObservation(LLMServerEnv(action="priority"))


def test_rllib_sees_what_other_wrappers_add() -> None:
    env = RLlibObservation(OracleObservation(LLMServerEnv(**TIGHT)))
    assert env.observation_space["observations"].shape == (203 + 16 + 16,)
    assert env.observation_space.contains(env.reset(seed=0)[0])


# Oracle


def test_the_oracle_says_what_a_perfect_predictor_would() -> None:
    env = OracleObservation(LLMServerEnv(predictor="perfect", **TIGHT))
    num_seen = 0
    for observation, _, _ in play(env, 5):
        assert env.observation_space.contains(observation)
        for part in ("waiting", "running"):  # the field predicted_remaining_tokens is the third of either
            assert np.array_equal(observation[f"{part}_true_remaining_tokens"], observation[part][:, 2])
            num_seen += int((observation[part][:, 2] >= 0).sum())
    assert num_seen > NUM


def test_the_oracle_knows_better_than_the_predictor() -> None:
    env = OracleObservation(LLMServerEnv(predictor="lognormal:sigma=1", **TIGHT))
    differ = [
        (seen["waiting_true_remaining_tokens"] != seen["waiting"][:, 2]).any() for seen, _, _ in play(env, 5)
    ]  # fmt: skip
    assert any(differ)
    assert env.metadata["oracle"] is True
    assert "oracle" not in env.unwrapped.metadata


def test_the_oracle_needs_a_dict() -> None:
    with pytest.raises(InputError, match="observation='dict'"):
        OracleObservation(LLMServerEnv(observation="flat"))


# Discount


def test_discounts_are_those_of_the_time_that_passed() -> None:
    steps = play(TimeDiscount(LLMServerEnv(**TIGHT), beta_per_s=0.3), 1)[1:]
    for _, _, info in steps:
        assert info["discount"] == pytest.approx(math.exp(-0.3 * info["dt_s"]), rel=1e-15)
    assert any(info["discount"] < 1 for _, _, info in steps)


@pytest.mark.parametrize("mode", MODES)
def test_discounts_of_a_vector_are_those_of_its_servers(mode: AutoresetMode) -> None:
    """The product of an episode's discounts is that of its whole time, the step in which it ended included."""
    env = VectorTimeDiscount(LLMServerVectorEnv(3, autoreset_mode=mode, **TIGHT), beta_per_s=0.01)
    rng, ended = np.random.default_rng(0), np.zeros(3, np.bool_)
    env.reset(seed=0)
    began_ps = np.array([each.record.clock_ps for each in env.unwrapped.servers.simulators])
    products, num_ended = np.ones(3), 0
    for _ in range(STEPS):
        masks = env.unwrapped.action_masks()
        _, _, terminations, truncations, infos = env.step(np.array([mostly_admit(mask, rng) for mask in masks]))
        assert (infos["discount"][ended] == 1.0).all()
        products *= infos["discount"]
        over = terminations | truncations
        metrics = infos["final_info"]["metrics"] if over.any() and mode == AutoresetMode.SAME_STEP else infos
        metrics = metrics.get("metrics", metrics)
        for place in np.flatnonzero(over):
            whole_s = metrics["duration_s"][place] - began_ps[place] / 1e12
            assert products[place] == pytest.approx(math.exp(-0.01 * whole_s), rel=1e-9)
            products[place] = 1.0
            num_ended += 1
        fresh = over if mode == AutoresetMode.SAME_STEP else ended
        for place in np.flatnonzero(fresh):
            began_ps[place] = env.unwrapped.servers.simulators[place].record.clock_ps
        ended = over & (mode == AutoresetMode.NEXT_STEP)
    assert num_ended >= 2


def test_discounted_returns() -> None:
    rewards, dt_s = np.array([[1.0, 5.0], [2.0, 0.0], [3.0, 7.0]]), np.array([[0.0, 1.0], [2.0, 0.0], [4.0, 3.0]])
    returns = discounted_returns(rewards, dt_s, 0.1, last_value=[10.0, 0.0])
    assert returns[0, 0] == pytest.approx(1 + 2 + math.exp(-0.2) * 3 + math.exp(-0.6) * 10)
    assert returns[0, 1] == pytest.approx(5 + math.exp(-0.1) * 7)
    assert np.array_equal(discounted_returns(rewards[:, 0], dt_s[:, 0], 0.0), [6.0, 5.0, 3.0])
    with pytest.raises(InputError, match="beta_per_s is -1"):
        TimeDiscount(LLMServerEnv(), beta_per_s=-1)


# Difference to a reference


@pytest.mark.parametrize("policy", ["vllm", "sprpt"])
def test_differences_add_up_to_the_difference_of_the_returns(policy: str) -> None:
    reference = make_policy(policy)
    env = DifferenceToReference(LLMServerEnv(reward={"latency": 0.5}, **TIGHT), reference)
    for seed in range(4):
        steps = play(env, seed)
        metrics = steps[-1][2]["metrics"]
        assert metrics["outcome"] == "finished"
        difference = sum(reward for _, reward, _ in steps)
        expected = -0.5 * (metrics["time_in_system_s"] - reference_time_s(env, reference))
        assert difference == pytest.approx(expected, rel=1e-9, abs=1e-7)
        assert expected != 0


def test_a_reference_that_does_the_same_leaves_nothing() -> None:
    """At every step, not only in all: with the whole queue in view the agent is the reference."""
    policy = make_policy("vllm")
    settings = TIGHT | {"window": 64, "running": 256, "decision_interval": 1, "engine": policy}
    env = DifferenceToReference(LLMServerEnv(**settings), policy)
    agent = PolicyAgent(policy, env)
    steps = play(env, 6, lambda mask, rng: agent.act())
    assert steps[-1][2]["metrics"]["num_preemptions"] > 0 or not COMPILED
    for _, reward, _ in steps:
        assert reward == pytest.approx(0.0, abs=1e-9)
    assert sum(info.get("reference_reward", 0.0) for _, _, info in steps) < -1


def test_a_truncated_episode_is_compared_up_to_the_same_time() -> None:
    env = DifferenceToReference(LLMServerEnv(max_decisions=30, **TIGHT))
    steps = play(env, 1)
    clock_ps = env.unwrapped.simulator.record.clock_ps
    requests = env.unwrapped.servers.episode_of[0].requests
    until = simulate(
        Workload("episode", requests),
        policy=Policy("vllm"),
        server=env.unwrapped.config.scenario.server,
        profile=env.unwrapped.config.scenario.profile,
    ).departures
    until = until[until["status"] == Status.FINISHED]
    left_ps = np.minimum(until["finish_ps"], clock_ps) - np.minimum(until["arrival_ps"], clock_ps)
    assert sum(info["reference_reward"] for _, _, info in steps[1:]) == pytest.approx(-left_ps.sum() / 1e12, rel=1e-9)


def test_the_curve_of_a_reference_ends_at_the_kernels_own_integral() -> None:
    env = LLMServerEnv(**TIGHT)
    env.reset(seed=0)
    reference = Reference(env.servers, Policy("vllm"))
    for at in range(3):
        env.reset()
        reference.begin(0, env.servers.episode_of[0])
        late = np.array([10**18], np.int64)
        assert reference.until(late)[0] == pytest.approx(reference.totals[0], rel=1e-12), at


@pytest.mark.parametrize("mode", MODES)
def test_a_vector_differs_as_its_servers_do(mode: AutoresetMode) -> None:
    ours = VectorDifferenceToReference(LLMServerVectorEnv(4, autoreset_mode=mode, copy=False, **TIGHT))
    theirs = gym.vector.SyncVectorEnv([lambda: DifferenceToReference(LLMServerEnv(**TIGHT))] * 4, autoreset_mode=mode)
    rng, num_ended = np.random.default_rng(0), 0
    ours.reset(seed=3)
    theirs.reset(seed=3)
    for _ in range(STEPS):
        actions = np.array([mostly_admit(mask, rng) for mask in ours.unwrapped.action_masks()])
        a, b = ours.step(actions), theirs.step(actions)
        assert a[1] == pytest.approx(b[1], rel=1e-12, abs=1e-12)
        num_ended += int((a[2] | a[3]).sum())
    assert num_ended >= 3


def test_a_difference_can_be_copied_and_pickled() -> None:
    env = DifferenceToReference(LLMServerEnv(**TIGHT))
    env.reset(seed=0)
    env.step(1)
    for other in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        other.step(0)
        other.reset(seed=4)
        env.reset(seed=4)
        assert [other.step(action)[1] for action in (1, 1, 0, 0)] == [env.step(action)[1] for action in (1, 1, 0, 0)]


def test_a_difference_needs_the_latency() -> None:
    with pytest.raises(InputError, match="latency"):
        DifferenceToReference(LLMServerEnv(reward={"finished": 1.0}))
