"""With the mode of preemption in the action, a command in a mode does what it does where that mode is the only one."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from llmqgym.env import LLMServerEnv
from llmqgym.env.render.words import say
from llmqgym.env.wrappers import RLlibObservation
from llmqgym.kernel.jit import COMPILED
from llmqgym.policy import MODES, Policy

NUM, STEPS, RUNNING = (80, 3000, 12) if COMPILED else (15, 150, 12)
TIGHT: dict[str, Any] = {"num_kv_blocks": 400, "max_running": 12, "host_kv_blocks": 120}


def choose(env: LLMServerEnv, rng: np.random.Generator) -> int:
    """A random command that is allowed, mostly an admission."""
    allowed = np.flatnonzero(env.action_masks())
    wanted = allowed[(allowed > 0) & (allowed <= env.config.window)]
    return int(rng.choice(wanted if len(wanted) and rng.random() < 0.8 else allowed))


def in_mode(env: LLMServerEnv, command: int, mode: str) -> int:
    """The number by which `env` preempts in a mode the request that a single mode's `command` names."""
    modes, first = env.config.preempt_modes, 1 + env.config.window
    return command if command < first else command + modes.index(mode) * env.config.running


@pytest.mark.parametrize("shortage", ["engine", "agent"])
@pytest.mark.parametrize("mode", MODES)
def test_a_command_in_a_mode_is_that_of_the_mode_alone(mode: str, shortage: str) -> None:
    """Of an engine, too, whose victims leave in that mode; swap without host memory recomputes, there by command."""
    engine = Policy("vllm") if mode == "hold" else Policy("vllm", victim_mode=mode)
    settings: dict[str, Any] = {
        "num_requests": NUM, "running": RUNNING, "shortage": shortage, "engine": engine, "server": TIGHT, "rho": 1.5,
    }  # fmt: skip
    one, many = LLMServerEnv(preempt_mode=mode, **settings), LLMServerEnv(preempt_mode="any", **settings)
    assert many.action_space.n == 1 + 16 + 4 * RUNNING == one.action_space.n + 3 * RUNNING
    rng, num_left, num_full = np.random.default_rng(0), 0, 0
    ours, theirs = many.reset(seed=0)[0], one.reset(seed=0)[0]
    for _ in range(STEPS):
        assert all(ours[part].tobytes() == theirs[part].tobytes() for part in ("server", "waiting", "running"))
        command = choose(one, rng)
        told = in_mode(many, command, "recompute" if mode == "hold" and not one.action_masks()[0] else mode)
        if not many.action_masks()[told]:
            assert mode == "swap"
            told, num_full = in_mode(many, command, "recompute"), num_full + 1
        num_left += command > one.config.window
        ours, *mine = many.step(told)
        theirs, *given = one.step(command)
        assert not given[-1]["invalid_action"]
        assert mine[:3] == given[:3]
        assert mine[3]["terms"] == given[3]["terms"]
        if mine[1]:
            assert mine[3]["metrics"] == given[3]["metrics"]
            ours, theirs = many.reset()[0], one.reset()[0]
    assert num_left > 0 or not COMPILED
    assert num_full > 0 or mode != "swap" or not COMPILED
    assert np.array_equal(many.simulator.record.num_preemptions, one.simulator.record.num_preemptions)


@pytest.mark.parametrize("modes", [("hold", "restart"), ("swap", "recompute", "hold")], ids=str)
def test_modes_stand_in_the_order_in_which_they_are_given(modes: tuple[str, ...]) -> None:
    env = LLMServerEnv(num_requests=NUM, running=RUNNING, server=TIGHT, rho=1.5, preempt_mode=modes)
    rng, left = np.random.default_rng(1), dict.fromkeys(modes, 0)
    env.reset(seed=1)
    for _ in range(STEPS):
        command = choose(env, rng)
        before = env.simulator.record.num_preemptions.copy()
        _, _, over, _, _ = env.step(command)
        if command > env.config.window:
            mode = modes[(command - 1 - env.config.window) // RUNNING]
            before[MODES[mode]] += 1
            left[mode] += 1
            assert np.array_equal(env.simulator.record.num_preemptions, before)
        if over:
            env.reset()
    assert all(left.values()) or not COMPILED


def test_words_say_the_mode() -> None:
    env = LLMServerEnv(num_requests=NUM, running=2, server=TIGHT, rho=1.5, preempt_mode=("hold", "swap"))
    env.reset(seed=0)
    env.step(1)
    env.step(0)
    first = 1 + env.config.window
    who = env.simulator.request(env.servers.running_rows(0)[0]).id
    assert env.action_masks()[[first, first + 2]].all()
    assert say(env.servers, 0, first) == f"preempt {who} by hold"
    assert say(env.servers, 0, first + 2) == f"preempt {who} by swap"
    assert say(env.servers, 0, first + 3) == "preempt nobody by swap (masked)"
    assert say(env.servers, 0, first + 4) == f"{first + 4}, which is no command"
    assert RLlibObservation(env).observation_space["action_mask"].shape == (first + 4,)


def test_a_single_mode_may_be_given_as_one_of_a_list() -> None:
    by_name, by_list = (
        LLMServerEnv(num_requests=3, preempt_mode="swap"),
        LLMServerEnv(num_requests=3, preempt_mode=["swap"]),
    )
    assert by_name.config.preempt_modes == by_list.config.preempt_modes == ("swap",)
    assert dataclasses.replace(by_list.config, preempt_mode="any").num_actions == 1 + 16 + 4 * 16
