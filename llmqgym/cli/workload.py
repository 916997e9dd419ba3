"""`llmqgym workload`: named workloads held against real traces."""

from __future__ import annotations

from typing import Annotated, Any

import typer

app = typer.Typer(no_args_is_help=True, help="Generated workloads.")

_BARS = " ▁▂▃▄▅▆▇█"


@app.callback()
def _group() -> None:
    """Generated workloads."""


@app.command()
def compare(
    name: Annotated[str, typer.Argument(help="A named workload: see `llmqgym list workloads`.")],
    trace: Annotated[str, typer.Argument(help="A trace file, with or without arrivals.")],
    dequantised: Annotated[bool, typer.Option(help="Take the arrivals that were spread over a coarse clock.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the generated arrivals.")] = 0,
    json: Annotated[str | None, typer.Option(help="Write the comparison as JSON, '-' for stdout only.")] = None,
) -> None:
    """Compare generated requests with a trace; exit code 1 where a mean is off by more than 5 %, a median by 10 % or a
    p90 by 25 %."""
    from llmqgym.cli.output import console, put_json
    from llmqgym.files import check_outputs
    from llmqgym.workload.compare import compare as compare_with
    from llmqgym.workload.named import find_workload

    named = find_workload(name)
    check_outputs([json], [trace])
    report = {"workload": name, **compare_with(named, trace, seed=seed, dequantised=dequantised)}
    if json is not None:
        put_json(json, report)
    if json != "-":
        for part in (_figures(report), _arrivals(report), *_pictures(report)):
            console().print(part)
    if not report["matches"]:
        raise typer.Exit(1)


def _figures(report: dict[str, Any]) -> Any:
    from rich.table import Table

    title = f"{report['workload']} against {report['trace']} ({report['num_requests']:,} requests)"
    table = Table("", "trace", "generated", "difference", "", title=title, title_justify="left")
    for name in ("prompt_tokens", "output_tokens"):
        for figure, row in report[name]["figures"].items():
            verdict = "" if figure == "p99" else "ok" if row["matches"] else "[red]off[/red]"
            numbers = f"{row['trace']:,.0f}", f"{row['generated']:,.0f}", f"{row['difference']:+.1%}"
            table.add_row(f"{name} {figure}", *numbers, verdict)
        table.add_row(f"{name} KS distance", "", f"{report[name]['ks']:.3f}", "", "")
    tau = report["kendall_tau"]
    table.add_row("Kendall tau of the two", f"{tau['trace']:.3f}", f"{tau['generated']:.3f}", "", "")
    return table


def _arrivals(report: dict[str, Any]) -> Any:
    from rich.table import Table

    if report["arrivals"] is None:
        return "The trace has no arrivals."
    table = Table("arrivals", "trace", "generated", "from run to run")
    for name, row in report["arrivals"].items():
        table.add_row(name, f"{row['trace']:.3g}", f"{row['generated']:.3g}", f"± {row['spread']:.2g}")
    return table


def _pictures(report: dict[str, Any]) -> list[str]:
    """Histograms over ln(tokens), one line each."""
    lines = []
    for name in ("prompt_tokens", "output_tokens"):
        histogram = report[name]["histogram"]
        top = max(max(histogram["trace"]), max(histogram["generated"]))
        last = f"{histogram['edges_tokens'][-1]:,.0f}"
        for which in ("trace", "generated"):
            bars = "".join(_BARS[round(share / top * (len(_BARS) - 1))] for share in histogram[which])
            lines.append(f"{name:>13} {which:>9}  1 {bars} {last}")
    return lines
