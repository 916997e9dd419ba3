"""The shipped agents: whole, and worth more than first come first served on requests of their own kind."""

from __future__ import annotations

import dataclasses

import pytest

from agents.contestant import AgentContestant
from agents.shipped import shipped_agents
from baselines.registry import make_policy
from llmqgym.env.config import DEFAULT_PREDICTOR
from llmqgym.kernel.jit import COMPILED
from llmqgym.run import simulate
from llmqgym.scenario import load_scenario
from llmqgym.shipped import shipped_names
from llmqgym.traffic import at_load, build_workload

SEED = 700_000_000


@pytest.mark.parametrize("name", shipped_agents())
def test_a_shipped_agent_says_how_it_came_about(name: str) -> None:
    training = AgentContestant(f"ppo:{name}").agent.training
    assert f"configs/agent/{name}.toml" in training.command
    assert training.num_decisions > 0
    assert training.wall_s > 0
    assert training.machine
    assert {"torch", "numpy", "llmqgym"} <= set(training.versions)


@pytest.mark.skipif(not COMPILED, reason="thousands of decisions in plain Python")
@pytest.mark.parametrize("name", shipped_agents())
def test_a_shipped_agent_is_better_than_first_come_first_served(name: str) -> None:
    agent = AgentContestant(f"ppo:{name}")
    for part in {"noisy-1", "kv-bound", "multi-tenant"} & set(agent.agent.training.scenario.split(", ")):
        base = load_scenario(part)
        traffic = dataclasses.replace(base.workload, num_requests=3000)
        scenario, _ = at_load(
            dataclasses.replace(base, seed=SEED, workload=traffic, predictor=base.predictor or DEFAULT_PREDICTOR)
        )
        workload = build_workload(scenario)
        ours = agent.run(workload, scenario).summary
        theirs = simulate(
            workload,
            policy=make_policy("vllm"),
            server=scenario.server,
            profile=scenario.profile,
            predictor=scenario.predictor,
            seed=scenario.seed,
        ).summary
        assert ours["num_finished"] == 3000
        assert ours["e2e_s"]["mean"] < 0.95 * theirs["e2e_s"]["mean"]


def test_what_they_were_trained_on_is_there() -> None:
    parts = {
        part for name in shipped_agents() for part in AgentContestant(f"ppo:{name}").agent.training.scenario.split(", ")
    }
    assert parts <= {*shipped_names(), "kv-saturated"}
