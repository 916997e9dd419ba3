"""Asking the memory for what the steps of the next servers will touch, while this one's is computed.

Servers together are larger than the processor's near caches, and a step that finds its rows there takes two thirds of
the time of one that waits for each. Nothing is read or changed but addresses: results cannot depend on it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from llmqgym.kernel import tables
from llmqgym.kernel.jit import helper
from llmqgym.kernel.memory import entry_at, peek, prefetch, simulator_at

_LINE = tables.CACHE_LINE_BYTES
#: Of a record: its first lines (clock, queue lengths), and the kernel's own from here on.
_FIRST_BYTES = 3 * _LINE
_OWN, _OWN_BYTES = tables.SERVER.itemsize, 14 * _LINE
_REQUEST_BYTES, _HIDDEN_BYTES = tables.REQUEST.itemsize, tables.HIDDEN.itemsize
_ARRIVAL_BYTES, _DEPARTURE_BYTES = tables.ARRIVAL.itemsize, tables.DEPARTURE.itemsize
#: Of the heap of ends: its upper levels.
_HEAP_BYTES = 6 * _LINE


@helper
def _ask_for(address: int, num_bytes: int) -> None:
    for at in range(0, num_bytes, _LINE):
        prefetch(address + at)


@helper
def _ask_for_row(sim: Any, row: int) -> None:
    prefetch(sim.requests + row * _REQUEST_BYTES)
    prefetch(sim.hidden + row * _HIDDEN_BYTES)


@helper
def _ask_for_tables(agent: Any) -> None:
    """Rows of the running requests that it is shown, the next to finish, to come and to leave."""
    sim = simulator_at(agent.simulator, 0)
    for place in range(agent.num_shown_running):
        _ask_for_row(sim, peek(agent.running, place))
    _ask_for(sim.cohort_ends, _HEAP_BYTES)
    _ask_for(sim.arrivals + sim.next_arrival * _ARRIVAL_BYTES, 2 * _LINE)
    _ask_for(sim.departures + sim.num_departures * _DEPARTURE_BYTES, 3 * _LINE)


@helper
def ask_for_those_after(agents: np.ndarray, place: int) -> None:
    """Three servers on the record, two on what it leads to, one on what that leads to."""
    num = len(agents)
    if place + 3 < num:
        address = agents[place + 3].simulator
        _ask_for(address, _FIRST_BYTES)
        _ask_for(address + _OWN, _OWN_BYTES)
    if place + 2 < num:
        _ask_for_tables(agents[place + 2])
    if place + 1 < num:
        sim = simulator_at(agents[place + 1].simulator, 0)
        if sim.num_cohort_ends > 0:
            _ask_for_row(sim, entry_at(sim.cohort_ends, 0).row)
