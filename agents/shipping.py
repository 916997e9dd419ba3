"""Shipping: a run's agent as a policy file, with how it came about and what was found on the way."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np

from agents.from_torch import brain_of
from agents.policy_file import write_agent
from agents.trained_agent import TrainedAgent, Training, View, versions_now
from agents.training import Run
from llmqgym.machine import machine

#: Of a long curve every so many points are kept, for about so many in all.
_POINTS = 40


def agent_of(run: Run, keep: str | None = None) -> TrainedAgent:
    """The agent of a run: that of the look that it keeps, or of the "best" or the "last"."""
    config = run.config
    which = keep or config.evaluation.keep
    look = run.look(which)
    training = Training(
        scenario=", ".join(config.env_settings),
        command=command_of(run),
        seed=config.seed,
        num_decisions=run.model.num_timesteps,
        wall_s=run.wall_s,
        machine=machine(),
        versions=versions_now(),
        config=config.document(),
    )
    return TrainedAgent(
        config.name,
        brain_of(run.network_of(which)),
        View.of(config.first_config),
        training,
        config.summary,
        tuple(curve_of(run, look)),
        evaluation_of(run, look),
    )


def command_of(run: Run) -> str:
    """By which it is trained again."""
    config = run.config
    words = ["python", "train.py", "--config", f"configs/agent/{config.name}.toml", "--seed", str(config.seed)]
    words += ["--timesteps", str(config.total_steps), "--num-envs", str(config.num_envs)]
    return shlex.join(words)


def curve_of(run: Run, look: dict[str, Any]) -> list[dict[str, Any]]:
    """Mean E2E over the held-out seeds by part, at some of the looks, the one at hand and the last among them."""
    every = -(-len(run.curve) // _POINTS)
    wanted = (look, run.curve[-1])
    chosen = [
        point for place, point in enumerate(run.curve) if place % every == 0 or any(point is each for each in wanted)
    ]
    return [
        {
            "num_decisions": point["steps"],
            "wall_s": point["wall_s"],
            "mean_e2e_s": {part: float(np.mean(found["mean_e2e_s"])) for part, found in point["figures"].items()},
        }
        for point in chosen
    ]


def evaluation_of(run: Run, look: dict[str, Any]) -> dict[str, Any]:
    """The figures of a look by part, means over the held-out seeds, and those of the baselines."""
    found: dict[str, Any] = {}
    for part, held_out in run.held_out.items():
        found[part] = {
            "num_decisions": look["steps"],
            "num_seeds": len(held_out.seeds),
            "first_seed": held_out.seeds[0],
            "num_requests": held_out.num_requests,
            "agent": {figure: float(np.mean(values)) for figure, values in look["figures"][part].items()},
        } | {
            spec: {figure: measured.mean(figure) for figure in measured.figures}
            for spec, measured in run.baselines[part].items()
        }
    return found


def ship(run: Run, folder: Path) -> Path:
    """Write the agent's files into a folder; returns their common path without ending."""
    path = folder / run.config.name
    write_agent(path, agent_of(run))
    return path
