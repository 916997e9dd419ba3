"""TraceFormat: the record in which every trace format describes itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from llmqgym.errors import InputError
from llmqgym.workload.traces.cells import WHOLE, Columns, Parser
from llmqgym.workload.workload import HORIZON_S, RequestFields

Times = NDArray[Any]


@dataclass(frozen=True)
class TraceFormat:
    """A trace format: how to know it, which columns to read and what they mean.

    A file is of this format when it has both columns of `lengths`, at least one of `arrival` (the first one present
    is read) and all of `marks`. Columns of `optional` are read where present; all others are ignored.
    """

    name: str
    attribution: str
    #: Arrival columns, in order of preference, and how to read them.
    arrival: Mapping[str, Parser]
    #: The columns of prompt and output lengths, whole numbers.
    lengths: tuple[str, str]
    #: From the columns, each [R], to the fields of a workload. Raises InputError.
    read: Callable[[Columns], RequestFields]
    layout: Literal["csv", "jsonl"] = "csv"
    optional: Mapping[str, Parser] = field(default_factory=dict)
    #: Columns that must be there only to tell this format from another.
    marks: tuple[str, ...] = ()
    #: A column with the arrivals spread over the trace's coarse clock, read in place of `arrival` on request.
    dequantised_arrival: str | None = None
    #: Units of the arrivals a second, where they count from a moment long before the first row: that becomes time 0.
    units_since_long_ago: int | None = None

    def has_lengths(self, names: list[str]) -> bool:
        """Whether a file with these column names has the lengths of this format."""
        return {*self.lengths, *self.marks} <= set(names)

    def fits(self, names: list[str]) -> bool:
        """Whether a file with these column names is of this format."""
        return self.has_lengths(names) and any(name in names for name in self.arrival)

    def parsers(self, names: list[str], *, dequantised: bool) -> dict[str, Parser]:
        """The columns to read from a file with these column names."""
        arrival = self._dequantised(names) if dequantised else next(name for name in self.arrival if name in names)
        parsers = {arrival: next(iter(self.arrival.values())) if dequantised else self.arrival[arrival]}
        parsers |= dict.fromkeys(self.lengths, WHOLE)
        return parsers | {name: parser for name, parser in self.optional.items() if name in names}

    def fields(self, columns: Columns, *, dequantised: bool, first: Columns | None = None) -> RequestFields:
        """The workload's fields from the parsed columns; `first` are the columns of the file's first rows, where
        these here are not."""
        name = next(name for name in (self.dequantised_arrival, *self.arrival) if name in columns)
        assert name is not None
        times = columns[name]
        if self.units_since_long_ago is not None:
            times = _since(times, (first or columns)[name][0], self.units_since_long_ago)
        return self.read({**columns, next(iter(self.arrival)) if dequantised else name: times})

    def _dequantised(self, names: list[str]) -> str:
        if self.dequantised_arrival in names:
            return self.dequantised_arrival
        why = f"no column {self.dequantised_arrival}" if self.dequantised_arrival else f"none in the {self.name} format"
        raise InputError(f"it has no dequantised arrivals ({why}): read it with the arrivals as recorded.")

    @property
    def header(self) -> str:
        """The columns that make a file one of this format, in words."""
        arrival = " or ".join(self.arrival)
        return ", ".join([f"({arrival})" if len(self.arrival) > 1 else arrival, *self.lengths, *self.marks])


def _since(times: Times, origin: Any, units_per_s: int) -> Times:
    """Clock times [R] less `origin`; raises InputError where a span is longer than any workload."""
    span_s = (times.astype(np.float64) - float(origin)) / units_per_s
    far = np.abs(span_s) > HORIZON_S
    if far.any():
        row = int(far.argmax())
        raise InputError(
            f"row {row} arrives {span_s[row]} s after row 0, beyond the horizon of {HORIZON_S} s (100 days): "
            "read fewer rows (limit) or cut the file."
        )
    span: Times = times - origin
    return span
