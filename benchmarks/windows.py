"""What policies lose that see no more than an observation: mean E2E time through windows of several sizes.

    python benchmarks/windows.py [--markdown docs/results.md]

`ObservedPolicy` on episodes of scenario kv-bound, against the same policy inside the kernel on the same requests.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from results_page import put_section, table

from baselines.registry import make_policy
from llmqgym.env import LLMServerEnv, ObservedPolicy
from llmqgym.env.config import EnvConfig
from llmqgym.env.episodes import Episodes
from llmqgym.kernel.tables import PS_PER_S, Status
from llmqgym.policy import Policy
from llmqgym.simulator import Simulator

SCENARIO, RHO, NUM, SEEDS = "kv-bound", 1.1, 300, range(4)
POLICIES = ("fcfs", "spjf", "volume-first", "sprpt")
#: K, B, decision_interval.
VIEWS = ((NUM, 256, 1), (64, 64, 1), (16, 16, 1), (16, 16, 16), (4, 4, 16), (1, 1, 16))
COLUMNS = ("policy", "mean E2E in the kernel, s", *(f"K={k}, B={b}, every {i}" for k, b, i in VIEWS))


def mean_e2e_s(simulator: Simulator) -> float:
    """Over the finished requests, which are all."""
    rows = simulator.departed()
    assert (rows["status"] == Status.FINISHED).sum() == NUM
    return float((rows["finish_ps"] - rows["arrival_ps"]).mean()) / PS_PER_S


def in_the_kernel(policy: Policy, config: EnvConfig, seed: int) -> float:
    """Mean E2E time, s, of the policy's own loop on the requests of an episode."""
    episode = Episodes(config).draw(seeding.np_random(seed)[0])
    server = dataclasses.replace(config.scenario.server, num_kv_blocks=None)
    simulator = Simulator(server, episode.profile, policy, departures=2 * NUM + 2)
    simulator.run(iter([episode.requests]))
    return mean_e2e_s(simulator)


def by_observation(agent: ObservedPolicy, env: LLMServerEnv, seed: int) -> float:
    """Mean E2E time, s, of the policy on what it is shown."""
    agent.reset()
    seen, _ = env.reset(seed=seed)
    over = False
    while not over:
        seen, _, terminated, truncated, _ = env.step(agent.act(seen))
        over = terminated or truncated
    return mean_e2e_s(env.simulator)


def row(name: str) -> tuple[str, ...]:
    """A policy's line: what each view costs, in percent, as the mean over seeds and the span of them."""
    policy = make_policy(name)
    settings: dict[str, Any] = {"scenario": SCENARIO, "rho": RHO, "num_requests": NUM, "engine": policy}
    cells, expected = [], np.zeros(0)
    for window, running, interval in VIEWS:
        env = LLMServerEnv(window=window, running=running, decision_interval=interval, **settings)
        if not len(expected):
            expected = np.array([in_the_kernel(policy, env.config, seed) for seed in SEEDS])
        agent = ObservedPolicy(policy, env.config)
        found = np.array([by_observation(agent, env, seed) for seed in SEEDS])
        more = 100 * (found / expected - 1)
        same = (found == expected).all()
        cells.append("the same" if same else f"{more.mean():+.1f} % ({more.min():+.1f} .. {more.max():+.1f})")
        print(f"{name}, K={window}, B={running}, every {interval}: {cells[-1]}", flush=True)
    return (policy.name, f"{expected.mean():.2f}", *cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, help="write the section into this page")
    page = parser.parse_args().markdown
    lines = [
        f"`python benchmarks/windows.py`: `ObservedPolicy` on {len(SEEDS)} episodes of {NUM} requests each, scenario",
        f"{SCENARIO} at rho {RHO}: how much longer the mean E2E time is than the same policy's inside the kernel, mean",
        "(least .. most) over the episodes. Of K waiting requests in the window half are the oldest, half the first by",
        "the policy's ORDER (fcfs: by prediction); B running ones are shown, the last admitted; a decision is due",
        "every so many iterations, or sooner when something happens.",
        "",
        *table(COLUMNS, [row(name) for name in POLICIES]),
    ]
    print("\n".join(lines))
    if page is not None:
        put_section(page, "What a small window costs a policy", "\n".join(lines))


if __name__ == "__main__":
    main()
