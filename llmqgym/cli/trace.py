"""`llmqgym trace`: what is in a trace file."""

from __future__ import annotations

from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Trace files.")


@app.callback()
def _group() -> None:
    """Trace files."""


@app.command()
def info(
    file: Annotated[str, typer.Argument(help="A trace, plain or .gz, of any known format.")],
    json: Annotated[str | None, typer.Option(help="Write it as JSON to this file, '-' for stdout only.")] = None,
) -> None:
    """Describe a trace: format, rate, lengths, corrections."""
    from llmqgym.cli.output import put_json
    from llmqgym.files import check_outputs
    from llmqgym.workload.info import describe
    from llmqgym.workload.traces.open import read_trace

    check_outputs([json], [file])
    description = describe(read_trace(file))
    if json is not None:
        put_json(json, description)
    if json != "-":
        _print(description)


def _print(description: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from llmqgym.cli.output import console

    source = description["source"]
    table = Table("", "", show_header=False, box=None, pad_edge=False)
    table.add_row("trace", escape(str(source["path"])))
    table.add_row("format", str(source["format"]))
    table.add_row("attribution", str(source["attribution"]))
    table.add_row("requests", f"{description['num_requests']:,} in {description['duration_s']:,.1f} s")
    table.add_row(
        "rate", f"{description['rate_per_s']:.3f} requests/s, cv of the gaps {description['interarrival_cv']:.2f}"
    )
    for name in ("prompt_tokens", "output_tokens"):
        table.add_row(name, ", ".join(f"{key} {value:,.0f}" for key, value in description[name].items()))
    for name in ("tenants", "priorities"):
        table.add_row(name, str(description[name]["num"]))
    corrected = [f"{name} {count}" for name, count in description["corrections"].items() if count]
    table.add_row("corrections", ", ".join(corrected) or "none")
    console().print(table)
