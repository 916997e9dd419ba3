"""An experiment carried out: its settings, its document with what made it, its section of a page."""

from __future__ import annotations

import dataclasses
import datetime
import time
from pathlib import Path
from typing import Any

from llmqgym import __version__
from llmqgym.errors import InputError
from llmqgym.experiments.arms import MakePolicy, OnProgress
from llmqgym.experiments.experiment import Document, Experiment, seeds_of
from llmqgym.files import atomic_text, check_outputs, write_json
from llmqgym.machine import machine
from llmqgym.markdown import put_section, table


def settings_of(experiment: Experiment, quick: bool, num_seeds: int | None) -> Any:
    """The settings asked for. Raises InputError for seeds where nothing is random."""
    settings = experiment.quick if quick else experiment.full
    if num_seeds is None:
        return settings
    if "seeds" not in {field.name for field in dataclasses.fields(settings)}:
        raise InputError(f"seeds is {num_seeds}, and nothing in {experiment.name} is random: leave it out.")
    return dataclasses.replace(settings, seeds=seeds_of(num_seeds))


def check_jobs(jobs: int | None) -> None:
    """Raises InputError for less than one."""
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs is {jobs}: give 1 or more, or leave it out for one for each CPU.")


def carry_out(
    experiment: Experiment,
    settings: Any,
    make_policy: MakePolicy,
    command: str,
    *,
    jobs: int | None = None,
    on_progress: OnProgress | None = None,
) -> Document:
    """The experiment's document, and who made it when, where and in what time. Raises InputError."""
    began = time.perf_counter()
    document = experiment.run(settings, make_policy, jobs=jobs, on_progress=on_progress)
    return {
        "command": command,
        "version": __version__,
        "finished_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "wall_s": time.perf_counter() - began,
        **document,
    }


def files_of(experiment: Experiment, folder: Path) -> tuple[Path, Path]:
    """The document and the picture in a folder."""
    return folder / f"experiment-{experiment.name}.json", folder / f"experiment-{experiment.name}.svg"


def check_files(experiment: Experiment, out: Path | None, page: Path | None) -> None:
    """Before any work: everything can be written. Raises InputError or OutputError."""
    paths = [*(() if out is None else files_of(experiment, out))]
    if page is not None:
        paths += [page, files_of(experiment, page.parent)[1]]
    check_outputs(dict.fromkeys(paths))


def write(experiment: Experiment, document: Document, out: Path | None, page: Path | None) -> list[Path]:
    """The document and the picture in the folder `out`; the section on a page with the picture beside it. Returns what
    was written. Raises OutputError."""
    written = []
    svg = experiment.picture(document)
    for folder in dict.fromkeys(each for each in (out, None if page is None else page.parent) if each is not None):
        picture = files_of(experiment, folder)[1]
        with atomic_text(picture) as file:
            file.write(svg)
        written.append(picture)
    if page is not None:
        put_section(page, title(experiment), section(experiment, document))
        written.append(page)
    if out is not None:
        path = files_of(experiment, out)[0]
        write_json(path, document)
        written.append(path)
    return written


def title(experiment: Experiment) -> str:
    """Of its section."""
    return f"Experiment {experiment.name}"


def section(experiment: Experiment, document: Document) -> str:
    """What stands on the page."""
    lines = [
        f"`{document['command']}`: {_seeds(document)}{_wall(document['wall_s'])} on {document['machine']}, version "
        f"{document['version']}. {experiment.about}",
        "",
        f"![{experiment.summary}]({files_of(experiment, Path())[1]})",
        "",
        *(f"* {sentence}" for sentence in experiment.findings(document)),
        "",
        *table(experiment.columns(document), experiment.rows(document)),
    ]
    return "\n".join(lines)


def _seeds(document: Document) -> str:
    seeds = document["settings"].get("seeds")
    return "" if seeds is None else f"{len(seeds)} seeds (0 to {len(seeds) - 1}), "


def _wall(wall_s: float) -> str:
    return f"{wall_s:.0f} s" if wall_s < 120 else f"{wall_s / 60:.1f} minutes"
