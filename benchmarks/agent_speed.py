"""Decisions a second of agents in the compiled loop: arrivals, server, observation, network, on one core.

    python benchmarks/agent_speed.py [--markdown docs/results.md]

Networks of random weights, but for the last layer, which admits whoever may enter: speed does not depend on what was
learnt, and nobody is sent round in circles. Scenario chat as it comes (load 0.9) and twice as fast (the window is
full). Processor time, the best of some rounds; the last column is what a decision costs at most.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from results_page import put_section, table

from agents.brain import Brain
from agents.inference import shapes_of
from agents.layout import Layout
from agents.trained_agent import TrainedAgent, Training, View
from llmqgym.env.play import simulate_agent
from llmqgym.machine import machine
from llmqgym.scenario import load_scenario, with_traffic
from llmqgym.traffic import at_load, build_workload

ROUNDS, NUM_REQUESTS = 2, 4000
PREDICTOR = "lognormal:sigma=0.5"
NETWORKS = (("scorer", 32), ("scorer", 64), ("mlp", 64))
VIEWS = ((16, 16), (64, 64), (256, 256))
COLUMNS = ("network", "units", "K, B", "load", "decisions", "decisions/s", "us a decision, all rows allowed")


def admitting(network: str, hidden: int, window: int, running: int) -> TrainedAgent:
    """An agent that admits whoever may enter, by a network that works everything out."""
    layout, rng = Layout(window, running), np.random.default_rng(0)
    shapes = shapes_of(network, layout, hidden)
    tensors = {name: rng.normal(0.0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}
    if network == "scorer":
        tensors["run.out.weight"][:] = 0.0
        tensors["admit.out.weight"] = abs(tensors["admit.out.weight"])
        tensors["preempt.out.weight"] = -abs(tensors["preempt.out.weight"])
    else:
        bias = tensors["actor.4.bias"]
        tensors["actor.4.weight"] *= np.float32(1e-3)
        bias[:] = np.concatenate([np.zeros(1), np.ones(window), -np.ones(running)])
    brain = Brain(network, layout, hidden, tensors)
    return TrainedAgent(network, brain, View(window, window // 2, running), Training("chat", "drawn", 0, 0, 0.0))


def workload_at(rho: float) -> tuple[Any, Any]:
    """(scenario, requests)."""
    scenario, _ = at_load(with_traffic(load_scenario("chat"), None, None, num_requests=NUM_REQUESTS, rho=rho))
    return scenario, build_workload(scenario)


def row(network: str, hidden: int, window: int, running: int, rho: float) -> tuple[str, ...]:
    agent = admitting(network, hidden, window, running)
    scenario, workload = workload_at(rho)
    config, best_s, num = agent.env_config(scenario), float("inf"), 0
    for _ in range(ROUNDS):
        before, began = agent.brain.num_decisions, time.process_time()
        simulate_agent(
            workload, agent.chooser(), config, server=scenario.server, profile=scenario.profile, predictor=PREDICTOR
        )
        best_s = min(best_s, time.process_time() - began)
        num = agent.brain.num_decisions - before
    return (
        network, f"{hidden}", f"{window}, {running}", f"{rho:g}", f"{num:,}", f"{num / best_s:,.0f}",
        f"{most_us(agent):.1f}",
    )  # fmt: skip


def most_us(agent: TrainedAgent) -> float:
    """The network alone, every row there and every command allowed."""
    num = 300
    observations = np.random.default_rng(1).random((num, agent.layout.size), np.float32)
    masks = np.ones((num, agent.layout.num_actions), np.int8)
    best_s = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        agent.brain.actions(observations, masks)
        best_s = min(best_s, (time.process_time() - began) / num)
    return 1e6 * best_s


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--markdown", type=Path, help="write the section into this page")
    page = parser.parse_args().markdown
    rows = [
        row(network, hidden, window, running, rho)
        for network, hidden in NETWORKS
        for window, running in VIEWS
        for rho in (0.9, 1.8)
    ]
    lines = [
        f"`python benchmarks/agent_speed.py`, on {machine()}, one core:",
        f"{NUM_REQUESTS:,} requests of scenario chat through the whole compiled loop, arrivals, predictions and",
        "metrics included; random weights that admit whoever may enter. Processor time, the better of two.",
        "",
        *table(COLUMNS, rows),
    ]
    print("\n".join(lines))
    if page is not None:
        put_section(page, "Agents' decisions", "\n".join(lines))


if __name__ == "__main__":
    main()
