"""The report of benchmarks/speed.py: as tables on the console, and as a section of docs/results.md."""

from __future__ import annotations

from typing import Any

from results_page import table
from rich.console import Console
from rich.table import Table

#: Millions of requests a second, and processor time as a multiple of C's: from the least times, and from the medians.
COLUMNS = ("", "M req/s", "ns/req", "ns/event", "x C", "median")
CURVE_COLUMNS = ("requests", "kernel, ns/request", "C, ns/request")
COMMAND = "llmqgym bench"


def _title(name: str, load: dict[str, Any]) -> str:
    facts, num = load["facts"], load["requests"]
    return (
        f"{name}: {num:,} requests, {facts['num_events'] / num:.2f} events and "
        f"{facts['num_iterations'] / num:.1f} iterations a request, {facts['num_preemptions']:,} preemptions"
    )


def _rows(load: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(name, *_figures(figures)) for name, figures in load["candidates"].items()]


def _figures(f: dict[str, float]) -> tuple[str, ...]:
    speed, ratios = f["requests_per_s"] / 1e6, (f["to_c"], f["to_c_median"])
    return f"{speed:.2f}", f"{f['ns_per_request']:.0f}", f"{f['ns_per_event']:.0f}", *(f"{r:.2f}" for r in ratios)


def _curve(report: dict[str, Any]) -> list[tuple[str, ...]]:
    return [(f"{r['requests']:,}", f"{r['kernel_ns']:.0f}", f"{r['c_ns']:.0f}") for r in report["curve"]]


def _machine(report: dict[str, Any]) -> str:
    machine = report["machine"]
    return f"{machine['processor']}; numba {machine['numba']}, Python {machine['python']}; {machine['compiler']}"


def _slow(report: dict[str, Any]) -> str:
    slow = report.get("slow")
    if not slow:
        return ""
    return (
        f"Iteration by iteration: {slow['step_by_step_ns'] / slow['kernel_ns']:.1f} times the cost of events "
        f"({slow['iterations_per_request']:.1f} iterations a request); "
        f"plain Python (tests/naive.py): {slow['naive_ns'] / slow['kernel_ns']:,.0f} times."
    )


def show(report: dict[str, Any], console: Console) -> None:
    """Print a report as tables."""
    console.print(_machine(report))
    for name, load in report["loads"].items():
        shown = Table(title=_title(name, load))
        for column in COLUMNS:
            shown.add_column(column, justify="right" if column else "left", no_wrap=True)
        for row in _rows(load):
            shown.add_row(*row)
        console.print(shown)
    curve = Table(*CURVE_COLUMNS, title="Cost by length of the run (chat at 90 %)")
    for row in _curve(report):
        curve.add_row(*row)
    console.print(curve)
    console.print(_slow(report))


def markdown(report: dict[str, Any]) -> str:
    """The report as a section; every figure in it comes from the run that wrote it."""
    lines = [f"`{COMMAND}`, on {_machine(report)}.", ""]
    lines += [
        "Processor time of the simulation alone, least of several interleaved rounds (and median). `C` is the twin in"
    ]
    lines += ["`benchmarks/twin.c`, the same policy written by hand, with the same results bit for bit.", ""]
    for name, load in report["loads"].items():
        lines += [f"### {_title(name, load)}", "", *table(COLUMNS, _rows(load)), ""]
    lines += ["### Cost by length of the run (chat at 90 %)", "", *table(CURVE_COLUMNS, _curve(report)), ""]
    return "\n".join([*lines, _slow(report)]).rstrip() + "\n"
