"""Jobs: training runs to be done, one here, or several beside each other: in processes, or on Ray's workers.

Each is the same run wherever it is done, to the last bit; what fails or is killed ends no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from agents.checkpoint import has_checkpoint
from agents.config import AgentConfig
from agents.outcome import Outcome, outcome_of
from agents.shipping import ship
from agents.telling import Teller
from agents.training import Listener, Run
from llmqgym.cluster import cluster
from llmqgym.errors import InputError
from llmqgym.parallel import each_apart, num_cpus, prepare
from llmqgym.policy import Policy

#: Between two looks at what Ray's workers have said.
_LOOK_S = 0.5

#: A line for the terminal.
Say = Callable[[str], None]
#: Of the job at a place, when it has ended.
OnEnded = Callable[[int, Outcome | Exception], None]


@dataclass(frozen=True)
class Job:
    """A run to be done in a folder: from its checkpoint where there is one. `device` may be "auto"; `make_policy`
    (baselines.registry's) makes the named baselines, in another process too."""

    config: AgentConfig
    folder: Path
    make_policy: Callable[[str], Policy]
    device: str = "auto"


def begin(job: Job, listener: Listener) -> Run:
    """Up to where training goes on, in this process: the warm start is done, or the checkpoint read. Raises
    InputError."""
    torch.set_num_threads(1)
    torch.distributions.Distribution.set_default_validate_args(False)
    device = job.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    run = Run(job.config, job.folder, job.make_policy, device)
    if has_checkpoint(job.folder):
        run.restore()
        listener.resumed(run)
    else:
        run.start(listener)
    return run


def do(job: Job, listener: Listener) -> Outcome:
    """Train to the end and write the agent's files into the folder, in this process. Raises InputError."""
    run = begin(job, listener)
    run.go_on(listener)
    ship(run, run.folder)
    return outcome_of(run.folder.name, run.kept, run.others, run.config.evaluation.figure, run.wall_s)


def do_all(jobs: Sequence[Job], *, processes: int = 1, on_ended: OnEnded | None = None) -> list[Outcome | Exception]:
    """Each in a process of its own that prints its lines, so many at a time; a script that calls this has to do so
    below `if __name__ == "__main__":`. What ended a job stands in its place."""
    _prepare(jobs)
    return each_apart(_print_and_do, jobs, processes=processes, on_done=on_ended)


def _print_and_do(job: Job) -> Outcome:
    return do(job, Teller(_print))


def _print(line: str) -> None:
    print(line, flush=True)


def _prepare(jobs: Sequence[Job]) -> None:
    """Compile before several processes want it, and refuse what cannot reach them."""
    for job in jobs:
        prepare({spec for specs in job.config.baselines_beside.values() for spec in specs}, job.make_policy)


def do_all_on_ray(
    jobs: Sequence[Job],
    *,
    say: Say,
    address: str | None = None,
    processes: int | None = None,
    on_ended: OnEnded | None = None,
) -> list[Outcome | Exception]:
    """The same on a Ray cluster: the one at `address`, or one that is started here with `processes` CPUs (None: all).
    A job takes one CPU. Its folder is made on the file system of the worker that it comes to. Raises InputError."""
    if processes is not None and processes < 1:
        raise InputError(f"processes is {processes}: give 1 or more.")
    found: dict[int, Outcome | Exception] = {}
    with cluster(address, num_cpus() if processes is None else processes) as ray:
        from ray.util.queue import Queue

        lines = Queue(actor_options={"num_cpus": 0})
        on_worker = ray.remote(max_retries=0)(_tell_and_do)
        running = {on_worker.remote(job, lines): place for place, job in enumerate(jobs)}
        while running:
            done, _ = ray.wait(list(running), timeout=_LOOK_S)
            for line in lines.get_nowait_batch(lines.size()):
                say(line)
            for each in done:
                place = running.pop(each)
                found[place] = _result(ray, each)
                if on_ended is not None:
                    on_ended(place, found[place])
    return [found[place] for place in range(len(jobs))]


def _tell_and_do(job: Job, lines: Any) -> Outcome:
    """On a worker."""
    return do(job, Teller(lines.put))


def _result(ray: Any, reference: Any) -> Outcome | Exception:
    try:
        found: Outcome = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        return error.cause if isinstance(error.cause, InputError) else RuntimeError(str(error))
    except ray.exceptions.RayError as error:
        return RuntimeError(f"its worker was ended ({error})")
    return found
