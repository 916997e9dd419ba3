"""A binary heap of ENTRY rows at an address: smallest (key, tie) at the root. Counts are kept by the caller."""

from __future__ import annotations

from typing import Any

from llmqgym.kernel.jit import helper
from llmqgym.kernel.memory import entry_at


@helper
def _put(entries: int, place: int, key: float, tie: int, row: int) -> None:
    entry = entry_at(entries, place)
    entry.key = key
    entry.tie = tie
    entry.row = row


@helper
def _copy(entries: int, place: int, source: int) -> None:
    entry = entry_at(entries, source)
    _put(entries, place, entry.key, entry.tie, entry.row)


@helper
def _rise(entries: int, top: int, place: int, key: float, tie: int, row: int) -> None:
    """Let the hole at `place` rise, to `top` at most, until (key, tie, row) may fill it."""
    while place > top:
        above = (place - 1) >> 1
        parent = entry_at(entries, above)
        if parent.key < key or (parent.key == key and parent.tie < tie):
            break
        _put(entries, place, parent.key, parent.tie, parent.row)
        place = above
    _put(entries, place, key, tie, row)


@helper
def _sift_down(entries: int, count: int, place: int, key: float, tie: int, row: int) -> None:
    """Let the hole at `place` sink to the bottom, the smaller child rising each time; then let (key, tie, row) rise.

    What fills a hole comes from the bottom and mostly goes back there: half the comparisons, and no branch to guess."""
    top = place
    right = 2 * place + 2
    while right < count:
        a, b = entry_at(entries, right - 1), entry_at(entries, right)
        smaller = right - int((a.key < b.key) | ((a.key == b.key) & (a.tie < b.tie)))
        _copy(entries, place, smaller)
        place = smaller
        right = 2 * place + 2
    if right == count:
        _copy(entries, place, right - 1)
        place = right - 1
    _rise(entries, top, place, key, tie, row)


@helper
def push(entries: int, count: int, key: float, tie: int, row: int) -> int:
    """Add an entry to a heap of `count`; returns the new count."""
    _rise(entries, 0, count, key, tie, row)
    return count + 1


@helper
def pop(entries: int, count: int) -> int:
    """Drop the root of a heap of `count` >= 1; returns the new count."""
    count -= 1
    last = entry_at(entries, count)
    if count > 0:
        _sift_down(entries, count, 0, last.key, last.tie, last.row)
    return count


@helper
def heapify(entries: int, count: int) -> None:
    """Make a heap of `count` entries in any order."""
    for place in range((count >> 1) - 1, -1, -1):
        entry = entry_at(entries, place)
        _sift_down(entries, count, place, entry.key, entry.tie, entry.row)


@helper
def root(entries: int) -> Any:
    """The smallest entry of a heap that is not empty."""
    return entry_at(entries, 0)
