"""Exact optima of small instances in unit rounds."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from llmqgym.bounds.unit_rounds import Optimum, UnitRounds
from llmqgym.bounds.unit_search import Search, in_order, new_search, settle
from llmqgym.errors import InputError

Ints = NDArray[np.int64]

#: The tables of the search have 2^n rows.
MAX_REQUESTS = 16
#: Nodes of the search before the clock is looked at: some tenths of a second.
_NODES = 1 << 20


def optimum(instance: UnitRounds, time_limit_s: float = 60.0) -> Optimum:
    """The least sum of completion times over all schedules without preemption that know every arrival and length.

    Branch and bound over the requests in order of their starts (`unit_search.Search` has the bounds and their proofs);
    `unit_program.program_optimum` finds the same by the integer program. Raises InputError for more than 16 requests,
    and where optimality is not proved within `time_limit_s`.

    >>> optimum(UnitRounds.of([0, 0, 0, 0], [8, 1, 1, 1], [1, 2, 2, 2], 9)).total_completion
    9
    """
    num = len(instance.arrival)
    if num > MAX_REQUESTS:
        raise InputError(f"{num} requests, at most {MAX_REQUESTS} can be solved exactly: take fewer, or a bound.")
    until = time.monotonic() + time_limit_s
    columns = (instance.prompt_tokens, instance.output_tokens, instance.capacity_tokens)
    search = new_search(np.zeros_like(instance.arrival), *columns)
    if instance.arrival.any():
        _settle_all(search, until, time_limit_s)
        search = new_search(instance.arrival, *columns)._replace(at_once=search.least)
    _settle_all(search, until, time_limit_s)
    starts = search.best.copy()
    if starts.min() < 0:  # none is better than that order
        in_order(search, search.orders[-1], num)
        starts = search.starts.copy()
    return Optimum(starts, int((starts + instance.output_tokens).sum()))


def _settle_all(search: Search, until: float, time_limit_s: float) -> None:
    """In ascending order, so that each set comes after its parts."""
    for members in range(1, len(search.least)):
        nodes = _NODES
        while time.monotonic() > until or not settle(search, members, nodes):
            if time.monotonic() > until:
                num = len(search.arrival)
                raise InputError(
                    f"no proof of optimality for {num} requests within {time_limit_s:g} s: take fewer or shorter "
                    "requests, or a longer time limit."
                )
            nodes *= 4
