"""`llmqgym validate`: run every proof again, show what came of it, exit with 1 if anything is outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from llmqgym.validation import Check, Outcome

Text = str | None

OUTSIDE = 1
_COLORS = {"ok": "green", "outside": "bold red", "not run": "yellow"}


def validate(
    quick: Annotated[bool, typer.Option("--quick", help="A part of the checks, with fewer jobs: minutes.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help="Only these groups: several times, or a list with commas.")
    ] = None,
    markdown: Annotated[Text, typer.Option(help="Write the page, e.g. docs/validation.md.")] = None,
    json: Annotated[Text, typer.Option(help="Write the results as JSON, '-' for stdout only.")] = None,
    processes: Annotated[int | None, typer.Option(help="So many checks at a time. Default: one for each CPU.")] = None,
    list_groups: Annotated[bool, typer.Option("--list", help="List the groups and how many checks they have.")] = False,
) -> None:
    """Hold the simulator against vLLM's logs, queueing theory, published examples and exact optima.

    Exit code 1 if a check is outside; a check whose material is missing is not run, and says so.
    """
    import time

    from llmqgym.cli.output import console, put_json, waiting_for_the_kernel
    from llmqgym.files import atomic_text, check_outputs
    from llmqgym.simulator import load_kernel
    from llmqgym.validation import checks_of, report
    from llmqgym.validation.run import run_checks

    groups = [name for text in only for name in text.split(",")] if only else None
    if list_groups:
        console().print(_groups())
        return
    check_outputs([markdown, json])
    checks = checks_of(groups, quick)
    with waiting_for_the_kernel():
        load_kernel()
    began = time.perf_counter()
    with _progress(checks) as on_outcome:
        outcomes = run_checks(checks, quick=quick, processes=processes, on_outcome=on_outcome)
    made = report.document(outcomes, _command(quick, groups, markdown), quick, time.perf_counter() - began)
    if markdown is not None:
        with atomic_text(markdown) as file:
            file.write(report.markdown(made))
    if json is not None:
        put_json(json, made)
    if json != "-":
        _print(made)
    if made["counts"]["outside"]:
        raise typer.Exit(OUTSIDE)


def _command(quick: bool, groups: list[str] | None, markdown: str | None) -> str:
    """What makes these results again."""
    options = ["--quick"] if quick else []
    options += [] if groups is None else [f"--only {','.join(groups)}"]
    options += [] if markdown is None else [f"--markdown {markdown}"]
    return " ".join(["llmqgym validate", *options])


@contextmanager
def _progress(checks: list[Check]) -> Iterator[Callable[[Outcome], None] | None]:
    """A bar on stderr, only on a terminal, that names what came last."""
    import sys

    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("validating", total=sum(check.cost_s for check in checks))

        def on_outcome(outcome: Outcome) -> None:
            progress.update(task, advance=outcome.check.cost_s, description=escape(outcome.check.group))
            if outcome.verdict.value != "ok":
                color = _COLORS[outcome.verdict.value]
                progress.print(f"[{color}]{outcome.verdict.value}[/{color}] {escape(outcome.check.name)}")

        yield on_outcome


def _groups() -> Any:
    from rich import box
    from rich.table import Table

    from llmqgym.validation import GROUPS, checks_of

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, right in (("group", False), ("checks", True), ("quick", True), ("what", False)):
        table.add_column(name, justify="right" if right else "left", no_wrap=name == "group")
    for name, group in GROUPS.items():
        table.add_row(name, str(len(checks_of([name]))), str(len(checks_of([name], quick=True))), group.summary)
    return table


def _print(made: dict[str, Any]) -> None:
    """A table of all checks, then those that are not ok with their explanations."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from llmqgym.cli.output import console, duration
    from llmqgym.validation.report import expectation, figure, measurement, summary

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("group", "check", "expected", "tolerance", "measured", ""):
        table.add_column(name, justify="left" if name in ("group", "check", "") else "right")
    group = None
    for row in made["checks"]:
        if group not in (None, row["group"]):
            table.add_section()
        group = row["group"]
        color = _COLORS[row["verdict"]]
        numbers = (expectation(row), figure(row["tolerance"]), measurement(row))
        table.add_row(group, escape(row["name"]), *numbers, f"[{color}]{row['verdict']}[/{color}]")
    out = console()
    out.print(table)
    for row in made["checks"]:
        if row["verdict"] != "ok":
            color = _COLORS[row["verdict"]]
            about = escape(f"{row['group']}: {row['name']} ({row['source']}): {row['explanation']}")
            out.print(f"[{color}]{row['verdict']}[/{color}] {about}", highlight=False)
    out.print(f"{summary(made['counts'])} in {duration(made['wall_s'])}.", markup=False, highlight=False)
