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
from llmqgym.metrics import text
from llmqgym.metrics.latencies import latencies
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
            self._file.write(text.lines(list(_columns(rows[first : first + _BLOCK]).values())))


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


def _columns(rows: Rows) -> dict[str, text.Cells]:
    """The columns of the table from DEPARTURE[R]; times in seconds."""
    arrival, first, finish = rows["arrival_ps"], rows["first_token_ps"], rows["finish_ps"]
    table = {
        "id": text.whole_numbers(rows["id"]),
        "status": text.words(_STATUS, rows["status"]),
    }
    for name in ("arrival", "first_scheduled", "first_token", "finish"):
        table[f"{name}_s"] = text.seconds(rows[f"{name}_ps"])
    table |= {
        "queue_s": text.seconds(_gap_ps(arrival, rows["first_scheduled_ps"])),
        "ttft_s": text.seconds(_gap_ps(arrival, first)),
        "tpot_s": text.reals(latencies(rows).tpot_s),
        "e2e_s": text.seconds(_gap_ps(arrival, finish)),
    }
    table |= {name: text.whole_numbers(rows[name]) for name in _COUNTS}
    table["predicted_output_tokens"] = text.reals(rows["predicted_output_tokens"])
    table |= {name: text.whole_numbers(rows[name]) for name in ("priority", "tenant")}
    for mode in Mode:
        table[f"num_preemptions_{mode.name.lower()}"] = text.whole_numbers(rows["num_preemptions"][:, mode])
    return table | {name: text.whole_numbers(rows[name]) for name in ("lost_tokens", "swapped_blocks")}


def _gap_ps(start_ps: NDArray[np.int64], end_ps: NDArray[np.int64]) -> NDArray[np.int64]:
    """The time between, -1 where one of the two is: not yet."""
    return np.where((start_ps >= 0) & (end_ps >= 0), end_ps - start_ps, -1)


def _in_a_row(mask: NDArray[np.bool_]) -> int:
    """How many at the front are True."""
    return len(mask) if mask.all() else int(np.argmin(mask))
