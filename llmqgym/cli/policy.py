"""`llmqgym policy`: pages of the baselines."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="The scheduling policies that come with llmqgym.")


@app.callback()
def _policy() -> None:
    """The scheduling policies that come with llmqgym."""


@app.command()
def show(name: Annotated[str, typer.Argument(help="a name of `llmqgym list policies`, or an alias")]) -> None:
    """Print a policy's page: rule, parameters with their defaults, what it needs, cost and source."""
    from baselines.page import page_of

    typer.echo(page_of(name), nl=False)
