"""A policy on nothing but observations makes the kernel's schedule, and says what it cannot see."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from env.test_policy_agent import FAST, NUM, TIGHT, departures, inside_the_kernel, settings_for
from hypothesis import given
from hypothesis import strategies as st

from baselines.registry import POLICIES, make_policy
from llmqgym.env import LLMServerEnv, ObservedPolicy, PolicyAgent
from llmqgym.env.wrappers import OracleObservation
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.observe import REQUEST_FIELDS, unsquashed
from llmqgym.policy import Policy
from llmqgym.scenario import load_scenario
from llmqgym.simulator import Simulator

#: Every field that a policy asks for; more than the default ones.
FIELDS: dict[str, Any] = {
    "waiting_fields": ("prompt_tokens", "generated_tokens", "predicted_remaining_tokens", "age_s", "computed_tokens"),
    "running_fields": ("prompt_tokens", "generated_tokens", "predicted_remaining_tokens", "age_s", "kv_held"),
}
#: Policies that can act on nothing but observations: the others remember, draw by id, or ask for limits that were met.
ACTING = {
    "vllm", "vllm-priority", "vllm-v0", "prefill-first", "orca", "orca-vidur", "static", "ft-rounds", "ft-vidur",
    "sarathi", "fcfs", "trt-no-evict", "trt-max-utilization", "sjf", "spjf", "psjf", "pspjf", "spt", "srpt", "sprpt",
    "sprpt-bounce", "trail", "skip-predict", "gamma-boost", "gamma-boost-true", "gittins", "las", "mc-sf", "mc-sf-true",
    "mc-benchmark", "volume-sf", "volume-sf-true", "a-max", "reserve", "evict-restart", "paced", "flow-control",
    "multi-bin",
}  # fmt: skip


def in_sight(policy: Policy, **settings: Any) -> dict[str, Any]:
    """As `settings_for`, with as many running requests shown as there can be."""
    return settings_for(policy, running=TIGHT["max_running"], **settings)


def by_observation(
    policy: Policy, settings: dict[str, Any], seed: int, observation: str = "dict"
) -> tuple[Simulator, list[int]]:
    """The server after an episode, and the commands."""
    env: Any = LLMServerEnv(observation=observation, **settings)
    if policy.oracle:
        env = OracleObservation(env)
    seen, info = env.reset(seed=seed)
    agent, commands, over = ObservedPolicy(policy, env.unwrapped.config), [], False
    while not over:
        commands.append(agent.act(seen) if observation == "dict" else agent.act(seen, info["action_mask"]))
        seen, _, terminated, truncated, info = env.step(commands[-1])
        assert not info["invalid_action"]
        over = terminated or truncated
    return env.unwrapped.simulator, commands


@pytest.mark.parametrize("predictor", ["perfect", "lognormal:sigma=1,missing=0.1"])
@pytest.mark.parametrize(
    "spec",
    [
        "fcfs",
        "spjf",
        "sjf",
        "volume-sf",
        "volume-sf-true",
        "mc-sf:miss=skip",
        "pspjf",
        "sprpt",
        "srpt",
        "sprpt:mode=restart",
    ],
)
def test_the_schedule_is_the_kernels(spec: str, predictor: str) -> None:
    """Keys here are predictions, ages and whole numbers: none of them come close enough to be one in single
    precision."""
    policy = make_policy(spec)
    settings = in_sight(policy, predictor=predictor)
    ours, commands = by_observation(policy, settings, 0)
    assert departures(ours) == departures(inside_the_kernel(policy, settings, 0))
    if policy.preempt is not None and COMPILED:
        assert max(commands) > settings["window"]


@pytest.mark.parametrize("mode", ["swap", "hold"])
def test_those_who_keep_their_tokens_need_more_fields(mode: str) -> None:
    policy = make_policy(f"sprpt:mode={mode}")
    settings = in_sight(policy, predictor="perfect")
    with pytest.raises(InputError, match=r"computed_tokens of a waiting request.*add it to waiting_fields"):
        by_observation(policy, settings, 0)
    settings |= {"waiting_fields": (*FIELDS["waiting_fields"], "kv_held")}
    ours, _ = by_observation(policy, settings, 0)
    assert departures(ours) == departures(inside_the_kernel(policy, settings, 0))
    assert ours.record.num_preemptions.sum() > 0 or not COMPILED


def test_flat_observations_say_the_same() -> None:
    policy = make_policy("sprpt")
    settings = in_sight(policy)
    assert by_observation(policy, settings, 2)[1] == by_observation(policy, settings, 2, "flat")[1]


def test_a_fit_may_be_asked_here() -> None:
    """The peak test of MC-SF walks the running batch, out of the numbers of the observation; the gate of vLLM, in the
    mask, is looser where whole prompts must fit."""
    policy = make_policy("mc-sf")
    bare = dataclasses.replace(policy, name="bare", fit=None)
    settings = in_sight(policy, predictor="perfect", **FIELDS)
    _, commands = by_observation(policy, settings, 0)
    assert by_observation(policy, settings | {"engine": bare}, 0)[1] == commands
    assert by_observation(bare, settings | {"engine": bare}, 0)[1] != commands or not COMPILED
    with pytest.raises(InputError, match=r"prompt_tokens of a running request.*add it to running_fields"):
        by_observation(policy, in_sight(policy, engine=bare), 0)
    with pytest.raises(InputError, match=r"whole running batch, \d+ requests, and 1 are shown"):
        by_observation(policy, settings | {"engine": bare, "running": 1}, 0)


def test_arrival_is_told_by_age_where_places_do_not_tell_it() -> None:
    """The default window shows the shortest beside the oldest."""
    policy = make_policy("fcfs")
    settings = in_sight(policy, window=8, oldest=2)
    assert departures(by_observation(policy, settings, 0)[0]) == departures(inside_the_kernel(policy, settings, 0))
    with pytest.raises(InputError, match="needs the field 'age_s'"):
        by_observation(policy, settings | {"waiting_fields": ("prompt_tokens",)}, 0)


def test_modes_are_commands_too() -> None:
    """With several modes a full host memory is seen in the mask, and the policy's swap becomes a recompute."""
    policy = make_policy("sprpt:mode=swap")
    fields = {"waiting_fields": (*FIELDS["waiting_fields"], "kv_held")}
    settings = in_sight(policy, predictor="perfect", server=TIGHT | {"host_kv_blocks": 30}, **fields)
    expected = departures(inside_the_kernel(policy, settings, 0))
    settings |= {"preempt_mode": ("hold", "recompute", "swap")}
    ours, _ = by_observation(policy, settings, 0)
    assert departures(ours) == expected
    env = LLMServerEnv(**settings)
    env.reset(seed=0)
    agent, over = PolicyAgent(policy, env), False
    while not over:
        _, _, over, _, info = env.step(agent.act())
        assert not info["invalid_action"]
    assert departures(env.simulator) == expected
    assert (ours.record.num_preemptions[[0, 2]] > 0).all() or not COMPILED
    with pytest.raises(InputError, match="add 'recompute'"):
        ObservedPolicy(policy, LLMServerEnv(**settings | {"preempt_mode": ("hold", "swap")}).config)


