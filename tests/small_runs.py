"""Training runs of seconds, and what befalls some of them in another process; importable there by name."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from agents.config import AgentConfig, agent_config
from baselines.registry import make_policy
from llmqgym.errors import InputError
from llmqgym.policy import Policy

OWNER = "SMALL_RUNS_OWNER"  # the process in which nothing befalls anybody
TOML = """
total_steps = 1024
num_envs = 8
copies = 2
[env]
scenario = "kv-bound"
num_requests = 30
window = 8
running = 4
[network]
hidden = 8
preempt = false
[cloning]
teacher = "volume"
num_rounds = 5
num_steps = 16
[learning]
num_steps = 32
batch_size = 128
num_epochs = 2
[evaluation]
every = 2
num_seeds = 2
num_requests = 40
baselines = ["vllm"]
"""


def small_config(seed: int) -> AgentConfig:
    """Of the TOML."""
    import tomllib

    return agent_config(tomllib.loads(TOML), "small").replaced(seed=seed)


def kills(spec: str) -> Policy:
    """As if memory had been short."""
    if os.environ.get(OWNER) != str(os.getpid()):
        os.kill(os.getpid(), signal.SIGKILL)
    return make_policy(spec)


def refuses(spec: str) -> Policy:
    """What a worker has no file for."""
    if os.environ.get(OWNER) != str(os.getpid()):
        raise InputError("there is no such file here.")
    return make_policy(spec)


def breaks(spec: str) -> Policy:
    """A fault of ours."""
    if os.environ.get(OWNER) != str(os.getpid()):
        raise ZeroDivisionError("by nought")
    return make_policy(spec)


def what_lies_in(folder: Path) -> dict[str, Any]:
    """What a run has written, but for the times that it took."""
    found: dict[str, Any] = {"weights": (folder / "small.safetensors").read_bytes()}
    for name in ("config.json", "curve.json", "small.json"):
        found[name] = _without_times(json.loads((folder / name).read_text(encoding="utf-8")))
    return found


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(member) for key, member in value.items() if key != "wall_s"}
    return [_without_times(member) for member in value] if isinstance(value, list) else value
