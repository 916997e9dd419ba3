"""Decisions a second of the environment, through Python's `step()`, beside Gymnasium's own in the same run.

    python benchmarks/env_speed.py [--markdown docs/results.md]

The agent admits the oldest waiting request whenever it may, and else runs; scenario chat. Processor time of `step()`
alone, the best of some rounds taken in turn; autoreset included.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from results_page import put_section, table

import llmqgym  # noqa: F401 - registers its environments
from llmqgym.env import LLMServerVectorEnv

ROUNDS, STEPS = 5, 400
COLUMNS = ("environment", "servers", "floats", "million decisions/s", "iterations a decision", "share of runs")
SINGLE = ("environment, with Gymnasium's wrappers", "us a step", "of CartPole's")


def timed(step: Callable[[], Any], steps: int) -> float:
    """Seconds of processor time a step."""
    began = time.process_time()
    for _ in range(steps):
        step()
    return (time.process_time() - began) / steps


class OldestFirst:
    """Steps of a vector environment, whose actions are worked out beside the clock."""

    def __init__(self, num: int, **settings: Any) -> None:
        self.env = LLMServerVectorEnv(num, observation="flat", copy=False, **settings)
        _, self.info = self.env.reset(seed=0)
        self.num_runs = self.num_steps = 0
        for _ in range(300):
            self.step()
        self.first = self.iterations()
        self.num_runs = self.num_steps = 0

    def iterations(self) -> int:
        return sum(int(each.record.num_iterations) for each in self.env.servers.simulators)

    def step(self) -> float:
        """One step of all; seconds."""
        actions = self.info["action_mask"][:, 1].astype(np.int64)
        self.num_runs += int((actions == 0).sum())
        self.num_steps += len(actions)
        began = time.process_time()
        *_, self.info = self.env.step(actions)
        return time.process_time() - began

    def round(self) -> float:
        """Decisions a second."""
        return len(self.env.servers) * STEPS / sum(self.step() for _ in range(STEPS))


def vectors() -> list[tuple[str, ...]]:
    """The rows of the vector environments."""
    sizes = [(256, 16, 16), (1024, 16, 16), (256, 32, 64)]
    # Long episodes: none ends on the way, so that iterations can be counted.
    ours = [OldestFirst(num, window=k, running=b, num_requests=5000) for num, k, b in sizes]
    cartpole = gym.make_vec("CartPole-v1", num_envs=64, vectorization_mode="vector_entry_point")
    cartpole.reset(seed=0)
    actions = cartpole.action_space.sample()
    best, best_cartpole = [0.0] * len(ours), 0.0
    for _ in range(ROUNDS):
        for place, each in enumerate(ours):
            best[place] = max(best[place], each.round())
        best_cartpole = max(best_cartpole, 64 / timed(lambda: cartpole.step(actions), STEPS))
    rows = []
    for (num, k, b), each, rate in zip(sizes, ours, best, strict=True):
        iterations = (each.iterations() - each.first) / each.num_steps
        floats = each.env.servers.observations.shape[1]
        share = f"{each.num_runs / each.num_steps:.2f}"
        rows.append((f"llmqgym, K={k}, B={b}", f"{num}", f"{floats}", f"{rate / 1e6:.2f}", f"{iterations:.2f}", share))
    return [*rows, ("CartPoleVectorEnv", "64", "4", f"{best_cartpole / 1e6:.2f}", "", "")]


def singles() -> list[tuple[str, ...]]:
    """The rows of single environments."""
    steps: dict[str, Callable[[], float]] = {}
    for name, settings in (("flat", {"observation": "flat"}), ("dict", {})):
        steps[f"llmqgym, {name}"] = _single(gym.make("llmqgym/LLMServerChat-v0", num_requests=5000, **settings))
    cartpole = gym.make("CartPole-v1")
    cartpole.reset(seed=0)

    def balance() -> float:
        def step() -> None:
            _, _, terminated, truncated, _ = cartpole.step(1)
            if terminated or truncated:
                cartpole.reset()

        return timed(step, 10 * STEPS)

    steps["CartPole-v1"] = balance
    best = dict.fromkeys(steps, float("inf"))
    for _ in range(ROUNDS):
        for name, measure in steps.items():
            best[name] = min(best[name], measure())
    return [(name, f"{1e6 * best[name]:.2f}", f"{best[name] / best['CartPole-v1']:.2f}") for name in steps]


def _single(env: Any) -> Callable[[], float]:
    _, info = env.reset(seed=0)
    state = {"info": info}

    def step() -> None:
        *_, state["info"] = env.step(int(state["info"]["action_mask"][1]))

    return lambda: timed(step, 4 * STEPS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, help="write the section into this page")
    page = parser.parse_args().markdown
    lines = [
        f"`python benchmarks/env_speed.py`, on {platform.machine()}, one core: scenario chat, the oldest is admitted",
        "whenever it may be, else the iteration runs. Processor time, the best of five rounds taken in turn.",
        "",
        *table(COLUMNS, vectors()),
        "",
        *table(SINGLE, singles()),
    ]
    print("\n".join(lines))
    if page is not None:
        put_section(page, "The environment's speed", "\n".join(lines))


if __name__ == "__main__":
    main()
