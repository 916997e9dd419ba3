"""The per-request table: one CSV row for each request that arrived, in order of id; unknown times are empty."""

from __future__ import annotations

import csv
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.files import atomic_text
from llmqgym.kernel.tables import Mode, Status
from llmqgym.metrics.latencies import latencies, seconds

_COUNTS = ("prompt_tokens", "output_tokens", "generated_tokens")


def columns(departures: NDArray[Any]) -> dict[str, list[Any]]:
    """The columns of the table from DEPARTURE[R], each a list [R] in order of id; times in seconds, '' if unknown."""
    rows = departures[np.argsort(departures["id"], kind="stable")]
    times = latencies(rows)
    names = {status.value: status.name.lower() for status in Status}
    table: dict[str, list[Any]] = {
        "id": rows["id"].tolist(),
        "status": [names[status] for status in rows["status"].tolist()],
    }
    for name in ("arrival", "first_scheduled", "first_token", "finish"):
        table[f"{name}_s"] = _known(seconds(rows[f"{name}_ps"]))
    for name in ("queue_s", "ttft_s", "tpot_s", "e2e_s"):
        table[name] = _known(getattr(times, name))
    table |= {name: rows[name].tolist() for name in _COUNTS}
    table["predicted_output_tokens"] = _known(rows["predicted_output_tokens"])
    table |= {name: rows[name].tolist() for name in ("priority", "tenant")}
    for mode in Mode:
        table[f"num_preemptions_{mode.name.lower()}"] = rows["num_preemptions"][:, mode].tolist()
    return table | {name: rows[name].tolist() for name in ("lost_tokens", "swapped_blocks")}


def write_per_request(path: str | os.PathLike[str], departures: NDArray[Any]) -> None:
    """Write the table to `path` (gzip if it ends in .gz). Raises OutputError; nothing half-written stays."""
    table = columns(departures)
    with atomic_text(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))


def _known(values: NDArray[np.float64]) -> list[Any]:
    cells: list[Any] = values.tolist()
    for row in np.flatnonzero(np.isnan(values)).tolist():
        cells[row] = ""
    return cells
