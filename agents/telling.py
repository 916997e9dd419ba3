"""Teller: a run told in lines, each with the run's name, and to TensorBoard."""

from __future__ import annotations

from collections.abc import Callable

from agents.board import Board
from agents.evaluation import Measured
from agents.looks import best_baseline
from agents.statistics import paired
from agents.training import Run


class Teller:
    """A `Listener` that hands its lines to `say`; with `named`, they begin with the name of the run."""

    def __init__(self, say: Callable[[str], None], named: bool = True) -> None:
        self._write, self._named, self._board = say, named, Board()
        self._stage = 0

    def _say(self, run: Run, line: str) -> None:
        self._write(f"{run.folder.name}: {line}" if self._named else line)

    def begun(self, run: Run) -> None:
        """Say what the baselines are worth."""
        self._board.begun(run)
        self._tell_baselines(run)

    def resumed(self, run: Run) -> None:
        """The same."""
        self._board.resumed(run)
        self._tell_baselines(run)

    def _tell_baselines(self, run: Run) -> None:
        self._stage = run.stage
        for part, found in run.baselines.items():
            texts = [f"{spec} {each.mean('mean_e2e_s'):.3f} s" for spec, each in found.items()]
            if texts:
                self._say(run, f"{part}, mean E2E of the baselines: {', '.join(texts)}")

    def cloned(self, run: Run, curves: dict[str, list[float]]) -> None:
        """Say how well the teacher is imitated."""
        self._board.cloned(run, curves)
        self._say(run, f"imitated {run.config.cloning.teacher}: it agrees in {curves['agreement'][-1]:.1%}")

    def updated(self, run: Run) -> None:
        """Say when a stage has begun."""
        self._board.updated(run)
        if run.stage != self._stage:
            self._stage = run.stage
            self._say(run, f"stage {run.stage} of {len(run.config.stages)}")

    def evaluated(self, run: Run, measured: dict[str, Measured]) -> None:
        """Say what the agent is worth, a line for each part."""
        self._board.evaluated(run, measured)
        steps = run.model.num_timesteps
        share = min(steps / run.config.total_steps, 1.0)
        for part, found in measured.items():
            line = f"{share:4.0%} {steps:>11,} {part}: mean E2E {found.mean('mean_e2e_s'):.3f} s"
            line += f", p99 {found.mean('p99_e2e_s'):.1f} s, preemptions {found.mean('num_preemptions'):.1f}"
            theirs = run.others[part]
            best = best_baseline(theirs, "mean_e2e_s")
            if best is not None:
                ratio, low, high = paired(found.figures["mean_e2e_s"], theirs[best]["mean_e2e_s"])
                line += f"; {ratio:+.2%} [{low:+.2%}, {high:+.2%}] of {best}"
            self._say(run, line)

    def finished(self, run: Run) -> None:
        """Say how long it took, and which look is kept."""
        self._board.finished(run)
        self._say(run, f"done in {run.wall_s / 60.0:.1f} min; kept the look at {run.kept['steps']:,} decisions")
