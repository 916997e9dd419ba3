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
def _sift_down(entries: int, count: int, place: int, key: float, tie: int, row: int) -> None:
    """Let the hole at `place` sink until (key, tie, row) may fill it."""
    child = 2 * place + 1
    while child < count:
        best = entry_at(entries, child)
        if child + 1 < count:
            right = entry_at(entries, child + 1)
            if right.key < best.key or (right.key == best.key and right.tie < best.tie):
                best = right
                child += 1
        if key < best.key or (key == best.key and tie < best.tie):
            break
        _put(entries, place, best.key, best.tie, best.row)
        place = child
        child = 2 * place + 1
    _put(entries, place, key, tie, row)


@helper
def push(entries: int, count: int, key: float, tie: int, row: int) -> int:
    """Add an entry to a heap of `count`; returns the new count."""
    place = count
    while place > 0:
        above = (place - 1) >> 1
        parent = entry_at(entries, above)
        if parent.key < key or (parent.key == key and parent.tie < tie):
            break
        _put(entries, place, parent.key, parent.tie, parent.row)
        place = above
    _put(entries, place, key, tie, row)
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
