"""Training: a run from its configuration to its agent, kept in a folder that it can go on from.

A run's folder has `config.json`, the checkpoint, `curve.json` (what each evaluation found), and the events that
TensorBoard reads. Whoever wants to hear of it passes a `Listener`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from agents.checkpoint import read_checkpoint, write_checkpoint
from agents.cloning import Cloning, clone
from agents.config import AgentConfig
from agents.evaluation import HeldOut, Measured
from agents.looks import Figures, score
from agents.making import make_env, make_held_out, make_model
from agents.networks import FlatMLP, Scorer
from agents.teachers import make_teacher
from llmqgym import __version__
from llmqgym.errors import InputError
from llmqgym.files import write_json
from llmqgym.kernel import tables
from llmqgym.policy import Policy

_CONFIG, _CURVE = "config.json", "curve.json"
_CHECKPOINT = 2  # counts what has been added to it


class Listener(Protocol):
    """Who hears of a run as it goes."""

    def begun(self, run: Run) -> None:
        """Everything is made, nothing done."""

    def resumed(self, run: Run) -> None:
        """The same, from a checkpoint."""

    def cloned(self, run: Run, curves: dict[str, list[float]]) -> None:
        """The teacher has been imitated."""

    def updated(self, run: Run) -> None:
        """An update is done."""

    def evaluated(self, run: Run, measured: dict[str, Measured]) -> None:
        """The agent has been measured, by part."""

    def finished(self, run: Run) -> None:
        """All steps are done."""


class Run:
    """A training run in a folder; `make_policy` (baselines.registry's) makes the named baselines.

    The same configuration, seed and machine give the same weights on a CPU, also when the run was killed and resumed.
    """

    def __init__(
        self, config: AgentConfig, folder: Path, make_policy: Callable[[str], Policy], device: str = "cpu"
    ) -> None:
        self.config, self.folder, self.device = config, folder, device
        torch.manual_seed(config.seed)
        np.random.seed(config.seed)  # noqa: NPY002 - SB3 draws from it
        spec = config.learning.reference
        self._reference = None if spec is None else make_policy(spec)
        self.stage = config.stage_at(0.0)
        self.env = make_env(config, self.stage, self._reference)
        self.model = make_model(config, self.env, device)
        self.held_out: dict[str, HeldOut] = make_held_out(config)
        self.curve: list[dict[str, Any]] = []
        self.best = 0  # place in the curve
        self.best_weights: dict[str, torch.Tensor] = {}
        self.num_updates = 0
        self.wall_s = 0.0
        self.rate_per_s = 0.0
        self.baselines = self._measure_baselines(make_policy)

    def _measure_baselines(self, make_policy: Callable[[str], Policy]) -> dict[str, dict[str, Measured]]:
        return {
            name: {spec: self.held_out[name].baseline(make_policy(spec)) for spec in specs}
            for name, specs in self.config.baselines_beside.items()
        }

    @property
    def steps_an_update(self) -> int:
        """Decisions."""
        return self.config.num_envs * self.config.learning.num_steps

    @property
    def kept(self) -> dict[str, Any]:
        """The look whose weights the configuration says are the run's agent."""
        return self.look(self.config.evaluation.keep)

    def look(self, which: str) -> dict[str, Any]:
        """The "best" or the "last"."""
        return self.curve[self.best if which == "best" else -1]

    def network_of(self, which: str) -> Scorer | FlatMLP:
        """A network with the weights of the "best" look, or of the "last" update."""
        network = copy.deepcopy(self.model.policy.network)
        if which == "best":
            network.load_state_dict(self.best_weights)
        return network

    @property
    def is_done(self) -> bool:
        """Whether all steps have been taken."""
        return self.model.num_timesteps >= self.config.total_steps

    def start(self, listener: Listener) -> None:
        """From the beginning: imitate the teacher, and begin episodes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / _CONFIG, self.config.document())
        listener.begun(self)
        cloning = self.config.cloning
        if cloning.teacher is not None:
            began_s = time.perf_counter()
            layout = self.model.policy.network.layout
            curves = clone(
                self.model.policy,
                self.env,
                make_teacher(cloning.teacher, layout),
                Cloning(cloning.num_rounds, cloning.num_steps, 4, cloning.doubt, cloning.learning_rate),
                layout.window,
            )
            self.model.set_teacher()
            self.wall_s += time.perf_counter() - began_s
            listener.cloned(self, curves)
        self.model.begin()
        self._evaluate(listener)
        self.save()

    def go_on(self, listener: Listener, num_updates: int | None = None) -> None:
        """Learn until all steps are done, or for some updates."""
        last = None if num_updates is None else self.num_updates + num_updates
        while not self.is_done and self.num_updates != last:
            self._update(listener)
        if self.is_done:
            listener.finished(self)

    def _update(self, listener: Listener) -> None:
        began_s = time.perf_counter()
        share = self.model.num_timesteps / self.config.total_steps
        if self.config.stage_at(share) != self.stage:
            self._enter(self.config.stage_at(share))
            self.model.begin()
        self.model.set_progress(1.0 - share)
        self.model.collect()
        self.model.train()
        self.num_updates += 1
        spent_s = time.perf_counter() - began_s
        self.wall_s += spent_s
        self.rate_per_s = self.steps_an_update / spent_s
        listener.updated(self)
        if self.num_updates % self.config.evaluation.every == 0 or self.is_done:
            self._evaluate(listener)
        self.save()

    def _enter(self, stage: int) -> None:
        """The environment of a stage in place of the one at hand."""
        self.env.close()
        self.stage, self.env = stage, make_env(self.config, stage, self._reference)
        self.model.set_env(self.env)

    def _evaluate(self, listener: Listener) -> None:
        self.model.policy.set_training_mode(False)
        measured = {name: held_out.play(self.model.policy.network) for name, held_out in self.held_out.items()}
        self.curve.append(
            {
                "steps": self.model.num_timesteps,
                "wall_s": self.wall_s,
                "figures": {
                    name: {figure: values.tolist() for figure, values in each.figures.items()}
                    for name, each in measured.items()
                },
            }
        )
        self._compare_last()
        listener.evaluated(self, measured)

    def _compare_last(self) -> None:
        """Keep the weights if no look before the last was as good."""
        last, figure = len(self.curve) - 1, self.config.evaluation.figure
        now, before = (score(self.curve[place], self.others, figure) for place in (last, self.best))
        if last == 0 or now < before:
            self.best = last
            state = self.model.policy.network.state_dict()
            self.best_weights = {name: values.detach().cpu().clone() for name, values in state.items()}

    @property
    def others(self) -> dict[str, dict[str, Figures]]:
        """The baselines' figures by part and spec."""
        return {
            part: {spec: measured.figures for spec, measured in found.items()} for part, found in self.baselines.items()
        }

    def document(self) -> dict[str, Any]:
        """The looks so far, which of them is kept, and the baselines on the same requests."""
        return {
            "curve": self.curve,
            "kept": self.kept["steps"],
            "baselines": {
                part: {
                    spec: {figure: values.tolist() for figure, values in each.figures.items()}
                    for spec, each in found.items()
                }
                for part, found in self.baselines.items()
            },
        }

    def save(self) -> None:
        """Write the checkpoint and the curve."""
        model = self.model
        learner: dict[str, Any] = {
            "policy": model.policy.state_dict(),
            "optimizer": model.policy.optimizer.state_dict(),
            "best": self.best_weights,
            "torch": torch.get_rng_state(),
        }
        if model.teacher is not None:
            learner["teacher"] = model.teacher.state_dict()
        if model.device.type == "cuda":
            learner["cuda"] = torch.cuda.get_rng_state()
        state = {
            "version": version(),
            "stage": self.stage,
            "env": self.env.state(),
            "model": model.state(),
            "num_updates": self.num_updates,
            "wall_s": self.wall_s,
            "curve": self.curve,
            "best": self.best,
        }
        write_checkpoint(self.folder, learner, state)
        write_json(self.folder / _CURVE, self.document())

    def restore(self) -> None:
        """Go on from the folder's checkpoint. Raises InputError where there is none, or one of another version: servers
        in the middle of their episodes are as the kernel has them."""
        learner, state = read_checkpoint(self.folder, "cpu")
        model = self.model
        if state.get("version") != version():
            raise InputError(
                f"{self.folder} was begun with another version of llmqgym: go on with that one, or begin anew."
            )
        self.best, self.best_weights = state["best"], learner["best"]
        model.policy.load_state_dict(learner["policy"])
        model.policy.optimizer.load_state_dict(learner["optimizer"])
        if "teacher" in learner:
            model.set_teacher()
            assert model.teacher is not None
            model.teacher.load_state_dict(learner["teacher"])
        if state["stage"] != self.stage:
            self._enter(state["stage"])
        model.restore(state["model"], self.env.restore(state["env"]))
        self.num_updates, self.wall_s, self.curve = state["num_updates"], state["wall_s"], state["curve"]
        torch.set_rng_state(learner["torch"])
        if "cuda" in learner and model.device.type == "cuda":
            torch.cuda.set_rng_state(learner["cuda"].cpu())


def version() -> str:
    """Of what a checkpoint holds, and of the records that a server's state is made of, in their order."""
    records = [getattr(tables, name) for name in dir(tables)]
    described = [str(each.descr) for each in records if isinstance(each, np.dtype) and each.names]
    return f"{__version__} {_CHECKPOINT} {hashlib.sha256(' '.join(described).encode()).hexdigest()[:16]}"


def config_document(folder: Path) -> dict[str, Any]:
    """The configuration of a run's folder. Raises OSError."""
    found: dict[str, Any] = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
    return found
