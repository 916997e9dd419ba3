"""Looking ahead: the peak of memory to come against adding up pass by pass, and how often who holds back is asked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llmqgym.env import LLMServerEnv
from llmqgym.kernel.observe import DEFAULT_WAITING, PLANNING_WAITING, unsquashed

SETTINGS: dict[str, Any] = {"num_requests": 60, "rho": 1.3, "observation": "dict", "window": 6, "running": 40}


def held_in_every_pass(requests: list[Any], size: int) -> NDArray[np.float64]:
    """Blocks held by requests after 1, 2, ... passes, half a block each on top of what they fill."""
    left = [max(math.ceil(each.predicted_output_tokens) - int(each.generated_tokens), 1) for each in requests]
    held = np.zeros(max(left, default=0))
    for each, passes in zip(requests, left, strict=True):
        stored = int(each.prompt_tokens + each.generated_tokens - 1)
        held[:passes] += (stored + np.arange(1, passes + 1)) / size + 0.5
    return held


@pytest.mark.parametrize(
    "settings",
    [
        {"scenario": "kv-bound"},
        {"scenario": "code", "server": {"block_size": 32, "num_kv_blocks": 1500}},
        {"scenario": "kv-bound", "predictor": "refreshing"},
        {"scenario": "kv-bound", "preempt_mode": "hold", "server": {"num_kv_blocks": 300}},
    ],
)
def test_the_peak_is_the_most_that_any_pass_holds(settings: dict[str, Any]) -> None:
    fields = {"waiting_fields": PLANNING_WAITING, "running_fields": ("kv_peak", "kv_held")}
    env = LLMServerEnv(**SETTINGS | fields | settings)
    seen, _ = env.reset(seed=3)
    rng, over, num_checked = np.random.default_rng(3), False, 0
    record = env.simulator.record
    size, blocks = int(record.block_size), int(record.num_kv_blocks)
    while not over and num_checked < 600:
        rows = env.simulator._arrays["requests"]
        running = [rows[row] for row in env.servers.running_rows(0)]
        assert len(running) == record.num_running
        for place, row in enumerate(env.servers.waiting_rows(0)):
            at = np.flatnonzero((seen["waiting"] != -1.0).any(-1))[place]
            wanted = held_in_every_pass([*running, rows[row]], size).max() / blocks
            np.testing.assert_allclose(unsquashed(seen["waiting"][at, -1], 1.0), wanted, rtol=3e-5)
            num_checked += 1
        if running:
            wanted = held_in_every_pass(running, size).max() / blocks
            np.testing.assert_allclose(unsquashed(seen["running"][: len(running), 0], 1.0), wanted, rtol=3e-5)
        action = int(rng.choice(np.flatnonzero(env.action_masks())))
        seen, _, over, _, _ = env.step(action)
    assert num_checked > 100


def test_without_a_limit_there_is_no_share_of_it() -> None:
    env = LLMServerEnv(scenario="chat", num_requests=3, server={"num_kv_blocks": 2**40}, waiting_fields=("kv_peak",))
    seen, _ = env.reset(seed=0)
    assert seen["waiting"][0, 0] == 0.0


def waits(interval: int) -> tuple[list[int], int]:
    """Lets nobody in while somebody runs: iterations between decisions that left somebody waiting and the next ones
    without news, and decisions in all."""
    env = LLMServerEnv(**SETTINGS | {"scenario": "chat", "admission_interval": interval})
    seen, _ = env.reset(seed=1)
    found, over, num = [], False, 0
    while not over:
        mask = env.action_masks()
        holds_back = bool(seen["server"][3] > 0.0)
        before = env.simulator.record
        here = (int(before.num_iterations), int(before.num_waiting), int(before.num_running))
        seen, _, over, _, _ = env.step(0 if holds_back or not mask[1:7].any() else 1 + int(mask[1:7].argmax()))
        num += 1
        after = env.simulator.record
        if holds_back and mask[1:7].any() and here[1:] == (int(after.num_waiting), int(after.num_running)):
            found.append(int(after.num_iterations) - here[0])
    return found, num


def test_who_holds_back_is_asked_again_after_the_interval() -> None:
    every, often = waits(1)
    eighth, seldom = waits(8)
    assert set(every) == {1}
    assert set(eighth) == {8}
    assert often > 4 * seldom


def test_who_lets_everybody_in_meets_the_same_whatever_the_interval() -> None:
    """Nobody was left waiting: whoever can enter at last is told of at once, as after a long prompt."""

    def schedule(interval: int) -> list[tuple[int, float]]:
        settings = {"scenario": "long-context", "waiting_fields": DEFAULT_WAITING, "admission_interval": interval}
        env = LLMServerEnv(**SETTINGS | settings)
        env.reset(seed=2)
        found, over = [], False
        while not over:
            mask = env.action_masks()[1:7]
            action = 1 + int(mask.argmax()) if mask.any() else 0
            _, reward, over, _, _ = env.step(action)
            found.append((action, reward))
        assert any(action > 0 for action, _ in found)
        return found

    assert schedule(1) == schedule(10**6)


def test_who_leaves_a_server_idle_is_asked_again_after_an_idle_step() -> None:
    env = LLMServerEnv(num_requests=1, server={"idle_step_s": 0.25}, admission_interval=64)
    env.reset(seed=0)
    for _ in range(3):
        _, _, over, _, info = env.step(0)
        assert not over
        assert info["dt_s"] == 0.25
        assert info["action_mask"][1] == 1
