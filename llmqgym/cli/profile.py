"""`llmqgym profile`: make hardware profiles, and hold the shipped ones against the figures they come from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Hardware profiles.")

#: Largest mean relative error at which a profile is said to meet its samples.
MAX_MEAN_ERROR = 0.015


@app.callback()
def _group() -> None:
    """Hardware profiles."""


@app.command()
def make(
    gpu: Annotated[str, typer.Option(help="E.g. h200; an unknown one lists them all.")],
    model: Annotated[str, typer.Option(help="E.g. llama-3-70b; an unknown one lists them all.")],
    tp: Annotated[int, typer.Option(help="Tensor parallelism: GPUs of one replica.")] = 1,
    weight_precision: Annotated[str, typer.Option(help="Of the layers: bf16 or fp8.")] = "bf16",
    kv_precision: Annotated[str, typer.Option(help="Of the KV cache: bf16 or fp8.")] = "bf16",
    memory_utilisation: Annotated[float, typer.Option(help="Share of the memory that the engine may use.")] = 0.9,
    source: Annotated[str, typer.Option(help="auto, aiconfigurator (measured tables) or roofline.")] = "auto",
    out: Annotated[str | None, typer.Option(help="The file, '-' for stdout only. Default: NAME.profile.json.")] = None,
) -> None:
    """Make a profile of a GPU and a model, ready for `llmqgym simulate --profile FILE`."""
    from llmqgym.files import check_outputs
    from llmqgym.hardware.make import make_profile

    check_outputs([out])
    made = make_profile(
        gpu, model, tensor_parallel=tp, weight_precision=weight_precision, kv_precision=kv_precision,
        memory_utilisation=memory_utilisation, source=source,
    )  # fmt: skip
    path = out or _default_file(made.document)
    _put(made.document, path)
    if path != "-":
        _describe(made, path)


@app.command()
def check(
    folder: Annotated[str, typer.Option(help="Folder with the samples and the measurements.")] = "../shared/profiles",
    maker: Annotated[
        str | None, typer.Option(help="Also what this maker makes of the same pairs: roofline or aiconfigurator.")
    ] = None,
    json: Annotated[str | None, typer.Option(help="Write everything as JSON, '-' for stdout only.")] = None,
) -> None:
    """Hold every shipped profile against the sampled iteration times and the end-to-end measurements.

    Exit code 1 if one is off its samples by more than 1.5 % in the mean; the other figures are for reading.
    """
    from llmqgym.cli.output import put_json
    from llmqgym.files import check_outputs
    from llmqgym.hardware.check import check_report

    check_outputs([json])
    report = check_report(folder, maker)
    if json is not None:
        put_json(json, report)
    if json != "-":
        _print_report(report)
    if any(row["mean"] > MAX_MEAN_ERROR for row in report["samples"]):
        raise typer.Exit(1)


def _put(document: dict[str, Any], path: str) -> None:
    """Write the profile to a file, or to stdout for '-'."""
    from llmqgym.files import atomic_text
    from llmqgym.hardware.documents import text_of

    text = text_of(document)
    if path == "-":
        typer.echo(text, nl=False)
        return
    with atomic_text(path) as file:
        file.write(text)


def _default_file(document: dict[str, Any]) -> str:
    from llmqgym.hardware.registry import MADE_SUFFIX

    return f"{document['name']}{MADE_SUFFIX}"


def _describe(made: Any, path: str) -> None:
    """What was made, from what and why, and how to use it."""
    document = made.document
    lines = (
        f"{document['name']}: {document['origin']}, from {made.source} ({made.why})",
        f"KV cache: {document['kv_token_capacity']:,} tokens of {document['kv_bytes_per_token']:,} bytes",
        f"known error: {document['known_error']}",
        f"written to {path}: llmqgym simulate --profile {path}",
    )
    typer.echo("\n".join(lines))


def _print_report(report: dict[str, Any]) -> None:
    from llmqgym.cli.output import console

    out = console()
    out.print(_samples(report["samples"], report["note"], MAX_MEAN_ERROR))
    out.print(_end_to_end(report["end_to_end"], report["end_to_end_note"]))
    if "made" in report:
        made = report["made"]
        out.print(_samples(made["samples"], f"made by {made['maker']}, {report['note']}", None))
        out.print(_end_to_end(made["end_to_end"], f"made by {made['maker']}, {report['end_to_end_note']}"))
        out.print(_against_tables(made.get("against_tables", [])))


def _samples(rows: list[dict[str, Any]], title: str, limit: float | None) -> Any:
    """Errors against the samples, with a verdict where there is a limit."""
    from rich.table import Table

    kinds = ("decode", "prefill", "mixed")
    table = Table("profile", "samples", "mean error", "p95", "max", *kinds, "", title=title, title_justify="left")
    for row in rows:
        errors = [f"{row[name]:.2%}" for name in ("mean", "p95", "max")]
        by_kind = [f"{row['by_kind'][kind]['mean']:.1%}" if kind in row["by_kind"] else "" for kind in kinds]
        verdict = "" if limit is None else "ok" if row["mean"] <= limit else "[red]too large[/red]"
        table.add_row(row["name"], str(row["n"]), *errors, *by_kind, verdict)
    return table


def _against_tables(rows: list[dict[str, Any]]) -> Any:
    """The roofline against AIConfigurator's tables, by kind of iteration."""
    from rich.table import Table

    if not rows:
        return ""
    kinds = ("decode", "prefill", "mixed")
    table = Table("gpu", "model", "tp", *kinds, title="roofline against AIConfigurator's tables", title_justify="left")
    for row in rows:
        errors = ["mean {mean:.0%}, worst {max:.0%}, bias {bias:+.0%}".format(**row[kind]) for kind in kinds]
        table.add_row(row["gpu"], row["model"], str(row["tensor_parallel"]), *errors)
    return table


def _end_to_end(rows: list[dict[str, Any]], title: str) -> Any:
    """Prefills of one request by prompt and decodes by batch; every setting is in the JSON."""
    from rich.table import Table

    from llmqgym.hardware.endtoend import is_shown

    columns = ("profile", "phase", "prompt", "batch", "measured ms", "bare ms", "error", "full ms", "error")
    table = Table(*columns, title=title, title_justify="left")
    for row in filter(is_shown, rows):
        times = [row["measured_ms"], row["bare_ms"], row["full_ms"]]
        measured, bare, full = (f"{time:.1f}" for time in times)
        errors = [f"{row[name]:+.0%}" for name in ("bare_error", "full_error")]
        sizes = (str(row["prompt_tokens"]), str(row["batch"]))
        table.add_row(row["profile"], row["phase"], *sizes, measured, bare, errors[0], full, errors[1])
    return table
