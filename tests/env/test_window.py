"""The window and the mask, against their definitions: worked out anew from all requests in the system."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from llmqgym.env import LLMServerEnv
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.tables import Deciding, Status

NUM, STEPS = (150, 1500) if COMPILED else (20, 80)


def blocks(tokens: int, size: int) -> int:
    return -(-tokens // size)


def check_window(env: LLMServerEnv) -> None:
    """The oldest, then the shortest of the others; the last admitted; sums over who is not shown."""
    simulator, agent = env.simulator, env.servers.agents[0]
    requests = simulator._arrays["requests"]
    waiting = [request for request in requests if request.status == Status.WAITING]
    by_age = sorted(waiting, key=lambda request: request.id)
    oldest, others = by_age[: env.config.oldest], by_age[env.config.oldest :]

    def key(request: Any) -> tuple[float, int]:
        predicted = request.predicted_output_tokens
        return (math.inf if math.isnan(predicted) else predicted, request.id)

    by_length = sorted(others, key=key)
    room = env.config.window - env.config.oldest
    expected = [request.id for request in oldest + by_length[:room]]
    assert [int(requests[row].id) for row in env.servers.waiting_rows(0)] == expected
    unseen = by_length[room:]
    assert agent.num_unseen == len(unseen)
    assert agent.unseen_prompt_tokens == sum(request.prompt_tokens for request in unseen)
    running = [request for request in requests if request.status == Status.RUNNING]
    running.sort(key=lambda request: -request.admit_seq)
    shown = [int(requests[row].id) for row in env.servers.running_rows(0)]
    assert shown == [request.id for request in running[: env.config.running]]


def check_mask(env: LLMServerEnv) -> None:
    """vLLM's gate, request by request; nobody in after a shortage; newcomers stay."""
    record, mask = env.simulator.record, env.servers.masks[0]
    size = int(record.block_size)
    may = record.deciding == Deciding.OPEN and not record.shortage
    may = may and record.budget_tokens > 0 and record.num_running < record.max_running
    for place, row in enumerate(env.servers.waiting_rows(0)):
        request = env.simulator.request(row)
        needed = blocks(int(request.prompt_tokens + request.generated_tokens), size) - request.kv_blocks
        barred = env.simulator.hidden(row).barred == record.num_events
        assert mask[1 + place] == (may and not barred and needed <= record.free_kv_blocks)
    for place, row in enumerate(env.servers.running_rows(0)):
        request = env.simulator.request(row)
        short = record.deciding == Deciding.SHORT
        leaves = short or request.admit_seq < record.first_new_seq
        for number, mode in enumerate(env.config.preempt_modes):
            can = leaves
            if len(env.config.preempt_modes) > 1 and mode == "hold":
                can = leaves and not short
            if len(env.config.preempt_modes) > 1 and mode == "swap":
                can = leaves and blocks(int(request.computed_tokens), size) <= record.free_host_blocks
            assert mask[1 + env.config.window + number * env.config.running + place] == can, mode
    shown = len(env.servers.running_rows(0))
    assert not mask[1 + len(env.servers.waiting_rows(0)) : 1 + env.config.window].any()
    assert not mask[1 + env.config.window :].reshape(-1, env.config.running)[:, shown:].any()


@pytest.mark.parametrize("mode", ["recompute", ("swap", "recompute", "hold")], ids=str)
@pytest.mark.parametrize("shortage", ["engine", "agent"])
@pytest.mark.parametrize(("window", "oldest", "running"), [(6, 3, 4), (5, 0, 1), (4, 4, 40), (1, 1, 2)])
def test_window_and_mask(window: int, oldest: int, running: int, shortage: str, mode: Any) -> None:
    env = LLMServerEnv(
        num_requests=NUM, window=window, oldest=oldest, running=running, shortage=shortage, preempt_mode=mode,
        server={"num_kv_blocks": 400, "max_running": 12, "host_kv_blocks": 60}, rho=1.5,
        predictor="lognormal:sigma=1,missing=0.2",
    )  # fmt: skip
    rng = np.random.default_rng(window)
    _, info = env.reset(seed=window)
    unseen = short = 0
    for _ in range(STEPS):
        check_window(env)
        check_mask(env)
        unseen += int(env.servers.agents[0].num_unseen > 0)
        short += int(env.simulator.record.deciding == Deciding.SHORT)
        allowed = np.flatnonzero(info["action_mask"])
        likely = allowed[(allowed > 0) & (allowed <= window)] if rng.random() < 0.8 else allowed
        _, _, terminated, _, info = env.step(rng.choice(likely if len(likely) else allowed))
        if terminated:
            _, info = env.reset()
    assert unseen > 0
    assert (short > 0) == (shortage == "agent") or not COMPILED


@pytest.mark.parametrize("miss", ["stop", "skip"])
def test_the_window_where_scores_decide(miss: str) -> None:
    """Whoever is displaced comes into the window, and may push out of it the one who is let in."""
    env = LLMServerEnv(
        action="priority", miss=miss, num_requests=NUM, window=4, oldest=2, running=6, rho=1.5,
        server={"num_kv_blocks": 400, "max_running": 12},
    )  # fmt: skip
    rng = np.random.default_rng(0)
    env.reset(seed=3)
    for _ in range(STEPS):
        check_window(env)
        _, _, terminated, _, _ = env.step(rng.uniform(-1, 1, 10).astype(np.float32))
        if terminated:
            env.reset()
    assert sum(env.simulator.record.num_preemptions) > 0 or not COMPILED
