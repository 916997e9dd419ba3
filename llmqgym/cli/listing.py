"""`llmqgym list`: the names that other commands take."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def list_names(
    what: Annotated[str, typer.Argument(metavar="scenarios|workloads|profiles|policies|agents|predictors")],
) -> None:
    """List the scenarios, workloads, hardware profiles, policies, agents or predictors by name."""
    from llmqgym.errors import unknown

    if what not in _LISTS:
        raise unknown("list", what, _LISTS)
    from llmqgym.cli.output import console

    console().print(_LISTS[what]())


def _table(title: str, *columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, no_wrap=number == 0, overflow="fold")
    return table


def _scenarios() -> Any:
    from llmqgym.shipped import headlines

    table = _table("scenarios", "name", "profile", "policy", "what")
    for name, scenario in headlines().items():
        table.add_row(name, scenario["profile"], scenario["policy"], scenario["summary"])
    return table


def _workloads() -> Any:
    from llmqgym.workload.named import NAMED

    table = _table("workloads", "name", "requests/s", "what", "from")
    for name, workload in NAMED.items():
        table.add_row(name, f"{workload.rate_per_s:g}", workload.summary, workload.model.source)
    return table


def _profiles() -> Any:
    from rich.markup import escape

    from llmqgym.hardware import list_profiles

    title = "hardware profiles (known errors in full: in the JSON of a run)"
    table = _table(title, "name", "kind", "origin", "gpu", "what", "error")
    for row in list_profiles():
        error = row.known_error.split(". ")[0].rstrip(".")
        table.add_row(*map(escape, (row.name, row.kind, row.origin, row.gpu, row.model or row.source, error)))
    return table


def _policies() -> Any:
    from baselines.registry import POLICIES

    title = "policies (ORACLE: reads true output lengths; more in `llmqgym policy show NAME`)"
    table = _table(title, "name", "family", "needs", "cost of a decision", "what")
    for name, entry in POLICIES.items():
        needs = "ORACLE: " + entry.needs if entry.oracle else entry.needs
        table.add_row(name, entry.family, needs, entry.cost, entry.summary)
    return table


def _agents() -> Any:
    from rich.markup import escape

    from agents.shipped import headlines

    table = _table("trained agents (--policy ppo:NAME)", "name", "network", "trained on", "decisions", "what")
    for name, row in headlines().items():
        table.add_row(name, row["network"], row["scenario"], f"{row['num_decisions']:,}", escape(row["summary"]))
    return table


def _predictors() -> Any:
    from rich.markup import escape

    from llmqgym.workload.predictors.registry import COMMON_SETTINGS, PREDICTORS

    title = f"predictors of the true output length x (all take {', '.join(COMMON_SETTINGS)})"
    table = _table(title, "name", "settings", "what", "source")
    for name, entry in PREDICTORS.items():
        table.add_row(name, *map(escape, (", ".join(entry.settings()), entry.summary, entry.source)))
    return table


_LISTS = {
    "scenarios": _scenarios,
    "workloads": _workloads,
    "profiles": _profiles,
    "policies": _policies,
    "agents": _agents,
    "predictors": _predictors,
}
