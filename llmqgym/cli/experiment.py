"""`llmqgym experiment`: carry out a study by name, show what came of it, write its figures, picture and page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from llmqgym.experiments import Experiment

Text = str | None


def experiment(
    name: Annotated[str, typer.Argument(metavar="NAME|list")],
    quick: Annotated[bool, typer.Option("--quick", help="A small form of it, in seconds.")] = False,
    out: Annotated[Text, typer.Option(help="Write experiment-NAME.json and .svg into this folder.")] = None,
    seeds: Annotated[int | None, typer.Option(help="How many seeds: 0, 1, ..")] = None,
    jobs: Annotated[int | None, typer.Option(help="So many processes. Default: one for each CPU.")] = None,
    markdown: Annotated[
        Text, typer.Option(help="Rewrite its section of this page, its picture beside it: docs/results.md.")
    ] = None,
    json: Annotated[Text, typer.Option(help="Write the document as JSON, '-' for stdout only.")] = None,
) -> None:
    """Carry out an experiment; `llmqgym experiment list` names them.

    Its figures do not depend on the number of processes.
    """
    from baselines.registry import make_policy
    from llmqgym.cli.output import progress_bar, put_json, waiting_for_the_kernel
    from llmqgym.experiments import find_experiment
    from llmqgym.experiments.report import carry_out, check_files, check_jobs, settings_of, write
    from llmqgym.files import check_outputs
    from llmqgym.simulator import load_kernel

    if name == "list":
        _list()
        return
    found = find_experiment(name)
    settings = settings_of(found, quick, seeds)
    check_jobs(jobs)
    folder, page = (None if path is None else Path(path) for path in (out, markdown))
    check_files(found, folder, page)
    check_outputs([json])
    with waiting_for_the_kernel():
        load_kernel()
    with progress_bar(1) as on_progress:
        document = carry_out(
            found, settings, make_policy, _command(name, quick, seeds, markdown), jobs=jobs, on_progress=on_progress
        )
    written = write(found, document, folder, page)
    if json is not None:
        put_json(json, document)
    if json != "-":
        _print(found, document, written)


def _command(name: str, quick: bool, seeds: int | None, markdown: str | None) -> str:
    """What makes these figures again."""
    options = ["--quick"] if quick else []
    options += [] if seeds is None else [f"--seeds {seeds}"]
    options += [] if markdown is None else [f"--markdown {markdown}"]
    return " ".join(["llmqgym experiment", name, *options])


def _list() -> None:
    from rich import box
    from rich.table import Table

    from llmqgym.cli.output import console
    from llmqgym.experiments import EXPERIMENTS

    table = Table(title="experiments", box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("name", no_wrap=True)
    table.add_column("what", overflow="fold")
    for name, found in EXPERIMENTS.items():
        table.add_row(name, found.summary)
    console().print(table)


def _print(found: Experiment, document: dict[str, Any], written: list[Path]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from llmqgym.cli.output import console, duration

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, column in enumerate(found.columns(document)):
        table.add_column(column, justify="right" if place else "left")
    for row in found.rows(document):
        table.add_row(*map(escape, row))
    out = console()
    out.print(table)
    for sentence in found.findings(document):
        out.print(f"* {sentence}", markup=False, highlight=False)
    for path in written:
        out.print(f"written: {path}", markup=False, highlight=False)
    out.print(f"{found.name}: {duration(document['wall_s'])}.", markup=False, highlight=False)
