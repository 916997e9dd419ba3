"""The per-request table: one CSV row for each request that arrived, in order of id; unknown times are empty."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from llmqgym.files import atomic_text
from llmqgym.kernel.tables import DEPARTURE, Mode, Status
from llmqgym.metrics.latencies import latencies, seconds
from llmqgym.metrics.rows import joined, picked
from llmqgym.metrics.scratch import Scratch

Rows = NDArray[Any]

#: Rows that wait in memory for one of a smaller id (12 MB); more of them wait on disk.
_WAITING_ROWS = 1 << 16
#: Rows turned into text at a time.
_BLOCK = 4096
_STATUS = [status.name.lower() for status in Status]
_COUNTS = ("prompt_tokens", "output_tokens", "generated_tokens")


class PerRequestTable:
    """Rows of departures on their way into the table: they come in order of leaving and are written in order of id.

    A row waits until all those before it have left: in memory, and if too many wait, all of them in a file, each at
    the place of its id, until the file has been written out.
    """

    def __init__(self, file: TextIO, waiting_rows: int = _WAITING_ROWS) -> None:
        self._file = file
        self._next_id = 0
        self._waiting_rows = waiting_rows
        self._waiting = np.zeros(0, DEPARTURE)
        self._disk: Scratch | None = None
        self._disk_end = 0  # the largest id there, and 1
        file.write(",".join(_columns(self._waiting)) + "\n")

    def add(self, departures: Rows) -> None:
        """Take in DEPARTURE[n], each id once. Raises OutputError."""
        rows = joined(self._waiting, departures)
        self._waiting = picked(rows, np.argsort(rows["id"], kind="stable"))
        if self._disk is None:
            due = _in_a_row(self._waiting["id"] == self._next_id + np.arange(len(self._waiting)))
            self._write(self._waiting[:due])
            self._waiting, self._next_id = self._waiting[due:], self._next_id + due
            if len(self._waiting) > self._waiting_rows:
                self._disk = Scratch(DEPARTURE)
        if self._disk is not None and len(self._waiting):
            self._put_away(self._disk)
            self._write_from(self._disk)

    def close(self) -> None:
        """Write whoever still waits for an id that did not come. The file stays open."""
        self._write(self._waiting)
        if self._disk is not None:
            for rows in self._on(self._disk):
                self._write(picked(rows, rows["status"] != Status.FREE))

    def _put_away(self, disk: Scratch) -> None:
        """Whoever waits in memory goes to disk, in pieces of successive ids."""
        gaps = np.flatnonzero(np.diff(self._waiting["id"]) != 1) + 1
        for rows in np.split(self._waiting, gaps):
            disk.write(int(rows["id"][0]), rows)
        self._disk_end = max(self._disk_end, int(self._waiting["id"][-1]) + 1)
        self._waiting = self._waiting[:0]

    def _write_from(self, disk: Scratch) -> None:
        """Write who is next, and leave the disk when nobody waits there any more."""
        for rows in self._on(disk):
            due = _in_a_row(rows["status"] != Status.FREE)
            self._write(rows[:due])
            self._next_id += due
            if due < len(rows):
                return
        self._disk = None

    def _on(self, disk: Scratch) -> Iterator[Rows]:
        """The places from the next id on, in blocks; where nobody is the row is all zeros."""
        for first in range(self._next_id, self._disk_end, _BLOCK):
            yield disk.read(first, min(_BLOCK, self._disk_end - first))

    def _write(self, rows: Rows) -> None:
        for first in range(0, len(rows), _BLOCK):
            columns = _columns(rows[first : first + _BLOCK]).values()
            self._file.writelines(",".join(cells) + "\n" for cells in zip(*columns, strict=True))


@contextmanager
def per_request_table(path: str | os.PathLike[str]) -> Iterator[PerRequestTable]:
    """A table that goes to `path` (gzip if it ends in .gz), whole when the block ends well and not at all when it does
    not. Raises OutputError."""
    with atomic_text(path) as file:
        table = PerRequestTable(file)
        yield table
        table.close()


def write_per_request(path: str | os.PathLike[str], departures: Rows) -> None:
    """Write the table of DEPARTURE[R] to `path` (gzip if it ends in .gz). Raises OutputError; nothing half-written
    stays."""
    with per_request_table(path) as table:
        table.add(departures)


def _columns(rows: Rows) -> dict[str, list[str]]:
    """The cells of each column of the table from DEPARTURE[R]; times in seconds."""
    times = latencies(rows)
    table = {"id": _texts(rows["id"]), "status": [_STATUS[status] for status in rows["status"].tolist()]}
    for name in ("arrival", "first_scheduled", "first_token", "finish"):
        table[f"{name}_s"] = _texts(seconds(rows[f"{name}_ps"]))
    for name in ("queue_s", "ttft_s", "tpot_s", "e2e_s"):
        table[name] = _texts(getattr(times, name))
    table |= {name: _texts(rows[name]) for name in _COUNTS}
    table["predicted_output_tokens"] = _texts(rows["predicted_output_tokens"])
    table |= {name: _texts(rows[name]) for name in ("priority", "tenant")}
    for mode in Mode:
        table[f"num_preemptions_{mode.name.lower()}"] = _texts(rows["num_preemptions"][:, mode])
    return table | {name: _texts(rows[name]) for name in ("lost_tokens", "swapped_blocks", "prefix_hit_tokens")}


def _texts(values: NDArray[Any]) -> list[str]:
    """`repr` of each of [R]; nothing for nan."""
    texts = list(map(repr, values.tolist()))
    if values.dtype.kind == "f":
        for row in np.flatnonzero(np.isnan(values)).tolist():
            texts[row] = ""
    return texts


def _in_a_row(mask: NDArray[np.bool_]) -> int:
    """How many at the front are True."""
    return len(mask) if mask.all() else int(np.argmin(mask))