@pytest.mark.slow
@pytest.mark.parametrize("spec", POLICIES)
def test_every_policy_acts_or_says_why_not(spec: str) -> None:
    """Nothing is guessed: where a policy can act at all on all fields, the schedule is the kernel's."""
    policy = make_policy(spec)
    every = tuple(field.name for field in REQUEST_FIELDS)
    settings = in_sight(policy, predictor="perfect", waiting_fields=every, running_fields=every)
    if spec not in ACTING:
        with pytest.raises(InputError, match=r"PolicyAgent|no longer tells"):
            by_observation(policy, settings, 0)
        return
    ours, _ = by_observation(policy, settings, 0)
    assert departures(ours) == departures(inside_the_kernel(policy, settings, 0))


@pytest.mark.parametrize(
    ("policy", "settings", "message"),
    [
        (make_policy("sprpt"), {"engine": Policy("vllm")}, "victim of policy 'sprpt'.*engine=policy"),
        (make_policy("srpt"), {}, "OracleObservation"),
        (make_policy("sorted-f"), {}, "arrive, admitted, preempted, begin.*PolicyAgent"),
        (make_policy("sprpt"), {"running_fields": ("kv_held",)}, "add it to running_fields"),
        (make_policy("sprpt"), {"server": {"prefix_caching": True}}, "prefix_caching=false"),
        (make_policy("sprpt"), {"randomise": {"num_kv_blocks": [400]}}, "leave that out of randomise"),
        (make_policy("spjf"), {"action": "priority"}, "action='command'"),
        (Policy("id", order=lambda request, server: request.id), {}, "id of a waiting request, which no"),
        (Policy("load", order=lambda request, server: server.num_running), {}, "num_running of the server, as it was"),
        (Policy("urgent", order=lambda request, server: request.priority), {}, "'priority': add it to waiting_fields"),
        (make_policy("spt"), {"predictor": "refreshing"}, "the latest prediction only"),
    ],
    ids=lambda value: value.name if isinstance(value, Policy) else None,
)
def test_what_is_not_seen_is_said(policy: Policy, settings: dict[str, Any], message: str) -> None:
    env = LLMServerEnv(**{"engine": policy, "num_requests": NUM, "scenario": FAST, "server": TIGHT, **settings})
    seen, _ = env.reset(seed=0)
    with pytest.raises(InputError, match=message):
        act_until_over(policy, env, seen)


