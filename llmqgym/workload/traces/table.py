"""Table: a text file, plain or gzip, CSV or one JSON object a line -> the wanted columns as arrays."""

from __future__ import annotations

import csv
import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from llmqgym.errors import InputError, nearest
from llmqgym.workload.traces.cells import Columns, Parser

#: Rows converted at a time, so that a file of millions of rows never lies in memory as text.
BLOCK_ROWS = 1 << 15


@dataclass
class Table:
    """An open file whose first line has been read. `names` are its columns (CSV) or the keys of its first object."""

    layout: Literal["csv", "jsonl"]
    names: list[str]
    first_line: str
    #: The number of `first_line` in the file, from 1.
    line_number: int
    stream: TextIO

    def read(self, parsers: dict[str, Parser], limit: int | None = None) -> Columns:
        """The columns named in `parsers`, each [R], of the first `limit` rows (all without one).

        Raises InputError with the line and the column of the first cell that cannot be read.
        """
        blocks = list(self.blocks(parsers, limit))
        return {name: np.concatenate([block[name] for block in blocks]) for name in parsers}

    def blocks(self, parsers: dict[str, Parser], limit: int | None = None) -> Iterator[Columns]:
        """The same, piece by piece, each of at most BLOCK_ROWS rows."""
        texts = (_csv_blocks if self.layout == "csv" else _jsonl_blocks)(self, list(parsers), limit)
        lines: Sequence[int] = ()
        for lines, cells in texts:
            yield {name: _parse(parsers[name], name, column, lines) for name, column in cells.items()}
        if not lines:
            raise InputError("it has a header but no rows: a trace needs at least one request.")


@contextmanager
def open_table(path: Path) -> Iterator[Table]:
    """Open `path` and read its first line that is not blank; problems with the file become InputErrors."""
    _check_path(path)
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            binary: Any = gzip.GzipFile(fileobj=raw) if is_gzip else raw
            with io.TextIOWrapper(io.BufferedReader(binary), encoding="utf-8-sig", newline="") as stream:
                yield _begin(stream)
    except EOFError as error:
        raise InputError("the gzip data ends early: the file is truncated. Fetch or write it again.") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"the gzip data is corrupt ({error}). Fetch or write it again.") from error
    except UnicodeDecodeError as error:
        raise InputError("it is neither gzip nor UTF-8 text. Unpack or convert it first.") from error
    except csv.Error as error:
        raise InputError(f"it is not readable as CSV ({error}). Write plain comma-separated values.") from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}.") from error


def _check_path(path: Path) -> None:
    if path.is_dir():
        raise InputError("this is a folder: name one trace file in it.")
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        guess = nearest(path.name, siblings)
        raise InputError("no such file" + (f": did you mean {path.parent / guess}?" if guess else ": check the path."))


def _begin(stream: TextIO) -> Table:
    for line_number, line in enumerate(stream, start=1):
        if line.strip():
            layout: Literal["csv", "jsonl"] = "jsonl" if line.lstrip().startswith("{") else "csv"
            names = list(_json_object(line, line_number)) if layout == "jsonl" else _csv_header(line)
            return Table(layout, names, line, line_number, stream)
    raise InputError("the file is empty: a trace needs a header and at least one request.")


def _csv_header(line: str) -> list[str]:
    return [name.strip() for name in next(csv.reader([line]))]


def _csv_blocks(
    table: Table, wanted: list[str], limit: int | None
) -> Iterator[tuple[Sequence[int], dict[str, Sequence[str]]]]:
    """Blocks of (line numbers, texts by column) from the rows below the header; blank lines are skipped."""
    positions = [(name, table.names.index(name)) for name in wanted]
    filled = ((line, row) for line, row in enumerate(csv.reader(table.stream), start=table.line_number + 1) if row)
    rows = islice(filled, limit)
    while numbered := list(islice(rows, BLOCK_ROWS)):
        lines, block = zip(*numbered, strict=True)
        _check_widths(lines, block, len(table.names))
        by_position = list(zip(*block, strict=True))
        yield lines, {name: by_position[position] for name, position in positions}


def _check_widths(lines: Sequence[int], block: Sequence[list[str]], width: int) -> None:
    for line, row in zip(lines, block, strict=True):
        if len(row) != width:
            raise InputError(f"line {line} has {len(row)} cells, but the header has {width}: correct or drop the line.")


def _jsonl_blocks(
    table: Table, wanted: list[str], limit: int | None
) -> Iterator[tuple[Sequence[int], dict[str, Sequence[str]]]]:
    """Blocks of (line numbers, texts by key), one object a line; blank lines are skipped."""
    numbered = enumerate(chain([table.first_line], table.stream), start=table.line_number)
    filled = islice(((number, line) for number, line in numbered if line.strip()), limit)
    while block := list(islice(filled, BLOCK_ROWS)):
        objects = [(number, _json_object(line, number)) for number, line in block]
        # repr, not str: the string "12" must not pass for the number 12.
        yield (
            [number for number, _ in block],
            {key: [repr(_member(found, key, number)) for number, found in objects] for key in wanted},
        )


def _json_object(line: str, line_number: int) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"line {line_number} is not JSON ({error}): write one object a line.") from error
    if not isinstance(found, dict):
        raise InputError(f"line {line_number} is a JSON {type(found).__name__}: write one object a line.")
    return found


def _member(found: dict[str, Any], key: str, line_number: int) -> Any:
    if key not in found:
        raise InputError(f"line {line_number} has no {key!r}: add it or drop the line. Its keys: {', '.join(found)}.")
    return found[key]


def _parse(parser: Parser, name: str, texts: Sequence[str], lines: Sequence[int]) -> NDArray[Any]:
    try:
        return parser.parse(texts)
    except (ValueError, OverflowError):
        row = next(row for row, text in enumerate(texts) if not _reads(parser.parse, text))
        raise InputError(
            f"line {lines[row]}, column {name!r}: {texts[row]!r} is not {parser.expects}. Correct or drop the line."
        ) from None


def _reads(parse: Callable[[Sequence[str]], NDArray[Any]], text: str) -> bool:
    try:
        parse([text])
    except (ValueError, OverflowError):
        return False
    return True
