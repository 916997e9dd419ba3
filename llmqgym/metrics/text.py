"""Numbers as text, a column at a time: cells are bytes [R, width] in which NUL stands for nothing.

The words are Python's (`str`, `repr`), five to ten times as fast; what is not known is an empty cell.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from llmqgym.kernel.tables import PS_PER_S

Cells = NDArray[np.uint8]
Ints = NDArray[np.int64]

_GROUP = 10_000


def _four_bytes(words: list[str]) -> NDArray[np.uint32]:
    return np.array(words, "S4").view(np.uint32)


#: Numbers below 10,000 as four bytes: inside a number, at its front, behind its point; the latter two also where no
#: other digit stands there, and 0 is written out.
_FULL = _four_bytes([f"{n:04d}" for n in range(_GROUP)])
_FRONT = _four_bytes([str(n) if n else "" for n in range(_GROUP)])
_ONLY_FRONT = _four_bytes([str(n) for n in range(_GROUP)])
_BEHIND = _four_bytes([f"{n:04d}".rstrip("0") for n in range(_GROUP)])
_ONLY_BEHIND = _four_bytes([f"{n:04d}".rstrip("0") or "0" for n in range(_GROUP)])
_POINT = _four_bytes(["."])


def lines(columns: list[Cells]) -> str:
    """The rows of a CSV table from the cells of its columns, each [R, any width].

    >>> lines([whole_numbers(np.array([7, 12345])), seconds(np.array([1_500_000_000_000, -1]))])
    '7,1.5\\n12345,\\n'
    """
    comma, end = (np.full((len(columns[0]), 1), ord(sign), np.uint8) for sign in ",\n")
    parts = [part for cells in columns for part in (cells, comma)]
    return np.concatenate([*parts[:-1], end], axis=1).tobytes().translate(None, b"\0").decode("ascii")


def words(names: list[str], which: Ints) -> Cells:
    """The names with these numbers [R]."""
    table = np.array(names, "S")
    return _cells(table[which])


def whole_numbers(values: Ints) -> Cells:
    """`str` of each of [R]."""
    if (values == values[:1]).all():
        return np.broadcast_to(_cells(values[:1].astype("S20")), (len(values), 20))
    if values.min() < 0 or values.max() >= _GROUP**2:
        return _cells(values.astype("S20"))
    front, back = np.divmod(values, _GROUP)
    groups = np.stack([_FRONT[front], np.where(front > 0, _FULL[back], _ONLY_FRONT[back])], axis=1)
    return groups.view(np.uint8)


def reals(values: NDArray[np.float64]) -> Cells:
    """`repr` of each of [R]; nothing for nan."""
    if np.isnan(values).all():
        return np.zeros((len(values), 1), np.uint8)
    texts = _cells(np.array(list(map(repr, values.tolist())), "S24"))
    texts[np.isnan(values)] = 0
    return texts


def seconds(times_ps: Ints) -> Cells:
    """`repr(float(t) / 10**12)` of each of [R]; nothing for -1."""
    known_mask = times_ps >= 0
    shortest_ps, hard_mask = _shortest_ps(np.where(known_mask, times_ps, 0))
    whole, rest = np.divmod(shortest_ps, PS_PER_S)
    thousands, ones = np.divmod(whole, _GROUP)
    first, rest = np.divmod(rest, _GROUP**2)
    second, third = np.divmod(rest, _GROUP)
    groups = np.empty((len(times_ps), 6), np.uint32)
    groups[:, 0] = _FRONT[thousands]
    groups[:, 1] = np.where(thousands > 0, _FULL[ones], _ONLY_FRONT[ones])
    groups[:, 2] = _POINT
    groups[:, 3] = np.where(rest > 0, _FULL[first], _ONLY_BEHIND[first])
    groups[:, 4] = np.where(third > 0, _FULL[second], _BEHIND[second])
    groups[:, 5] = _BEHIND[third]
    groups[~known_mask] = 0
    cells = groups.view(np.uint8)
    if hard_mask.any():
        cells[hard_mask] = reals(times_ps[hard_mask] / PS_PER_S)
    return cells


def _shortest_ps(times_ps: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Times whose plain decimals are `repr` of the seconds, and which of them are not: repr has to write these.

    Up to 8192 s neighbouring floats are less than a ps apart, so that no shorter decimal lies as close as the time's.
    """
    hard_mask = (times_ps > 0) & (times_ps < PS_PER_S // 10_000)  # repr writes these as 1e-05
    far = np.flatnonzero(times_ps >= 8192 * PS_PER_S)
    if not len(far):
        return times_ps, hard_mask
    shortest_ps = times_ps.copy()
    shortest_ps[far], hard_mask[far] = _shortest_far(times_ps[far] / PS_PER_S)
    return shortest_ps, hard_mask


def _shortest_far(time_s: NDArray[np.float64]) -> tuple[Ints, NDArray[np.bool_]]:
    """The shortest decimal, in ps, of those that read as `time_s` [R], the nearest of equally short ones; from 8192 to
    2^24 s. The second array marks ties and powers of two, which are left to repr.

    A float is c 2^-s with c < 2^53, and what reads as it lies between (2c - 1) and (2c + 1) times 5^12 2^(11 - s) ps;
    these are never whole, and are computed in two halves of 32 bits.
    """
    bits = time_s.view(np.int64)
    c = (bits & (2**52 - 1)) | 2**52
    shift = 1075 - (bits >> 52) - 11

    def scaled(a: Ints) -> Ints:
        return ((a >> 32) * 5**12 << (32 - shift)) + ((a & 0xFFFF_FFFF) * 5**12 >> shift)

    low, middle, high = scaled(2 * c - 1) + 1, scaled(2 * c), scaled(2 * c + 1)
    fraction = ((2 * c & 0xFFFF_FFFF) * 5**12) & ((1 << shift) - 1)  # of the middle, in units of 2^-shift
    unit = np.ones(len(c), np.int64)
    for digits in range(1, 17):
        shorter_mask = high // 10**digits * 10**digits >= low
        if not shorter_mask.any():
            break
        unit[shorter_mask] = 10**digits
    rest = middle % unit
    twice = 2 * rest + (fraction >> (shift - 1))
    tie_mask = (twice == unit) & (fraction & ((1 << (shift - 1)) - 1) == 0)
    return middle - rest + np.where(twice >= unit, unit, 0), tie_mask | (c == 2**52)


def _cells(texts: NDArray[np.bytes_]) -> Cells:
    return np.ascontiguousarray(texts).view(np.uint8).reshape(len(texts), texts.itemsize)
