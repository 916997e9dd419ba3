"""Board: what TensorBoard shows of a run.

The agent's figures are in the run's folder; each baseline has a folder beside it, with the same names for the same
figures, so that TensorBoard draws agent and baselines into one chart (`tensorboard --logdir runs`).
"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

from agents.evaluation import FIGURES, Measured
from agents.layout import Layout
from agents.statistics import paired
from agents.training import Run
from llmqgym.kernel.observe import ABSENT, SERVER_FIELDS, fields_of

#: Of the metrics of the last episodes of training.
_EPISODES = ("return", "mean_e2e_s", "p99_e2e_s", "mean_ttft_s", "p99_ttft_s", "num_preemptions", "requests_per_s")
_LEARNING = (
    "kl", "teacher_kl", "entropy", "clip_share", "value_loss", "explained_variance", "reward_per_s", "learning_rate",
    "choice_share",
)  # fmt: skip


class Board:
    """A `Listener` that writes events."""

    def begun(self, run: Run) -> None:
        """Open the files; write the configuration as text, and the baselines."""
        self._open(run)
        text = json.dumps(run.config.document(), indent=2)
        self._writer.add_text("configuration", f"```\n{text}\n```")
        self._put_baselines(run, 0)

    def resumed(self, run: Run) -> None:
        """Open the files again; what lies behind the checkpoint is dropped."""
        self._open(run, purge_step=run.model.num_timesteps + 1)

    def _open(self, run: Run, **settings: Any) -> None:
        self._writer = SummaryWriter(str(run.folder / "agent"), **settings)
        specs = {spec for found in run.baselines.values() for spec in found}
        self._beside = {
            spec: SummaryWriter(str(run.folder / f"baseline {spec.replace(':', ' ').replace('/', ' ')}"), **settings)
            for spec in sorted(specs)
        }

    def cloned(self, run: Run, curves: dict[str, list[float]]) -> None:
        """The teacher has been imitated."""
        for name, values in curves.items():
            for number, value in enumerate(values):
                self._writer.add_scalar(f"cloning/{name}", value, number)

    def updated(self, run: Run) -> None:
        """An update is done."""
        model, steps = run.model, run.model.num_timesteps
        for name in _LEARNING:
            if name in model.statistics:
                self._writer.add_scalar(f"learning/{name}", model.statistics[name], steps)
        self._writer.add_scalar("learning/decisions_per_s", run.rate_per_s, steps)
        if run.config.stages:
            self._writer.add_scalar("learning/stage", run.stage, steps)
        buffer = model.rollout_buffer
        self._writer.add_scalar("episodes/kv_used", float(buffer.observations[:, :, 0].mean()), steps)
        for name in _EPISODES:
            values = [each[name] for each in model.recent if math.isfinite(each[name])]
            if values:
                self._writer.add_scalar(f"episodes/{name}", float(np.mean(values)), steps)

    def evaluated(self, run: Run, measured: dict[str, Measured]) -> None:
        """The agent has been measured."""
        steps = run.model.num_timesteps
        for part, found in measured.items():
            for figure in FIGURES:
                self._writer.add_scalar(f"{part}/{figure}", found.mean(figure), steps)
            for spec, theirs in run.baselines[part].items():
                ratio, low, high = paired(found.figures["mean_e2e_s"], theirs.figures["mean_e2e_s"])
                self._writer.add_scalar(f"{part} against {spec}/mean_e2e_share", ratio, steps)
                self._writer.add_scalar(f"{part} against {spec}/low", low, steps)
                self._writer.add_scalar(f"{part} against {spec}/high", high, steps)
        self._writer.add_scalar("kept/num_decisions", run.kept["steps"], steps)
        self._put_baselines(run, steps)
        if steps > 0:
            self._put_picture(run)
        self._flush()

    def finished(self, run: Run) -> None:
        """Write the settings beside what came of them."""
        plain = {
            name: value for name, value in dataclasses.asdict(run.config.learning).items() if value is not None
        }  # fmt: skip
        plain |= {"hidden": run.config.network.hidden, "network": run.config.network.name, "seed": run.config.seed}
        kept = run.kept["figures"]
        came = {f"hparam/{part}_mean_e2e_s": float(np.mean(found["mean_e2e_s"])) for part, found in kept.items()}
        self._writer.add_hparams(plain, came, run_name="hparams")
        self._flush()
        for writer in (self._writer, *self._beside.values()):
            writer.close()

    def _put_baselines(self, run: Run, steps: int) -> None:
        for part, found in run.baselines.items():
            for spec, measured in found.items():
                for figure in FIGURES:
                    self._beside[spec].add_scalar(f"{part}/{figure}", measured.mean(figure), steps)

    def _put_picture(self, run: Run) -> None:
        from matplotlib.figure import Figure

        layout = run.model.policy.network.layout
        observations = run.model.rollout_buffer.observations.reshape(-1, layout.size)
        lengths, shares, scores = scores_of(run.model.policy.network, layout, observations)
        figure = Figure(figsize=(6.0, 4.0), layout="constrained")
        axes = figure.subplots()
        drawn = axes.pcolormesh(lengths, shares, scores, shading="nearest", cmap="viridis")
        axes.set(xscale="log", xlabel="predicted remaining tokens", ylabel="KV cache used")
        axes.set_title("score of admitting a request, less that of letting the iteration run")
        figure.colorbar(drawn, ax=axes)
        self._writer.add_figure("score/admit", figure, run.model.num_timesteps)

    def _flush(self) -> None:
        for writer in (self._writer, *self._beside.values()):
            writer.flush()


@torch.no_grad()
def scores_of(network: Any, layout: Layout, observations: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(predicted remaining tokens [L], shares of KV in use [U], logit of admit less that of run [U, L]) of the first
    waiting request, everything else as in the middle one of the observations in which somebody waits."""
    width = len(layout.waiting_fields)
    waits = observations[observations[:, layout.num_server] != ABSENT]
    base = (waits if len(waits) else observations)[len(waits) // 2].copy()
    names = [field.name for field in fields_of(layout.waiting_fields)]
    lengths, shares = np.geomspace(1.0, 4096.0, 48), np.linspace(0.0, 1.0, 32)
    grid = np.tile(base, (len(shares), len(lengths), 1)).astype(np.float32)
    scale = fields_of(("predicted_remaining_tokens",))[0].scale
    assert scale is not None
    if "predicted_remaining_tokens" in names:
        place = layout.num_server + names.index("predicted_remaining_tokens")
        grid[..., place] = lengths / (lengths + scale)
    grid[..., [field.name for field in SERVER_FIELDS].index("kv_used")] = shares[:, None]
    grid[..., layout.num_server + width : layout.first_running] = ABSENT
    device = next(network.parameters()).device
    logits = network.logits(torch.as_tensor(grid.reshape(-1, layout.size), device=device)).cpu().numpy()
    return lengths, shares, (logits[:, 1] - logits[:, 0]).reshape(len(shares), len(lengths))
