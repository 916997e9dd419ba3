"""`llmqgym leaderboard verify`: whether a board can be had again, bit for bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llmqgym.cli.submit import CODE

if TYPE_CHECKING:
    from llmqgym.leaderboard.verify import Replay, Verdict


def verify(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder of a leaderboard.")],
    rows: Annotated[int, typer.Option(help="Replay so many runs, chosen at random.")] = 10,
    everything: Annotated[bool, typer.Option("--all", help="Replay all of them.")] = False,
    seed: Annotated[int | None, typer.Option(help="Of the choice.")] = None,
    run_code: Annotated[
        bool,
        typer.Option(
            "--run-code", help="Of a policy's entry: run the file in it, which is code of whoever entered it."
        ),
    ] = False,
) -> None:
    """Make a board again from its stored runs, and some of these from nothing; exit code 1 if a bit differs.

    DIR may also hold entries (`leaderboard submit`): then each of them is verified.
    """
    from llmqgym.cli.contestants import make_contestant
    from llmqgym.leaderboard.submission.entry import contestants_in
    from llmqgym.leaderboard.submission.listing import boards_in
    from llmqgym.leaderboard.verify import verify

    def on_start(changes: list[str], num: int) -> None:
        for change in changes:
            typer.secho(f"note: {change}", fg="yellow")
        typer.echo(f"replaying {num} of the stored results")

    boards = boards_in(folder)
    for home in boards:
        _check_code(home, run_code=run_code)
    hold = True
    for home in boards:
        if len(boards) > 1:
            typer.echo(f"{home}:")
        made = contestants_in(make_contestant, home)
        verdict = verify(home, made, None if everything else rows, seed, on_start, _say)
        _conclude(verdict)
        hold = hold and verdict.holds
    if not hold:
        raise typer.Exit(1)


def _check_code(home: Path, *, run_code: bool) -> None:
    """Raises InputError for an altered file, and for code that nobody has said to run."""
    from llmqgym.errors import InputError
    from llmqgym.leaderboard.submission.listing import code_of

    code = code_of(home)
    if code and not run_code:
        raise InputError(f"{CODE.format(', '.join(map(str, code)))} Then give --run-code.")


def _say(replay: Replay) -> None:
    if replay.differences:
        typer.secho(f"differs: {replay.piece.title()}: {', '.join(replay.differences)}", fg="red")


def _conclude(verdict: Verdict) -> None:
    for part in verdict.misread:
        typer.secho(f"not what the stored runs say: {part}", fg="red")
    same = sum(not replay.differences for replay in verdict.replays)
    typer.echo(f"{same} of {len(verdict.replays)} replayed results are the same, bit for bit.")
    if verdict.holds:
        typer.secho("the board holds.", fg="green")
