"""The board as CSV: one row for each run, and one for each cell."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmqgym.files import atomic_text
from llmqgym.leaderboard.board import RANKED, Read
from llmqgym.leaderboard.plan import Plan

_OF_A_RUN = (
    "scenario", "policy", "seed", "outcome", "stability", "censored", "num_measured", "num_finished",
    "num_unfinished", "num_rejected", "num_late", "num_extrapolated",
)  # fmt: skip
_OF_A_CELL = (
    "scenario", "policy", "num_runs", "skipped", "stability", "censored", "num_measured", "num_finished",
    "num_unfinished", "num_rejected", "num_late", "num_extrapolated",
)  # fmt: skip
_PARTS = ("mean", "low", "high")


def write_runs(path: Path, plan: Plan, read: Read) -> None:
    """leaderboard.csv: every run, with the mean bounds of its workload, its key in the store and its digest."""
    _write(path, _run_rows(plan, read))


def write_cells(path: Path, document: dict[str, Any]) -> None:
    """board.csv: every cell of the board, its figures with their intervals. Raises OutputError."""
    _write(path, [_cell_row(cell) for cell in document["cells"]])


def _run_rows(plan: Plan, read: Read) -> Iterable[dict[str, Any]]:
    for arena in plan.arenas:
        bounds = [read(piece.key) for piece in plan.bounds(arena)]
        for spec in plan.suite.contestants:
            for piece, bound in zip(plan.cell(arena, spec), bounds, strict=False):
                run = read(piece.key)
                yield {
                    **{name: run[name] for name in _OF_A_RUN},
                    **run["metrics"],
                    "bound_mean_e2e_s": bound["mean_e2e_s"],
                    "bound_mean_ttft_s": bound["mean_ttft_s"],
                    "key": run["key"],
                    "digest": run["digest"],
                }


def _cell_row(cell: dict[str, Any]) -> dict[str, Any]:
    row = {name: cell.get(name) for name in _OF_A_CELL}
    for name, figure in cell.get("metrics", {}).items():
        row |= {f"{name}_{part}": figure[part] for part in _PARTS}
    for name, figure in cell.get("gap", {}).items():
        row |= {f"gap_{name}_{part}": (figure or {}).get(part) for part in _PARTS}
    for metric in RANKED if "rank" in cell else ():
        first, last = cell["rank"][metric] or (None, None)
        ratio = cell["ratio_to_vllm"][metric] or {}
        row |= {f"rank_{metric}_first": first, f"rank_{metric}_last": last}
        row |= {f"ratio_to_vllm_{metric}_{part}": ratio.get(part) for part in _PARTS}
    return row


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Unknown figures are empty."""
    table = list(rows)
    columns = list(dict.fromkeys(name for row in table for name in row))
    with atomic_text(path) as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
