"""The integer program of arXiv 2502.07115 for unit rounds in HiGHS: optima of small instances, and an LP bound."""

from __future__ import annotations

import math
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_matrix

from llmqgym.bounds.unit_rounds import Optimum, UnitRounds
from llmqgym.errors import InputError

Ints = NDArray[np.int64]

#: Completion times are whole numbers: a bound this close to the best schedule proves it optimal.
_WHOLE = 0.999
#: Keeps a bound that is a whole number but for rounding from being rounded up to the next.
_ROUNDING = 1e-6


def program_optimum(instance: UnitRounds, time_limit_s: float = 60.0) -> Optimum:
    """What `unit_optimum.optimum` finds, by the integer program: its reference.

    x[i, t] = 1 if request i starts after round t >= arrival_i; each starts once; in every round the requests that run
    hold at most the capacity (policies.md 3.1). A good schedule and lower bounds shorten the program: the optimum is at
    most the one, and a request starts no later than leaves the bound of the others room below it. For n <= 12.
    Raises InputError when HiGHS has not proved optimality within `time_limit_s`.

    >>> program_optimum(UnitRounds.of([0, 0, 0, 0], [8, 1, 1, 1], [1, 2, 2, 2], 9)).total_completion
    9
    """
    starts = _good_schedule(instance)
    total = int((starts + instance.output_tokens).sum())
    if total == _least_total(instance):
        return Optimum(starts, total)
    program = _Program(instance, _last_starts(instance, total))
    result = program.solve(integer=True, time_limit_s=time_limit_s, known=(_least_total(instance), total))
    if result.mip_dual_bound is None or result.mip_dual_bound <= (total if result.x is None else result.fun) - 1:
        raise InputError(
            f"no proof of optimality for {len(instance.arrival)} requests within {time_limit_s:g} s: take fewer or "
            "shorter requests, or a longer time limit."
        )
    if result.x is not None:
        starts = program.start[result.x > 0.5]
    return Optimum(starts, int((starts + instance.output_tokens).sum()))


def relaxation(instance: UnitRounds) -> float:
    """The LP relaxation of the integer program: a lower bound for schedules without preemption, the strongest here.

    Every schedule is a 0-1 point of the program, the LP minimises over more points. policies.md 9.4.

    >>> round(relaxation(UnitRounds.of([0, 0, 0, 0], [8, 1, 1, 1], [1, 2, 2, 2], 9)), 3)
    8.333
    """
    output = instance.output_tokens
    # After the last arrival no round need be idle: what follows it can be moved forward.
    last = instance.arrival.max() + output.sum() - output
    return float(_Program(instance, last).solve(integer=False, time_limit_s=np.inf).fun)


def _least_total(instance: UnitRounds) -> int:
    """The best of the simple bounds, rounded up to a whole number."""
    best = max(instance.trivial(), instance.srpt_pooling(), instance.mean_busy_time())
    return math.ceil(best - _ROUNDING)


def _last_starts(instance: UnitRounds, total: int) -> Ints:
    """The latest start of each request in a schedule of at most this total, whatever the others do."""
    last = np.empty(len(instance.arrival), np.int64)
    for i in range(len(last)):
        rest = np.arange(len(last)) != i
        columns = (instance.arrival[rest], instance.prompt_tokens[rest], instance.output_tokens[rest])
        others = _least_total(UnitRounds(*columns, instance.capacity_tokens)) if rest.any() else 0
        last[i] = total - others - instance.output_tokens[i]
    return last


def _good_schedule(instance: UnitRounds) -> Ints:
    """Starts [n] of the best found by trying orders, each request as early as those before it allow, and swaps."""
    orders = [np.argsort(key, kind="stable") for key in (instance.volume, instance.output_tokens, instance.arrival)]
    schedules = [(order, _in_order(instance, order)) for order in orders]
    order, starts = min(schedules, key=lambda schedule: int(schedule[1].sum()))
    better = True
    while better:
        better = False
        for i, j in combinations(range(len(order)), 2):
            swapped = order.copy()
            swapped[[i, j]] = order[[j, i]]
            found = _in_order(instance, swapped)
            if found.sum() < starts.sum():
                order, starts, better = swapped, found, True
    return starts


def _in_order(instance: UnitRounds, order: Ints) -> Ints:
    held = np.zeros(int(instance.arrival.max() + instance.output_tokens.sum()) + 1, np.int64)
    starts = np.empty(len(order), np.int64)
    for i in order:
        output, start = int(instance.output_tokens[i]), int(instance.arrival[i])
        own = instance.prompt_tokens[i] + np.arange(1, output + 1)
        while (held[start + 1 : start + 1 + output] + own > instance.capacity_tokens).any():
            start += 1
        held[start + 1 : start + 1 + output] += own
        starts[i] = start
    return starts


class _Program:
    """The time-indexed program; variables [v] are pairs (request, start)."""

    def __init__(self, instance: UnitRounds, last: Ints) -> None:
        self.instance = instance
        spans = [np.arange(first, end + 1) for first, end in zip(instance.arrival, last, strict=True)]
        self.start = np.concatenate(spans)
        self.request = np.repeat(np.arange(len(spans)), [len(span) for span in spans])

    def solve(self, *, integer: bool, time_limit_s: float, known: tuple[int, int] | None = None) -> Any:
        """`known`: bounds on the optimum."""
        num, request = len(self.start), self.request
        cost = (self.start + self.instance.output_tokens[request]).astype(np.float64)
        once = csr_matrix((np.ones(num), (request, np.arange(num))))
        constraints = [LinearConstraint(once, 1, 1), self._fits()]
        options: dict[str, float] = {"time_limit": time_limit_s}
        if known is not None:
            constraints.append(LinearConstraint(csr_matrix(cost), *known))
            options["mip_rel_gap"] = _WHOLE / known[1]
        return milp(
            cost, constraints=constraints, bounds=Bounds(0, 1), integrality=np.full(num, int(integer)), options=options
        )

    def _fits(self) -> LinearConstraint:
        """Tokens held in each round [rounds] by a request that starts then [v]."""
        runs = self.instance.output_tokens[self.request]
        variable = np.repeat(np.arange(len(runs)), runs)
        made = np.arange(runs.sum()) - np.repeat(np.cumsum(runs) - runs, runs) + 1
        rounds = self.start[variable] + made
        held = self.instance.prompt_tokens[self.request[variable]] + made
        entries = (held.astype(np.float64), (rounds - rounds.min(), variable))
        in_rounds = csr_matrix(entries, shape=(rounds.max() + 1 - rounds.min(), len(runs)))
        return LinearConstraint(in_rounds, -np.inf, self.instance.capacity_tokens)
