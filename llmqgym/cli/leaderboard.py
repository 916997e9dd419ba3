"""`llmqgym leaderboard`: every policy on the same arrivals, with intervals and certified bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmqgym.cli.report import check_extras, report, show_report
from llmqgym.cli.submit import submit
from llmqgym.cli.verify import verify

if TYPE_CHECKING:
    from llmqgym.leaderboard.make import Maker
    from llmqgym.leaderboard.suite import Suite

Text = str | None
Texts = list[str] | None

INTERRUPTED = 130
_LIST = "with commas, or several times"
#: Of the tables in a file: the default suite's.
_WIDTH = 200

app = typer.Typer(help="Every policy on the same arrivals, with intervals and certified bounds.")
for command in (verify, report, submit):
    app.command()(command)


@app.callback(invoke_without_command=True)
def leaderboard(
    context: typer.Context,
    suite: Annotated[Text, typer.Option(help="quick, default or full. Default: default.")] = None,
    scenarios: Annotated[Texts, typer.Option(help=f"Scenarios in place of the suite's, {_LIST}.")] = None,
    policies: Annotated[
        Texts, typer.Option(help=f"Policies in place of the suite's: NAME or NAME:k=v,.. {_LIST}.")
    ] = None,
    trace: Annotated[Text, typer.Option(help="Your own traffic in place of scenarios: a trace, plain or .gz.")] = None,
    profile: Annotated[Text, typer.Option(help="Hardware: NAME or NAME:k=v,..")] = None,
    rho: Annotated[Texts, typer.Option(help=f"Loads, each scenario at each of them, {_LIST}.")] = None,
    predictor: Annotated[
        Text, typer.Option(help="In place of the scenarios' own: see `llmqgym list predictors`.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="So many seeds; of a trace, windows.")] = None,
    requests: Annotated[int | None, typer.Option(help="So many requests of warm-up and measurement a run.")] = None,
    stability: Annotated[bool, typer.Option("--stability", help="Search each policy's largest stable rate.")] = False,
    jobs: Annotated[int | None, typer.Option(help="So many runs at a time. Default: one for each CPU.")] = None,
    ray: Annotated[bool, typer.Option("--ray", help="Run on Ray: a local one, or that of --ray-address.")] = False,
    ray_address: Annotated[Text, typer.Option(help="Join the Ray cluster at this address.")] = None,
    show: Annotated[Texts, typer.Option(help=f"Print these metrics, {_LIST}. Default: mean and p99 e2e.")] = None,
    plots: Annotated[bool, typer.Option("--plots", help="Also draw PNGs, with the extra plots.")] = False,
    tensorboard: Annotated[
        Text, typer.Option(help="Also write a TensorBoard run for each policy here, with the extra train.")
    ] = None,
    out: Annotated[Text, typer.Option(help="Folder of the results. Default: leaderboard-SUITE.")] = None,
) -> None:
    """Run policies on the same arrivals and print the mean board and the tail board.

    An interrupted run goes on where it stopped when the same command is given again.
    """
    if context.invoked_subcommand is not None:
        return
    from llmqgym.cli.contestants import make_contestant
    from llmqgym.leaderboard.make import Maker

    chosen = _suite(
        suite, _split(scenarios), _specs(policies), trace, profile, _loads(rho), predictor, seeds, requests, stability
    )
    metrics = _metrics(_split(show))
    check_extras(plots=plots, tensorboard=tensorboard)
    maker = Maker(chosen, make_contestant, out or f"leaderboard-{chosen.name}")
    _run(maker, jobs=jobs, ray=ray or ray_address is not None, address=ray_address)
    document = maker.write(command_line())
    print_board(document, metrics)
    typer.echo(f"in {maker.store.folder}: leaderboard.json, leaderboard.csv, board.csv")
    show_report(document, maker.store.folder, plots=plots, tensorboard=tensorboard)


def _suite(
    name: Text, scenarios: list[str], policies: list[str], trace: Text, profile: Text, loads: list[float],
    predictor: Text, seeds: int | None, requests: int | None, stability: bool,
) -> Suite:  # fmt: skip
    from dataclasses import replace

    from llmqgym.errors import InputError
    from llmqgym.leaderboard.suite import load_suite

    if trace is not None and scenarios:
        raise InputError("both --trace and --scenarios: give one of the two.")
    if trace is not None and requests is not None:
        raise InputError("--requests is of scenarios; a trace is cut into --seeds windows: leave it out.")
    base = load_suite(name or "default")
    given: dict[str, Any] = {
        "scenarios": tuple(scenarios), "policies": tuple(policies), "profile": profile, "loads": tuple(loads),
        "predictor": predictor, "num_seeds": seeds, "num_requests": requests,
    }  # fmt: skip
    given = {key: value for key, value in given.items() if value not in (None, ())}
    if trace is not None:
        given |= {"trace": trace, "scenarios": (), "name": "trace"}
    return replace(base, **given, stability=stability or base.stability)


def _split(texts: Texts) -> list[str]:
    return [part.strip() for text in texts or [] for part in text.split(",") if part.strip()]


def _specs(texts: Texts) -> list[str]:
    """Specs in lists with commas, which specs have too: what is k=v without a name belongs to the spec before."""
    found: list[str] = []
    for part in _split(texts):
        if found and "=" in part.partition(":")[0]:
            found[-1] += f",{part}"
        else:
            found.append(part)
    return found


def _loads(texts: Texts) -> list[float]:
    from llmqgym.errors import InputError

    try:
        return [float(part) for part in _split(texts)]
    except ValueError as error:
        raise InputError(f"cannot read --rho {','.join(texts or [])}: give numbers, e.g. --rho 0.7,0.9.") from error


def _metrics(names: list[str]) -> list[str]:
    from llmqgym.errors import unknown
    from llmqgym.leaderboard.sheet import TITLES

    for name in names:
        if name not in TITLES:
            raise unknown("metric of a leaderboard", name, TITLES)
    return names or ["mean_e2e_s", "p99_e2e_s"]


def command_line() -> str:
    """The command that makes this board again."""
    import shlex
    import sys

    return shlex.join(["llmqgym", *sys.argv[1:]])


def _run(maker: Maker, *, jobs: int | None, ray: bool, address: str | None) -> None:
    from llmqgym.cli.output import waiting_for_the_kernel
    from llmqgym.simulator import load_kernel

    missing, num = len(maker.missing()), len(maker.plan.pieces)
    if missing < num:
        typer.echo(
            f"{num - missing} of {num} results are in {maker.store.folder} already: going on from there", err=True
        )
    if missing:
        with waiting_for_the_kernel():
            load_kernel()
    try:
        with progress(missing) as on_piece:
            maker.run(jobs=jobs, ray=ray, address=address, on_piece=on_piece)
    except KeyboardInterrupt:
        done = num - len(maker.missing())
        typer.secho(
            f"stopped: {done} of {num} results are kept in {maker.store.folder}; the same command goes on from there.",
            fg="yellow", err=True,
        )  # fmt: skip
        raise typer.Exit(INTERRUPTED) from None


@contextmanager
def progress(total: int) -> Iterator[Callable[[Any], None] | None]:
    """A bar on stderr, only on a terminal, that names what was done last."""
    import sys

    if not sys.stderr.isatty() or not total:
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda piece: progress.update(task, advance=1, description=escape(piece.title()))


def print_board(document: dict[str, Any], metrics: list[str]) -> None:
    """A table for each metric, and what its marks mean."""
    from llmqgym.cli.output import console
    from llmqgym.leaderboard.sheet import NOTES, sheet

    out = console(_WIDTH)
    for metric in metrics:
        out.print(_table(sheet(document, metric)))
    out.print(NOTES, markup=False, highlight=False)
    for line in _left_out(document):
        out.print(line, markup=False, highlight=False)


def _table(made: Any) -> Any:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=made.title, box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, title_justify="left")
    for place, name in enumerate(made.columns):
        table.add_column(escape(name), justify="right" if place else "left", no_wrap=place == 0)
    for row in made.rows:
        table.add_row(*map(escape, row))
    if made.apart:
        table.add_section()
    for row in made.apart:
        table.add_row(*map(escape, row), style="dim")
    return table


def _left_out(document: dict[str, Any]) -> list[str]:
    """Who stayed out, and why."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for cell in document["cells"]:
        if cell["skipped"] is not None:
            reasons.setdefault((cell["policy"], cell["skipped"]), []).append(cell["scenario"])
    return [f"{policy} is not in {', '.join(names)}: {reason}" for (policy, reason), names in reasons.items()]
