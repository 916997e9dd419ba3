"""`llmqgym agent`: trained agents as files."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help="Trained agents.")

FILE = typer.Argument(help="The files of an agent, by the path of either; or the name of a shipped one.")


@app.callback()
def _agent() -> None:
    """Trained agents."""


@app.command()
def export(
    file: Annotated[str, FILE],
    onnx: Annotated[str, typer.Option(help="Write the network, with the mask in it, to this ONNX file.")],
) -> None:
    """Write an agent in a format of others."""
    from agents.contestant import load_agent
    from llmqgym.errors import InputError
    from llmqgym.files import check_outputs

    check_outputs([onnx])
    agent = load_agent(file)
    try:
        from agents.onnx_export import write_onnx
    except ImportError as error:
        raise InputError(f"cannot export: {error}: pip install 'llmqgym[onnx]'.") from error
    write_onnx(onnx, agent)
    layout = agent.layout
    typer.echo(f"{onnx}: observations float32 [n, {layout.size}] and masks int8 [n, {layout.num_actions}] in,")
    typer.echo(f"logits float32 [n, {layout.num_actions}] and commands int64 [n] out.")
