"""The app `llmqgym`: its commands, and how an error reaches the user (one red line, exit code 2, no traceback)."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from llmqgym import __version__
from llmqgym.cli.agent import app as agent_app
from llmqgym.cli.bench import bench
from llmqgym.cli.bound import bound
from llmqgym.cli.experiment import experiment
from llmqgym.cli.explain import explain
from llmqgym.cli.leaderboard import app as leaderboard_app
from llmqgym.cli.listing import list_names
from llmqgym.cli.load import load
from llmqgym.cli.policy import app as policy_app
from llmqgym.cli.predictor import app as predictor_app
from llmqgym.cli.profile import app as profile_app
from llmqgym.cli.simulate import simulate
from llmqgym.cli.theory import theory
from llmqgym.cli.trace import app as trace_app
from llmqgym.cli.validate import validate
from llmqgym.cli.workload import app as workload_app
from llmqgym.errors import InputError
from llmqgym.files import OutputError

BAD_INPUT = 2


class Commands(TyperGroup):
    """The group of commands; turns InputError and OutputError into a line on stderr."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (InputError, OutputError) as error:
            typer.secho(f"error: {error}", fg="red", err=True)
            raise typer.Exit(BAD_INPUT) from error


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A simulated LLM inference server for scheduling research.",
)
app.command()(simulate)
app.command()(load)
app.command()(bound)
app.command()(theory)
app.command()(validate)
app.command()(experiment)
app.command()(explain)
app.command("list")(list_names)
app.add_typer(agent_app, name="agent")
app.add_typer(leaderboard_app, name="leaderboard")
app.add_typer(policy_app, name="policy")
app.add_typer(predictor_app, name="predictor")
app.add_typer(profile_app, name="profile")
app.add_typer(trace_app, name="trace")
app.add_typer(workload_app, name="workload")
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(bench)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"llmqgym {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """A simulated LLM inference server for scheduling research."""


def main() -> None:
    """Entry point of the command `llmqgym`."""
    app(prog_name="llmqgym")