def act_until_over(policy: Policy, env: LLMServerEnv, seen: Any) -> None:
    agent, over = ObservedPolicy(policy, env.config), False
    while not over:
        seen, _, over, _, _ = env.step(agent.act(seen))


def test_observations_of_other_environments_are_refused() -> None:
    policy = Policy("fcfs")
    agent = ObservedPolicy(policy, LLMServerEnv(num_requests=2).config)
    other = LLMServerEnv(num_requests=2, window=4, observation="dict")
    with pytest.raises(InputError, match=r"waiting of the observation is \(4, 6\), and \(16, 6\)"):
        agent.act(other.reset(seed=0)[0])
    flat = LLMServerEnv(num_requests=2, observation="flat").reset(seed=0)[0]
    with pytest.raises(InputError, match=r"act\(observation, action_mask\)"):
        agent.act(flat)


def test_a_smaller_window_finds_the_shortest_all_the_same() -> None:
    """The window's second part is the shortest by the engine's ORDER: non-preemptive policies lose nothing."""
    policy = make_policy("spjf")
    settings = in_sight(policy, window=1, oldest=0)
    assert departures(by_observation(policy, settings, 3)[0]) == departures(inside_the_kernel(policy, settings, 3))


def test_an_agent_of_several_episodes_forgets() -> None:
    policy = make_policy("sprpt")
    env = LLMServerEnv(**in_sight(policy))
    agent = ObservedPolicy(policy, env.config)
    played = []
    for _ in range(2):
        agent.reset()
        seen, _ = env.reset(seed=4)
        commands = []
        for _ in range(50):
            commands.append(agent.act(seen))
            seen, *_ = env.step(commands[-1])
        played.append(commands)
    assert played[0] == played[1]


@given(x=st.integers(0, 60_000), scale=st.sampled_from([32.0, 256.0, 512.0, 1024.0]))
def test_counts_come_back_exactly(x: int, scale: float) -> None:
    if (x + scale) ** 2 < 2**24 * scale:  # where neighbours differ by more than a rounding
        shown = np.float32(x) / (np.float32(x) + np.float32(scale))
        assert float(unsquashed(shown, scale)) == x


@given(x=st.floats(-200, 1e4), scale=st.sampled_from([10.0, 256.0]))
def test_amounts_come_back_up_to_rounding(x: float, scale: float) -> None:
    shown = np.float32(x) / (abs(np.float32(x)) + np.float32(scale))
    found = float(unsquashed(shown, scale))
    assert math.isclose(found, x, rel_tol=0, abs_tol=2.0**-22 * (abs(x) + scale) ** 2 / scale)
    assert np.float32(found) / (abs(np.float32(found)) + np.float32(scale)) == pytest.approx(shown, rel=2e-7)


def test_the_chat_scenario_is_served_as_the_kernel_does() -> None:
    """The shipped server, which is not short of anything most of the time."""
    policy = make_policy("sprpt")
    settings: dict[str, Any] = {
        "engine": policy, "num_requests": NUM, "scenario": load_scenario("chat"), "window": NUM, "running": 256,
        "decision_interval": 1,
    }  # fmt: skip
    assert departures(by_observation(policy, settings, 0)[0]) == departures(inside_the_kernel(policy, settings, 0))
