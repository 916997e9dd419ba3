"""`llmqgym leaderboard report`: a board that is there, as a page, pictures, TensorBoard runs and a recommendation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer


def report(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder of a leaderboard.")],
    plots: Annotated[bool, typer.Option("--plots", help="Also draw PNGs, with the extra plots.")] = False,
    tensorboard: Annotated[
        str | None, typer.Option(help="Also write a TensorBoard run for each policy here, with the extra train.")
    ] = None,
) -> None:
    """Write the page of a board again, from its leaderboard.json alone: nothing is run."""
    from llmqgym.leaderboard.make import PAGE, read_document
    from llmqgym.leaderboard.report.page import write_page
    from llmqgym.leaderboard.report.words import recommend

    check_extras(plots=plots, tensorboard=tensorboard)
    document = read_document(folder)
    document["recommendation"] = recommend(document)
    write_page(Path(folder) / PAGE, document)
    show_report(document, Path(folder), plots=plots, tensorboard=tensorboard)


def check_extras(*, plots: bool, tensorboard: str | None) -> None:
    """Before anything is run. Raises InputError."""
    from llmqgym.leaderboard.report.plots import check_matplotlib
    from llmqgym.leaderboard.report.scalars import check_tensorboard

    if plots:
        check_matplotlib()
    if tensorboard is not None:
        check_tensorboard()


def show_report(document: dict[str, Any], folder: Path, *, plots: bool, tensorboard: str | None) -> None:
    """Print the recommendation, make the pictures, and say where everything is. Raises InputError, OutputError."""
    from llmqgym.leaderboard.make import PAGE
    from llmqgym.leaderboard.report.plots import write_plots
    from llmqgym.leaderboard.report.scalars import write_runs
    from llmqgym.leaderboard.report.words import lines

    for line in lines(document["recommendation"]):
        typer.echo(line)
    if plots:
        typer.echo(f"in {folder / 'plots'}: {len(write_plots(folder / 'plots', document))} pictures")
    if tensorboard is not None:
        typer.echo(
            f"in {tensorboard}: {len(write_runs(tensorboard, document))} runs: tensorboard --logdir {tensorboard}"
        )
    typer.echo(f"to look at: {(folder / PAGE).resolve().as_uri()}")
