"""Train an agent: `python train.py --config configs/agent/noisy-1.toml`, and `tensorboard --logdir runs` beside it.

At its end the agent lies in the run's folder as a policy file, for `llmqgym simulate --policy ppo:FILE`.
Killed at any moment, `--resume RUN` goes on from the last update, on a CPU to the same weights. `--seeds 1,2,3` trains
one agent after the other. What may be given on the command line replaces what the configuration says.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from agents.board import Board
from agents.config import AgentConfig, agent_config, read_agent_config
from agents.evaluation import Measured, best_of
from agents.shipping import ship
from agents.statistics import paired
from agents.training import Run, config_document
from baselines.registry import make_policy
from llmqgym.errors import InputError


class Narrator:
    """A `Listener` that tells the terminal, and TensorBoard."""

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console, self._progress, self._board = console, progress, Board()

    def begun(self, run: Run) -> None:
        self._board.begun(run)
        self._start(run)

    def resumed(self, run: Run) -> None:
        self._board.resumed(run)
        self._start(run)

    def _start(self, run: Run) -> None:
        for part, found in run.baselines.items():
            texts = [f"{spec} {each.mean('mean_e2e_s'):.3f} s" for spec, each in found.items()]
            self._console.print(f"{part}, mean E2E of the baselines: {', '.join(texts)}")
        self._task = self._progress.add_task(run.folder.name, total=run.config.total_steps, rate="")

    def cloned(self, run: Run, curves: dict[str, list[float]]) -> None:
        self._board.cloned(run, curves)
        self._console.print(f"imitated {run.config.cloning.teacher}: it agrees in {curves['agreement'][-1]:.1%}")

    def updated(self, run: Run) -> None:
        self._board.updated(run)
        done = min(run.model.num_timesteps, run.config.total_steps)
        self._progress.update(self._task, completed=done, rate=f"{run.rate_per_s:,.0f} decisions/s")

    def evaluated(self, run: Run, measured: dict[str, Measured]) -> None:
        self._board.evaluated(run, measured)
        for part, found in measured.items():
            line = f"{run.model.num_timesteps:>11,} {part}: mean E2E {found.mean('mean_e2e_s'):.3f} s"
            line += f", p99 {found.mean('p99_e2e_s'):.1f} s, preemptions {found.mean('num_preemptions'):.1f}"
            theirs = run.baselines[part]
            if theirs:
                best = best_of(theirs, list(theirs))
                ratio, low, high = paired(found.figures["mean_e2e_s"], theirs[best].figures["mean_e2e_s"])
                line += f"; {ratio:+.2%} [{low:+.2%}, {high:+.2%}] of {best}"
            self._console.print(line)

    def finished(self, run: Run) -> None:
        self._board.finished(run)
        path = ship(run, run.folder)
        self._console.print(f"kept the look at {run.kept['steps']:,} decisions")
        self._console.print(f"done in {run.wall_s / 60.0:.1f} min: ppo:{path}")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="a file of configs/agent/")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="the folder of a run to go on with")
    parser.add_argument("--scenario", help="another scenario than the configuration's")
    parser.add_argument("--timesteps", type=int, help="decisions in all")
    parser.add_argument("--num-envs", type=int, help="servers side by side")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", help="several, separated by commas: one run after the other")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the folders of runs are made")
    parser.add_argument("--name", help="of the run's folder; the configuration's and the seed otherwise")
    return parser.parse_args()


def configuration(args: argparse.Namespace) -> AgentConfig:
    """From the command line. Raises InputError."""
    if (args.config is None) == (args.resume is None):
        raise InputError("give --config FILE to begin a run, or --resume RUN to go on with one.")
    if args.resume is not None:
        try:
            document = config_document(args.resume)
        except OSError as error:
            raise InputError(f"{args.resume} is not the folder of a run ({error}): name one.") from error
        config = agent_config(document, document["name"])
    else:
        config = read_agent_config(args.config)
    if args.scenario is not None:
        kept = {key: value for key, value in config.env.items() if key != "config"}
        config = config.replaced(env={**kept, "scenario": args.scenario})
    return config.replaced(total_steps=args.timesteps, num_envs=args.num_envs, seed=args.seed)


def train(config: AgentConfig, folder: Path, device: str, resume: bool) -> None:
    """One run, from its beginning or its checkpoint to its end."""
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    with Progress(*columns, TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=console) as progress:
        listener = Narrator(console, progress)
        run = Run(config, folder, make_policy, device)
        if resume:
            run.restore()
            listener.resumed(run)
        else:
            run.start(listener)
        run.go_on(listener)


def main() -> int:
    args = parse_args()
    torch.set_num_threads(1)
    torch.distributions.Distribution.set_default_validate_args(False)
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        config = configuration(args)
        if args.resume is not None:
            train(config, args.resume, device, resume=True)
            return 0
        seeds = [config.seed] if args.seeds is None else [int(each) for each in args.seeds.split(",")]
        for seed in seeds:
            chosen = config.replaced(seed=seed)
            folder = args.runs / (args.name or f"{chosen.name}-{seed}")
            if folder.exists():
                raise InputError(f"{folder} is there already: --resume {folder}, or choose another --name.")
            train(chosen, folder, device, resume=False)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
