"""`llmqgym leaderboard submit`: a policy in a file of your own, run on the test seeds, as an entry to replay."""

from __future__ import annotations

from typing import Annotated

import typer

CODE = "{} is code: it runs here with your rights. Run only what you wrote, or have read."


def submit(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A Python file that defines policy and about.")],
    out: Annotated[str, typer.Option(help="Folder of the entries.")] = "entries",
    suite: Annotated[str, typer.Option(help="quick, default or full.")] = "quick",
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="On the development seeds, as often as you like; no entry is made.")
    ] = False,
) -> None:
    """Try a policy of your own out, run it beside vLLM on the suite's test seeds, and add a replayable entry.

    The file is Python, and is run with your rights: docs/leaderboard_submission.md says what it has to define.
    """
    from tempfile import TemporaryDirectory

    from llmqgym.cli.contestants import load_file, make_contestant
    from llmqgym.cli.leaderboard import command_line, print_board, progress
    from llmqgym.leaderboard.submission import entry
    from llmqgym.leaderboard.submission.listing import write_table
    from llmqgym.leaderboard.suite import load_suite

    chosen = load_suite(suite)
    typer.secho(CODE.format(file), fg="yellow", err=True)
    loaded = load_file(file)
    with progress(len(chosen.scenarios) * chosen.num_seeds * 3) as on_piece:
        if rehearse:
            with TemporaryDirectory() as folder:
                document = entry.rehearse(loaded, chosen, make_contestant, folder, on_piece)
        else:
            home, document = entry.enter(
                loaded, chosen, make_contestant, out, command=command_line(), on_piece=on_piece
            )
    print_board(document, ["mean_e2e_s", "p99_e2e_s"])
    if rehearse:
        typer.echo("a rehearsal on the development seeds: nothing was kept.")
        return
    typer.echo(f"entered as {home}; the table of all entries: {write_table(out)}")
    typer.echo(f"anyone can replay it: llmqgym leaderboard verify {home} --run-code")
