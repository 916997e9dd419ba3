"""Train an agent: `python train.py --config configs/agent/noisy-1.toml`, and `tensorboard --logdir runs` beside it.

At its end the agent lies in the run's folder as a policy file, for `llmqgym simulate --policy ppo:FILE`.
Killed at any moment, `--resume RUN` goes on from the last update, on a CPU to the same weights. `--seeds 1,2,3` trains
an agent for each seed, `--jobs N` of them at a time in processes of their own, or on Ray (`--ray`). What may be given
on the command line replaces what the configuration says.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from agents.config import AgentConfig, agent_config, read_agent_config
from agents.jobs import Job, do, do_all, do_all_on_ray
from agents.outcome import COLUMNS, Outcome, table_of
from agents.telling import Teller
from agents.training import Run, config_document
from baselines.registry import make_policy
from llmqgym.checks import check_count
from llmqgym.errors import InputError


class Narrator(Teller):
    """A `Teller` with a bar of progress."""

    def __init__(self, progress: Progress) -> None:
        super().__init__(lambda line: progress.console.print(line, highlight=False, soft_wrap=True), named=False)
        self._progress = progress

    def begun(self, run: Run) -> None:
        super().begun(run)
        self._start(run)

    def resumed(self, run: Run) -> None:
        super().resumed(run)
        self._start(run)

    def _start(self, run: Run) -> None:
        self._task = self._progress.add_task(run.folder.name, total=run.config.total_steps, rate="")

    def updated(self, run: Run) -> None:
        super().updated(run)
        done = min(run.model.num_timesteps, run.config.total_steps)
        self._progress.update(self._task, completed=done, rate=f"{run.rate_per_s:,.0f} decisions/s")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, help="a file of configs/agent/")
    parser.add_argument("--resume", type=Path, metavar="RUN", help="the folder of a run to go on with")
    parser.add_argument("--scenario", help="another scenario than the configuration's")
    parser.add_argument("--timesteps", type=int, help="decisions in all")
    parser.add_argument("--num-envs", type=int, help="servers side by side")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seeds", help="several, separated by commas: a run for each")
    parser.add_argument("--jobs", type=int, help="so many runs of --seeds at a time; 1 otherwise, on Ray all")
    parser.add_argument("--ray", action="store_true", help="runs on Ray's workers: a local one, or --ray-address's")
    parser.add_argument("--ray-address", metavar="ADDRESS", help="join the Ray cluster at this address")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where the folders of runs are made")
    parser.add_argument("--name", help="of the run's folder, with --seeds its beginning; the configuration's otherwise")
    return parser.parse_args()


def jobs_of(args: argparse.Namespace) -> list[Job]:
    """From the command line. Raises InputError."""
    if args.jobs is not None:
        check_count("--jobs", args.jobs, 2**10)
    if (args.config is None) == (args.resume is None):
        raise InputError("give --config FILE to begin a run, or --resume RUN to go on with one.")
    if args.resume is not None:
        return [_resumed(args)]
    config = read_agent_config(args.config)
    if args.scenario is not None:
        kept = {key: value for key, value in config.env.items() if key != "config"}
        config = config.replaced(env={**kept, "scenario": args.scenario})
    config = config.replaced(total_steps=args.timesteps, num_envs=args.num_envs, seed=args.seed)
    jobs = [
        Job(config.replaced(seed=seed), args.runs / _folder(args, config, seed), make_policy, args.device)
        for seed in seeds_of(args, config)
    ]
    for job in jobs:
        if job.folder.exists():
            raise InputError(f"{job.folder} is there already: --resume {job.folder}, or choose another --name.")
    return jobs


def seeds_of(args: argparse.Namespace, config: AgentConfig) -> list[int]:
    """Of the runs that are asked for. Raises InputError."""
    if args.seeds is None:
        return [config.seed]
    if args.seed is not None:
        raise InputError("--seed and --seeds: give one of the two.")
    try:
        seeds = [int(each) for each in args.seeds.split(",")]
    except ValueError as error:
        raise InputError(f"--seeds is {args.seeds!r}: give whole numbers separated by commas, e.g. 1,2,3.") from error
    if len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds is {args.seeds!r}: give each seed once.")
    return seeds


def _folder(args: argparse.Namespace, config: AgentConfig, seed: int) -> str:
    return args.name if args.name and args.seeds is None else f"{args.name or config.name}-{seed}"


def _resumed(args: argparse.Namespace) -> Job:
    for name in ("scenario", "num_envs", "seed", "seeds", "name"):
        if getattr(args, name) is not None:
            raise InputError(f"--{name.replace('_', '-')} with --resume: a run goes on as it began, leave it out.")
    try:
        document = config_document(args.resume)
    except OSError as error:
        raise InputError(f"{args.resume} is not the folder of a run ({error}): name one.") from error
    config = agent_config(document, document["name"])
    return Job(config.replaced(total_steps=args.timesteps), args.resume, make_policy, args.device)


def train_one(job: Job) -> None:
    """With a bar of progress."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    with Progress(*columns, TextColumn("{task.fields[rate]}"), TimeRemainingColumn(), console=Console()) as progress:
        do(job, Narrator(progress))
    print(f"ppo:{job.folder / job.config.name}")


def train_several(jobs: Sequence[Job], args: argparse.Namespace) -> int:
    """Side by side; returns how many have failed."""

    def tell(place: int, found: Outcome | Exception) -> None:
        if isinstance(found, Exception):
            print(f"{jobs[place].folder.name}: FAILED: {found}\n{go_on(jobs[place])}", file=sys.stderr, flush=True)

    if args.ray or args.ray_address is not None:
        jobs = [dataclasses.replace(job, folder=job.folder.resolve()) for job in jobs]  # a worker is anywhere
        found = do_all_on_ray(jobs, say=_print, address=args.ray_address, processes=args.jobs, on_ended=tell)
    else:
        found = do_all(jobs, processes=1 if args.jobs is None else args.jobs, on_ended=tell)
    outcomes = [each for each in found if isinstance(each, Outcome)]
    if outcomes:
        figure = jobs[0].config.evaluation.figure
        print_table([tuple(name.format(figure=figure) for name in COLUMNS), *table_of(outcomes)])
    return len(found) - len(outcomes)


def print_table(rows: Sequence[tuple[str, ...]]) -> None:
    """Of the held-out requests, the looks kept: wider than some terminals, and not to be cut."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        _print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print(line: str) -> None:
    print(line, flush=True)


def go_on(job: Job) -> str:
    """How a run that has been ended is gone on with."""
    if not (job.folder / "config.json").is_file():
        return "it had not begun: give the same command again, with its seed alone."
    return f"go on with:  python train.py --resume {job.folder}"


def main() -> int:
    args = parse_args()
    jobs: list[Job] = []
    try:
        jobs = jobs_of(args)
        if len(jobs) == 1 and args.seeds is None and not args.ray and args.ray_address is None:
            train_one(jobs[0])
            return 0
        return 1 if train_several(jobs, args) else 0
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        begun = [go_on(job) for job in jobs if (job.folder / "config.json").is_file()]
        print("\n".join(["interrupted", *begun]), file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
