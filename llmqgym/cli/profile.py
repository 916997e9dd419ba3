"""`llmqgym profile`: how well the shipped hardware profiles meet the iteration times they were fitted to."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Hardware profiles.")

#: Largest mean relative error at which a profile is said to meet its samples.
MAX_MEAN_ERROR = 0.015


@app.callback()
def _group() -> None:
    """Hardware profiles."""


@app.command()
def check(
    folder: Annotated[str, typer.Option(help="Folder with sampled_iteration_times.csv.gz.")] = "../shared/profiles",
) -> None:
    """Compare every shipped profile with the sampled iteration times; exit code 1 if one is off by more than 1.5 %."""
    from rich.table import Table

    from llmqgym.cli.output import console
    from llmqgym.hardware.check import check_all

    reports = check_all(folder)
    table = Table("profile", "samples", "mean error", "p95", "max", "", title=reports[0]["note"], title_justify="left")
    for report in reports:
        good = report["mean"] <= MAX_MEAN_ERROR
        errors = [f"{report[name]:.2%}" for name in ("mean", "p95", "max")]
        table.add_row(report["name"], str(report["n"]), *errors, "ok" if good else "[red]too large[/red]")
    console().print(table)
    if any(report["mean"] > MAX_MEAN_ERROR for report in reports):
        raise typer.Exit(1)
