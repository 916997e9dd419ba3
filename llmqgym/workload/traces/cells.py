"""Cells: text of one column -> array. A parser raises ValueError or OverflowError for a cell it cannot read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Parser:
    """How to read a column: what a cell must be, in words, and the conversion of texts [n] to an array [n]."""

    expects: str
    parse: Callable[[Sequence[str]], NDArray[Any]]


def _whole(texts: Sequence[str]) -> NDArray[np.int64]:
    try:
        return np.array([int(text) for text in texts], np.int64)
    except ValueError:  # "374.0", as pandas writes whole numbers beside empty cells
        values = np.array([float(text) for text in texts])
    if not np.all((np.floor(values) == values) & (np.abs(values) < 2.0**63)):
        raise ValueError("not a whole number")
    return values.astype(np.int64)


def _number(texts: Sequence[str]) -> NDArray[np.float64]:
    values = np.array([float(text) for text in texts], np.float64)
    if not np.isfinite(values).all():
        raise ValueError("not finite")
    return values


def _number_or_empty(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array([float(text) if text.strip() else np.nan for text in texts], np.float64)


def _timestamp_ns(texts: Sequence[str]) -> NDArray[np.int64]:
    """Dates and times in UTC, with up to nine fractional digits, as nanoseconds since 1970."""
    plain = [text.strip().removesuffix("+00:00").removesuffix("Z") for text in texts]
    # numpy also reads "2023", "now" and offsets: insist on a date, a time of day and nothing after its digits.
    if not all(18 < len(text) < 30 and text[19:20] in ("", ".") and text[19:].isascii() for text in plain):
        raise ValueError("not a timestamp")
    if not all(text[20:].isdigit() for text in plain if len(text) > 19):
        raise ValueError("not a timestamp")
    return np.array(plain, "datetime64[ns]").astype(np.int64)


def _whole_lists(texts: Sequence[str]) -> NDArray[Any]:
    """Whole numbers separated by blanks, or as JSON writes a list; each cell a tuple."""
    found = np.empty(len(texts), object)
    for place, text in enumerate(texts):
        found[place] = tuple(map(int, text.strip("[]").replace(",", " ").split()))
    return found


WHOLE = Parser("a whole number", _whole)
WHOLE_LIST = Parser("whole numbers separated by blanks", _whole_lists)
NUMBER = Parser("a finite number", _number)
NUMBER_OR_EMPTY = Parser("a number or empty", _number_or_empty)
TIMESTAMP_NS = Parser("a UTC timestamp such as 2023-11-16 18:15:46.6805900", _timestamp_ns)
