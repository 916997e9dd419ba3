"""StreamedTrace: a trace too long to lie in memory, read chunk by chunk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.errors import InputError
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.workload.source import PromptHashes
from llmqgym.workload.traces.cells import Columns
from llmqgym.workload.traces.format import TraceFormat
from llmqgym.workload.traces.table import open_table
from llmqgym.workload.workload import Workload, make_workload, max_output_tokens_above


class StreamedTrace:
    """The requests of a file; it is read through once at the start, to be checked and counted.

    Raises InputError as `read_trace` does; rows are counted within their block.
    """

    def __init__(
        self, file: Path, fmt: TraceFormat, name: str, source: dict[str, object], limit: int | None, dequantised: bool
    ) -> None:
        self.name = name
        self._file, self._format, self._limit, self._dequantised = file, fmt, limit, dequantised
        self._num = longest = 0
        ids: list[NDArray[Any]] = []
        corrections: Counter[str] = Counter()
        last_ps = -1
        self.hashes: PromptHashes | None = None
        for block in self._blocks():
            arrival_ps = block.requests["arrival_ps"]
            if arrival_ps[0] < last_ps:
                raise InputError(
                    f"row {self._num} arrives at {arrival_ps[0] / PS_PER_S} s, before row {self._num - 1} at "
                    f"{last_ps / PS_PER_S} s: sort the trace by arrival."
                )
            last_ps = int(arrival_ps[-1])
            longest = max(longest, int(block.requests["output_tokens"].max()))
            self._num += len(block)
            corrections.update(block.corrections)
            if block.hashes is not None:
                ids.append(block.hashes.ids)
                self.hashes = block.hashes
        self._max_output_tokens = max_output_tokens_above(longest)
        if self.hashes is not None:
            self.hashes = PromptHashes(np.concatenate(ids), self.hashes.block_tokens)
        self.corrections = dict(corrections)
        self.source: dict[str, object] = {**source, "rows": self._num, "streamed": True}

    def __len__(self) -> int:
        return self._num

    def chunks(self) -> Iterator[NDArray[Any]]:
        """The requests as ARRIVAL tables, a block of the file each."""
        first_hash = 0
        for block in self._blocks():
            if block.hashes is not None:
                block.requests["first_hash"][block.requests["first_hash"] >= 0] += first_hash
                first_hash += len(block.hashes.ids)
            if not block.source["declares_caps"]:
                block.requests["max_output_tokens"] = self._max_output_tokens
            yield block.requests

    def _blocks(self) -> Iterator[Workload]:
        with open_table(self._file) as table:
            first: Columns | None = None
            row = 0
            for columns in table.blocks(self._format.parsers(table.names, dequantised=self._dequantised), self._limit):
                first = first or columns
                try:
                    fields = self._format.fields(columns, dequantised=self._dequantised, first=first)
                    yield make_workload(self.name, {"declares_caps": "max_output_tokens" in fields}, **fields)
                except InputError as error:
                    raise InputError(f"in the rows from {row} on: {error}") from error
                row += len(next(iter(columns.values())))
