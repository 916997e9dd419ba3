"""`llmqgym leaderboard submit`: a policy or an agent of your own, run on the test seeds, as an entry to replay."""

from __future__ import annotations

from typing import Annotated

import typer

CODE = "{} is code: it runs here with your rights. Run only what you wrote, or have read."


def submit(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A Python file that defines policy and about; or ppo:FILE, an agent.")
    ],
    about: Annotated[
        str | None, typer.Option(help="Of an agent: a TOML file that declares how it was made, and by whom.")
    ] = None,
    out: Annotated[str, typer.Option(help="Folder of the entries.")] = "entries",
    suite: Annotated[str, typer.Option(help="quick, default or full.")] = "quick",
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="On the development seeds, as often as you like; no entry is made.")
    ] = False,
) -> None:
    """Try a policy or an agent out, run it beside vLLM on the suite's test seeds, and add a replayable entry.

    A Python file is run with your rights, an agent's files hold no code: docs/leaderboard_submission.md says what they
    have to define.
    """
    from tempfile import TemporaryDirectory

    from llmqgym.cli.contestants import load_submission, make_contestant, names_agent
    from llmqgym.cli.leaderboard import command_line, print_board, progress
    from llmqgym.leaderboard.submission import entry
    from llmqgym.leaderboard.submission.listing import code_of, write_table
    from llmqgym.leaderboard.suite import load_suite

    chosen = load_suite(suite)
    if not names_agent(file):
        typer.secho(CODE.format(file), fg="yellow", err=True)
    loaded = load_submission(file, about)
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
    asked = " --run-code" if code_of(home) else ""
    typer.echo(f"anyone can replay it: llmqgym leaderboard verify {home}{asked}")
