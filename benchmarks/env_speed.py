"""Decisions a second of the environment, through Python's `step()`, beside Gymnasium's own in the same run.

    python benchmarks/env_speed.py [--envpool PYTHON] [--markdown docs/results.md]

The agent admits the oldest waiting request whenever it may, and else runs; scenario chat. Processor time of `step()`
alone, the best of many short rounds taken in turn; autoreset included. Besides the compiled step is held against its
twin in C (env_twin.py), and a reset is timed. `--envpool` names the interpreter of a virtual environment of its own
with envpool in it (`pip install envpool`), whose CartPole then has a row; it works in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import env_twin
import gymnasium as gym
import numpy as np
from results_page import put_section, table

import llmqgym  # noqa: F401 - registers its environments
from llmqgym.env import LLMServerVectorEnv

ROUNDS, STEPS = 40, 50
COLUMNS = ("environment", "servers", "floats", "million decisions/s", "iterations a decision", "share of runs")
SINGLE = ("environment, with Gymnasium's wrappers", "us a step", "of CartPole's")
RESETS = ("requests an episode", "us a reset")
ENVPOOL_SERVERS = 64
#: What the other interpreter runs for each line that it reads: steps of CartPole, and their seconds, of processor time
#: (in which a thread waits for the other) or by the clock, whichever is less.
ENVPOOL = """
import sys, time
import envpool, numpy as np
env = envpool.make("CartPole-v1", env_type="gymnasium", num_envs={num}, num_threads=1)
env.reset()
actions = np.ones({num}, np.int32)
print("ready", flush=True)
for line in sys.stdin:
    began, began_cpu = time.perf_counter(), time.process_time()
    for _ in range({steps}):
        env.step(actions)
    print(min(time.perf_counter() - began, time.process_time() - began_cpu) / {steps}, flush=True)
"""


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


class Envpool:
    """Rounds of envpool's CartPole in another interpreter; None: it has no row."""

    def __init__(self, python: str | None) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.best = 0.0
        if python is not None:
            code = ENVPOOL.format(num=ENVPOOL_SERVERS, steps=STEPS)
            command = [python, "-W", "ignore", "-c", code]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self._read()

    def _read(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the interpreter given by --envpool could not run envpool: see above.")
        return line

    def round(self) -> None:
        """One more."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write("go\n")
            self._process.stdin.flush()
            self.best = max(self.best, ENVPOOL_SERVERS / float(self._read()))

    def rows(self) -> list[tuple[str, ...]]:
        """At most one; ends the process."""
        if self._process is None:
            return []
        self._process.communicate()
        return [("envpool's CartPole, one thread", f"{ENVPOOL_SERVERS}", "4", f"{self.best / 1e6:.2f}", "", "")]


def vectors(envpool: Envpool) -> list[tuple[str, ...]]:
    """The rows of the vector environments."""
    sizes = [(64, 16, 16), (256, 16, 16), (1024, 16, 16), (256, 32, 64)]
    # Long episodes: none ends on the way, so that iterations can be counted.
    ours = [OldestFirst(num, window=k, running=b, num_requests=2000) for num, k, b in sizes]
    cartpole = gym.make_vec("CartPole-v1", num_envs=64, vectorization_mode="vector_entry_point")
    cartpole.reset(seed=0)
    actions = cartpole.action_space.sample()
    best, best_cartpole = [0.0] * len(ours), 0.0
    for _ in range(ROUNDS):
        for place, each in enumerate(ours):
            best[place] = max(best[place], each.round())
        best_cartpole = max(best_cartpole, 64 / timed(lambda: cartpole.step(actions), STEPS))
        envpool.round()
    rows = []
    for (num, k, b), each, rate in zip(sizes, ours, best, strict=True):
        iterations = (each.iterations() - each.first) / each.num_steps
        floats = each.env.servers.observations.shape[1]
        share = f"{each.num_runs / each.num_steps:.2f}"
        rows.append((f"llmqgym, K={k}, B={b}", f"{num}", f"{floats}", f"{rate / 1e6:.2f}", f"{iterations:.2f}", share))
    return [*rows, ("CartPoleVectorEnv", "64", "4", f"{best_cartpole / 1e6:.2f}", "", ""), *envpool.rows()]


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


def resets() -> list[tuple[str, ...]]:
    """What it takes to begin an episode on one server of a vector: its requests, the server, the first decision."""
    rows = []
    for num_requests in (100, 1000):
        servers = env_twin.make_servers(16, num_requests)
        rng = np.random.default_rng(0)
        best = min(timed(lambda: servers.begin(0, rng), 10) for _ in range(5 * ROUNDS))  # noqa: B023 - called at once
        rows.append((f"{num_requests:,}", f"{1e6 * best:.0f}"))
    return rows


def _single(env: Any) -> Callable[[], float]:
    _, info = env.reset(seed=0)
    state = {"info": info}

    def step() -> None:
        *_, state["info"] = env.step(int(state["info"]["action_mask"][1]))

    return lambda: timed(step, 4 * STEPS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, help="write the section into this page")
    parser.add_argument("--envpool", metavar="PYTHON", help="interpreter of a virtual environment with envpool")
    args = parser.parse_args()
    page = args.markdown
    lines = [
        f"`python benchmarks/env_speed.py`, on {platform.machine()}, one core: scenario chat, the oldest is admitted",
        f"whenever it may be, else the iteration runs. Processor time, best of {ROUNDS} short rounds taken in turn.",
        f"Load average of the machine meanwhile: {os.getloadavg()[0]:.0f} on {os.cpu_count()} cores, whose caches and"
        " memory all who work there share.",
        *([] if args.envpool else ["envpool's CartPole has no row: no interpreter with it was given (`--envpool`)."]),
        "",
        *table(COLUMNS, vectors(Envpool(args.envpool))),
        "",
        "The compiled step alone, against `benchmarks/env_twin.c` on the same records, which gives the same bits:",
        "",
        *table(env_twin.COLUMNS, env_twin.rows()),
        "",
        *table(SINGLE, singles()),
        "",
        *table(RESETS, resets()),
    ]
    print("\n".join(lines))
    if page is not None:
        put_section(page, "The environment's speed", "\n".join(lines))


if __name__ == "__main__":
    main()
