"""A policy through the environment makes the schedule that it makes inside the kernel, bit for bit."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from gymnasium.utils import seeding

from baselines.registry import POLICIES, make_policy
from llmqgym.env import LLMServerEnv, PolicyAgent
from llmqgym.env.config import make_config
from llmqgym.env.episodes import Episodes
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.policy import Policy
from llmqgym.scenario import load_scenario
from llmqgym.simulator import Simulator

NUM = 60 if COMPILED else 15
#: Fits of blocks, slots and tokens in turn.
TIGHT = {"num_kv_blocks": 500, "max_running": 12, "max_batched_tokens": 512}
#: More than it can bear, at a stated rate: a load would have to be worked out first.
FAST = load_scenario("chat")
FAST = dataclasses.replace(FAST, workload=dataclasses.replace(FAST.workload, rho=None, rate_per_s=9.0))
SPECS = (
    *POLICIES, "sprpt:mode=swap", "las:quantum=16,mode=swap", "mc-benchmark:miss=skip", "one-bit:front=false",
    "trail:c=0.5",
)  # fmt: skip


def settings_for(policy: Policy, **settings: Any) -> dict[str, Any]:
    """An environment in which nothing is out of the policy's sight."""
    return {
        "engine": policy, "preempt_mode": policy.preempt_mode, "window": NUM, "running": NUM, "decision_interval": 1,
        "num_requests": NUM, "scenario": FAST, "server": TIGHT, **settings,
    }  # fmt: skip


def departures(simulator: Simulator) -> list[str]:
    return sorted(map(str, simulator.departures().tolist()))


def through_the_environment(policy: Policy, settings: dict[str, Any], seed: int) -> tuple[Simulator, float]:
    """The server after an episode, and the return."""
    env = LLMServerEnv(**settings)
    env.reset(seed=seed)
    agent, total, over = PolicyAgent(policy, env), 0.0, False
    while not over:
        _, reward, terminated, truncated, info = env.step(agent.act())
        assert not info["invalid_action"]
        total, over = total + reward, terminated or truncated
    return env.simulator, total


def inside_the_kernel(policy: Policy, settings: dict[str, Any], seed: int) -> Simulator:
    """The same requests, by the policy's own loop."""
    config = make_config(**settings)
    episodes = Episodes(config)
    episode = episodes.draw(seeding.np_random(seed)[0])
    server = dataclasses.replace(config.scenario.server, num_kv_blocks=None)
    simulator = Simulator(server, episode.profile, policy, until_ps=config.until_ps)
    simulator.run(iter([episode.requests]))
    return simulator


@pytest.mark.parametrize("spec", SPECS)
def test_the_schedule_is_the_kernels(spec: str) -> None:
    policy = make_policy(spec)
    settings = settings_for(policy)
    ours, total = through_the_environment(policy, settings, 0)
    theirs = inside_the_kernel(policy, settings, 0)
    assert departures(ours) == departures(theirs)
    totals, expected = (dataclasses.replace(each.totals(), num_events=0, outcome="") for each in (ours, theirs))
    assert totals == expected
    assert total == pytest.approx(-expected.integral_requests / 1e12, rel=1e-9)


def test_a_small_window_costs_what_it_hides() -> None:
    """First come first served needs one place; shortest first with some of the queue out of sight still finds them."""
    fcfs = make_policy("fcfs")
    ours, _ = through_the_environment(fcfs, settings_for(fcfs, window=1, oldest=1, running=1), 3)
    assert departures(ours) == departures(inside_the_kernel(fcfs, settings_for(fcfs), 3))
    spjf = make_policy("spjf")
    shortest, _ = through_the_environment(spjf, settings_for(spjf, window=1, oldest=0, running=1), 3)
    assert departures(shortest) == departures(inside_the_kernel(spjf, settings_for(spjf), 3))


def test_wrong_environments_are_refused() -> None:
    policy = make_policy("srpt")
    with pytest.raises(InputError, match="engine is not 'srpt'"):
        PolicyAgent(policy, LLMServerEnv())
    with pytest.raises(InputError, match="action='command'"):
        PolicyAgent(policy, LLMServerEnv(engine=policy, action="priority"))
    swapping = LLMServerEnv(engine=make_policy("sprpt:mode=swap"))
    with pytest.raises(InputError, match="preempts by swap"):
        PolicyAgent(make_policy("sprpt:mode=swap"), swapping)
