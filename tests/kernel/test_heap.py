"""The heap of ENTRY rows, against heapq."""

from __future__ import annotations

import heapq
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from llmqgym.kernel import heap, tables
from llmqgym.kernel.memory import address_of

KEYS = st.sampled_from([0.0, -1.5, 2.0, 7.25, math.inf, -math.inf])


@settings(max_examples=200)
@given(st.lists(st.one_of(KEYS, st.none()), max_size=60))
def test_pushes_and_pops_in_the_order_of_heapq(commands: list[float | None]) -> None:
    """None pops, a number pushes; ties go by the second field."""
    entries = np.zeros(64, tables.ENTRY)
    address, count = address_of(entries), 0
    theirs: list[tuple[float, int, int]] = []
    for tie, key in enumerate(commands):
        if key is not None:
            count = heap.push(address, count, key, 100 - tie, tie)
            heapq.heappush(theirs, (key, 100 - tie, tie))
        elif theirs:
            assert int(entries[0]["row"]) == theirs[0][2]
            count = heap.pop(address, count)
            heapq.heappop(theirs)
        assert count == len(theirs)


@settings(max_examples=100)
@given(st.lists(KEYS, min_size=1, max_size=40))
def test_heapify(keys: list[float]) -> None:
    entries = np.zeros(len(keys), tables.ENTRY)
    entries["key"], entries["tie"] = keys, np.arange(len(keys))
    address, count = address_of(entries), len(keys)
    heap.heapify(address, count)
    popped = []
    while count:
        popped.append((float(entries[0]["key"]), int(entries[0]["tie"])))
        count = heap.pop(address, count)
    assert popped == sorted(popped)
