"""Open a trace: detect its format, read it, hand over a Workload. The table of formats is here."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from llmqgym.errors import InputError
from llmqgym.workload.traces import attribution, azure, burstgpt, mooncake, normalised, qwen, vidur, vllm_reference
from llmqgym.workload.traces.cells import WHOLE
from llmqgym.workload.traces.format import TraceFormat
from llmqgym.workload.traces.streamed import StreamedTrace
from llmqgym.workload.traces.table import Table, open_table
from llmqgym.workload.workload import Workload, make_workload

#: Every format, in the order in which a file is tried: one that needs more columns stands before one that needs fewer.
FORMATS: tuple[TraceFormat, ...] = (
    normalised.FORMAT,
    vllm_reference.FORMAT,
    azure.FORMAT,
    burstgpt.FORMAT,
    vidur.FORMAT,
    qwen.FORMAT,
    mooncake.FORMAT,
)

#: A longer trace is not kept in memory.
RESIDENT_ROWS = 1 << 17


def read_trace(path: str | os.PathLike[str], *, limit: int | None = None, dequantised: bool = False) -> Workload:
    """Read a trace file, plain or gzip, in any format of `FORMATS`; the header or the first JSON line tells which.

    `limit` stops after that many rows. `dequantised` takes the arrivals from the column in which a coarse clock has
    been spread out (`arrival_time_dequant_s` of the normalised form) instead of those recorded.

    Raises InputError, beginning with the path, when the file cannot be read, is of no known format, holds lengths
    only, or holds a value that no request can have (see `make_requests`).
    """
    file = Path(path)
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit} is below 1: read at least one row.")
    try:
        return _read(file, limit, dequantised)
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def open_trace(
    path: str | os.PathLike[str], *, limit: int | None = None, dequantised: bool = False, resident: int = RESIDENT_ROWS
) -> Workload | StreamedTrace:
    """`read_trace`, but of a file of more than `resident` rows only a chunk is ever in memory: it is read once to be
    checked, and again whenever its requests are asked for."""
    workload = read_trace(
        path, limit=resident + 1 if limit is None else min(limit, resident + 1), dequantised=dequantised
    )
    if len(workload) <= resident:
        return dataclasses.replace(workload, source=_limited(workload.source, limit))
    try:
        with open_table(Path(path)) as table:
            fmt = _detect(table)
        source = _limited(workload.source, limit)
        return StreamedTrace(Path(path), fmt, workload.name, source, limit, dequantised)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def read_lengths(path: str | os.PathLike[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Prompt and output lengths, int64 [R] each, of a trace of any format, with or without arrivals; as they are.

    Raises InputError, beginning with the path, when the file cannot be read or has no columns of lengths.
    """
    file = Path(path)
    try:
        with open_table(file) as table:
            fmt = next((f for f in FORMATS if f.layout == table.layout and f.has_lengths(table.names)), None)
            if fmt is None:
                raise _unknown_header(table)
            columns = table.read(dict.fromkeys(fmt.lengths, WHOLE))
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    return columns[fmt.lengths[0]], columns[fmt.lengths[1]]


def _read(file: Path, limit: int | None, dequantised: bool) -> Workload:
    with open_table(file) as table:
        fmt = _detect(table)
        columns = table.read(fmt.parsers(table.names, dequantised=dequantised), limit)
    stem = _stem(file)
    source: dict[str, object] = {
        "path": str(file),
        "format": fmt.name,
        "attribution": attribution.of_file(stem) if fmt is normalised.FORMAT else fmt.attribution,
    }
    if dequantised:
        source["dequantised"] = True
    source = _limited(source, limit)
    return make_workload(stem, source, **fmt.fields(columns, dequantised=dequantised))


def _limited(source: dict[str, object], limit: int | None) -> dict[str, object]:
    """`source` with the limit that was asked for."""
    kept = {key: value for key, value in source.items() if key != "limit"}
    return kept if limit is None else {**kept, "limit": limit}


def _stem(file: Path) -> str:
    name = file.name
    for suffix in (".gz", ".csv", ".jsonl"):
        name = name.removesuffix(suffix)
    return name or file.name


def _detect(table: Table) -> TraceFormat:
    candidates = [fmt for fmt in FORMATS if fmt.layout == table.layout]
    for fmt in candidates:
        if fmt.fits(table.names):
            return fmt
    for fmt in candidates:
        if fmt.has_lengths(table.names):
            raise InputError(
                f"it holds lengths only: it has {' and '.join(fmt.lengths)} but no {next(iter(fmt.arrival))}. "
                "Give the arrivals yourself: --rate in requests per second, or --rho."
            )
    raise _unknown_header(table)


def _unknown_header(table: Table) -> InputError:
    kind = "columns" if table.layout == "csv" else "JSON keys"
    found = ", ".join(name if len(name) <= 40 else name[:40] + "..." for name in table.names[:20])
    known = "; ".join(f"{fmt.name} ({fmt.layout}): {fmt.header}" for fmt in FORMATS)
    return InputError(
        f"no known trace format has the {kind} found: {found}. Rename the columns to fit one of: {known}."
    )
