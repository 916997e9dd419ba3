"""`llmqgym predictor`: what predictions of output length are worth."""

from __future__ import annotations

from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Predictors of output length.")

_DEFAULT_REQUESTS = 10_000


@app.callback()
def _group() -> None:
    """Predictors of output length."""


@app.command()
def report(
    spec: Annotated[str, typer.Argument(help="NAME or NAME:k=v,..; 'trace': the file's own predictions.")],
    trace: Annotated[str | None, typer.Option(help="On the lengths of this file, plain or .gz.")] = None,
    workload: Annotated[str | None, typer.Option(help="On the outputs of a named workload.")] = None,
    requests: Annotated[
        int | None, typer.Option(help="How many requests. Default: all of a file, 10,000 generated.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the lengths and of the predictions.")] = 0,
    long: Annotated[
        float | None,
        typer.Option(help="A request is long from this many tokens on. Default: p90, of one_bit its threshold."),
    ] = None,
    json: Annotated[str | None, typer.Option(help="Write it as JSON to this file, '-' for stdout only.")] = None,
) -> None:
    """Say what the predictions of SPEC are worth, beside those of the file where it has some."""
    from llmqgym.cli.output import put_json
    from llmqgym.files import check_outputs
    from llmqgym.workload.lengths import draw_outputs
    from llmqgym.workload.predictors.report import report as report_on
    from llmqgym.workload.traces.predictions import PredictedLengths, read_predictions

    check_outputs([json], [trace])
    if trace is None:
        law = _law(spec, workload)
        lengths = PredictedLengths(draw_outputs(law, requests or _DEFAULT_REQUESTS, seed))
    else:
        law = trace
        lengths = read_predictions(trace, limit=requests)
    document = {"lengths": law, **report_on(spec, lengths, seed, long_tokens=long)}
    if json is not None:
        put_json(json, document)
    if json != "-":
        _print(document)


def _law(spec: str, workload: str | None) -> str:
    """The length law of the outputs of a named workload, or the one that the predictor was made for."""
    from llmqgym.workload.named import find_workload
    from llmqgym.workload.predictors.registry import make_predictor
    from llmqgym.workload.predictors.report import OF_THE_TRACE

    if workload is not None:
        return find_workload(workload).model.output
    return find_workload("chat").model.output if spec == OF_THE_TRACE else make_predictor(spec).usual_lengths


def _print(document: dict[str, Any]) -> None:
    from llmqgym.cli.output import console

    out = console()
    out.print(_worth_table(document))
    if document["channel"] is not None:
        out.print(_confusion_table(document))
    if document["followed"] is not None:
        out.print(_followed_table(document["followed"]))
    cost = document["real_cost_s"]
    if cost is not None:
        out.print(f"the file's predictor takes {cost['p50'] * 1000:.1f} ms, p99 {cost['p99'] * 1000:.1f} ms")


def _worth_table(document: dict[str, Any]) -> Any:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from llmqgym.workload.predictors.worth import MEANINGS

    columns = {escape(document["predictor"]): document["predicted"], "of the file": document["real"]}
    shown = {name: figures for name, figures in columns.items() if figures is not None}
    table = Table("", title=f"predictions on {escape(document['lengths'])}", box=box.SIMPLE_HEAD, title_justify="left")
    for name in shown:
        table.add_column(name, justify="right")
    table.add_column("what")
    for figure in next(iter(shown.values())):
        values = [figures[figure] for figures in shown.values()]
        if any(value == value for value in values):  # not all nan
            table.add_row(figure, *map(_number, values), MEANINGS.get(figure, ""))
    return table


def _followed_table(followed: dict[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    title = f"while requests run: {followed['num_looks']:,} looks, one every {followed['every']} tokens"
    table = Table("", "tokens", title=title, box=box.SIMPLE_HEAD, title_justify="left")
    table.add_row("MAE of the first estimates", _number(followed["first_mae"]))
    table.add_row("MAE of the refreshed ones (of what remains)", _number(followed["mae"]))
    table.add_row("mean error of those", _number(followed["bias"]))
    table.add_row("MAE of the classifier's looks alone", _number(followed["classifier_mae"]))
    for tokens, error in followed["by_tokens"].items():
        table.add_row(f"MAE after {tokens} tokens", _number(error))
    table.add_row("likeliest bin right", f"{followed['bin_accuracy']:.1%}")
    return table


def _confusion_table(document: dict[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    channel, fitted = document["channel"], document["fitted"]
    difference = document["largest_difference"]
    title = "confusion matrix: of a true class the shares of the predicted ones"
    if difference is not None:
        title += f"; fitted to the file in brackets, largest difference {difference:.4f}"
    table = Table("true class", title=title, box=box.SIMPLE_HEAD, title_justify="left")
    names = _class_names(channel["edges"])
    for name in names:
        table.add_column(name, justify="right")
    for number, row in enumerate(channel["confusion"]):
        beside = fitted["confusion"][number] if difference is not None else None
        table.add_row(names[number], *_cells(row, beside, "{:.4f}"))
    beside = fitted["mean_tokens"] if difference is not None else None
    table.add_row("mean tokens", *_cells(channel["mean_tokens"], beside, "{:.1f}"))
    within = [channel["within"]], [fitted["within"]] if difference is not None else None
    table.add_row("within", *_cells(*within, "{:.2f}"))
    return table


def _class_names(edges: list[float]) -> list[str]:
    return [f"to {edge:g}" for edge in edges] + [f"above {edges[-1]:g}"]


def _cells(values: list[float], beside: list[float] | None, form: str) -> list[str]:
    if beside is None:
        return [form.format(value) for value in values]
    return [f"{form} ({form})".format(value, other) for value, other in zip(values, beside, strict=True)]


def _number(value: float) -> str:
    """At most four digits after the point; '-' for nan."""
    if value != value:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.4f}"
