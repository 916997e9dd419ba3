"""TrainedAgent: a network that schedules, what it must be shown, and how it came about."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from agents.brain import Brain
from agents.layout import Layout
from agents.tensors import tensor_bytes
from llmqgym import __version__
from llmqgym.checks import check_count
from llmqgym.env.config import MAX_WINDOW, EnvConfig, make_config
from llmqgym.env.play import Chooser
from llmqgym.kernel.observe import ABSENT, REQUEST_FIELDS, SERVER_FIELDS
from llmqgym.scenario import ScenarioConfig


@dataclass(frozen=True)
class View:
    """How an agent is asked: the settings of an environment by these names."""

    window: int
    oldest: int
    running: int
    shortage: str = "engine"
    preempt_mode: str = "recompute"
    decision_interval: int = 16
    admission_interval: int = 1

    @classmethod
    def of(cls, config: EnvConfig) -> View:
        """Of the environment that it was trained in."""
        return cls(**{name: getattr(config, name) for name in cls.__dataclass_fields__})

    def resized(self, window: int, running: int) -> View:
        """With more or fewer requests in view, the share of the oldest as it was."""
        oldest = -(-self.oldest * window // self.window)
        return replace(self, window=window, oldest=oldest, running=running)


@dataclass(frozen=True)
class Training:
    """How an agent came about; enough to do it again."""

    scenario: str
    command: str
    seed: int
    num_decisions: int
    wall_s: float
    machine: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)  # as resolved


@dataclass(frozen=True, eq=False)
class TrainedAgent:
    """An agent as it is kept in files (agents.policy_file) and played (agents.contestant).

    `curve`: what it was worth while it learnt, a dict for each look; `evaluation`: what it is worth now.
    """

    name: str
    brain: Brain
    view: View
    training: Training
    summary: str = ""
    curve: tuple[dict[str, Any], ...] = ()
    evaluation: dict[str, Any] = field(default_factory=dict)

    def resized(self, window: int | None = None, running: int | None = None) -> TrainedAgent:
        """The same agent shown so many waiting and running requests. Raises InputError for one that reads places."""
        window = self.view.window if window is None else window
        running = self.view.running if running is None else running
        check_count("window", window, MAX_WINDOW)
        check_count("running", running, MAX_WINDOW, 0)
        view, brain = self.view.resized(window, running), self.brain.resized(window, running)
        return TrainedAgent(self.name, brain, view, self.training, self.summary, self.curve, self.evaluation)

    @property
    def layout(self) -> Layout:
        """Of its observations."""
        return self.brain.layout

    def env_config(self, scenario: ScenarioConfig) -> EnvConfig:
        """The environment that shows it what it knows, of a scenario. Raises InputError."""
        layout = self.layout
        return make_config(
            scenario=scenario,
            observation="flat",
            waiting_fields=layout.waiting_fields,
            running_fields=layout.running_fields,
            **asdict(self.view),
        )

    def chooser(self, name: str | None = None) -> Chooser:
        """It as the compiled loop plays it, called `name`: the allowed command with the largest logit, ties to the
        first."""
        return Chooser(name or self.name, self.brain.choose, self.brain.model, self.settings(), kept=self.brain)

    def settings(self) -> dict[str, Any]:
        """All that determines what it decides, in a report."""
        brain = self.brain
        return {"network": brain.network, "hidden": brain.hidden, **asdict(self.view), "weights": digest_of(brain)}


def digest_of(brain: Brain) -> str:
    """SHA-256 of its weights, as they are in a file."""
    return hashlib.sha256(tensor_bytes(brain.tensors)).hexdigest()


def scales_of(layout: Layout) -> dict[str, Any]:
    """The fields of an observation by part, each with its scale (None: as it is), as they are now: numbers that mean
    something else would make another agent of the same weights."""
    scales = {each.name: each.scale for each in REQUEST_FIELDS}
    return {
        "absent": ABSENT,
        "server": {each.name: each.scale for each in SERVER_FIELDS if each.name in layout.server_fields},
        "waiting": {name: scales.get(name) for name in layout.waiting_fields},
        "running": {name: scales.get(name) for name in layout.running_fields},
    }


def versions_now() -> dict[str, str]:
    """Of what an agent is made with."""
    found = {"llmqgym": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy", "numba", "stable-baselines3", "sb3-contrib"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
