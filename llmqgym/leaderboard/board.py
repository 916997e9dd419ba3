"""Board: the document of a leaderboard, from the pieces that are done. docs/leaderboard.md describes its shape."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from llmqgym.leaderboard.arena import Arena
from llmqgym.leaderboard.measured import DISTRIBUTIONS, LEVELS, measured_rows, total_of
from llmqgym.leaderboard.plan import Plan
from llmqgym.leaderboard.statistics import improvement, interval, iqm_interval, mean_of, ranks
from llmqgym.leaderboard.suite import REFERENCE

#: A piece from its key.
Read = Callable[[str], dict[str, Any]]
Runs = list[dict[str, Any]]

#: What contestants are ranked by, the smallest first: the mean board and the tail board.
RANKED = ("mean_e2e_s", "p99_e2e_s", "mean_ttft_s", "p99_ttft_s")
#: The means that have a certified bound.
BOUNDED = ("mean_e2e_s", "mean_ttft_s")
#: Boards over all scenarios.
OVERALL = ("mean_e2e_s", "p99_e2e_s")


def document(plan: Plan, read: Read) -> dict[str, Any]:
    """The document but for who made it when (`llmqgym.leaderboard.origin`): the same pieces make the same one."""
    arenas = [_Results(plan, arena, read) for arena in plan.arenas]
    return {
        "suite": plan.suite.name,
        "summary": plan.suite.summary,
        "settings": plan.suite.settings(),
        "reference": REFERENCE,
        "seeds": sorted({seed for arena in plan.arenas for seed in arena.seeds}),
        "scenarios": [each.scenario() for each in arenas],
        "policies": [
            {
                "spec": each.spec,
                "family": each.family,
                "needs": list(each.needs),
                "oracle": each.oracle,
                "summary": each.summary,
                "settings": each.settings(),
            }
            for each in plan.contestants
        ],
        "cells": [each.cell(spec) for each in arenas for spec in plan.suite.contestants],
        "overall": [_overall(spec, arenas) for spec in plan.suite.contestants],
        "pieces": [piece.key for piece in plan.pieces],
        "recommendation": None,
    }


class _Results:
    """What came of an arena: the runs of each contestant that was there, and how they stand to each other."""

    def __init__(self, plan: Plan, arena: Arena, read: Read) -> None:
        self.plan = plan
        self.arena = arena
        present = [each for each in plan.contestants if (arena.name, each.spec) not in plan.skipped]
        self.runs: dict[str, Runs] = {
            each.spec: [read(piece.key) for piece in plan.cell(arena, each.spec)] for each in present
        }
        self.bounds = [read(piece.key) for piece in plan.bounds(arena)]
        self.stable = {
            each.spec: read(piece.key) for each in present if (piece := plan.stable(arena, each.spec)) is not None
        }
        self.censored = {spec: any(run["censored"] for run in runs) for spec, runs in self.runs.items()}
        self.ranked = [each.spec for each in present if not each.oracle]
        self.places = {metric: self._places(metric) for metric in RANKED}
        self.best = {metric: self._best(metric) for metric in RANKED}

    def values(self, spec: str, metric: str) -> list[float]:
        """Of a contestant that is there and not censored, by seed."""
        return [run["metrics"][metric] for run in self.runs[spec]]

    def compares(self, spec: str) -> bool:
        """Whether its latencies are all there."""
        return spec in self.runs and not self.censored[spec]

    def ratios(self, spec: str, metric: str) -> list[float] | None:
        """To the reference, by seed; None where one of the two is not there or censored."""
        if not (self.compares(spec) and self.compares(REFERENCE)):
            return None
        pairs = zip(self.values(spec, metric), self.values(REFERENCE, metric), strict=True)
        return [own / other for own, other in pairs]

    def scenario(self) -> dict[str, Any]:
        """What the arena is."""
        arena, scenario = self.arena, self.arena.scenario
        traffic = {name: value for name, value in dataclasses.asdict(scenario.workload).items() if value is not None}
        rows = measured_rows(arena.num_counted)
        return {
            "name": arena.name,
            "base": arena.base,
            "summary": scenario.summary,
            "rho": arena.rho,
            "rate_per_s": scenario.workload.rate_per_s,
            "load": arena.load,
            "seeds": list(arena.seeds),
            "num_requests": total_of(arena.num_counted),
            "num_measured": rows.stop - rows.start,
            "profile": scenario.profile,
            "predictor": scenario.predictor,
            "config": {"server": dataclasses.asdict(scenario.server), "workload": traffic},
            "fingerprint": arena.fingerprint(),
            "bound": {name: interval([each[name] for each in self.bounds]) for name in BOUNDED},
        }

    def cell(self, spec: str) -> dict[str, Any]:
        """What came of a contestant."""
        cell = {"scenario": self.arena.name, "policy": spec}
        if spec not in self.runs:
            return {**cell, "num_runs": 0, "skipped": self.plan.skipped[self.arena.name, spec]}
        runs = self.runs[spec]
        verdicts = Counter(run["stability"] for run in runs)
        counts = ("num_measured", "num_finished", "num_unfinished", "num_rejected", "num_late", "num_extrapolated")
        return {
            **cell,
            "num_runs": len(runs),
            "skipped": None,
            "censored": self.censored[spec],
            **{name: sum(run[name] for run in runs) for name in counts},
            "stability": verdict_of(verdicts),
            "stability_counts": dict(sorted(verdicts.items())),
            "metrics": {name: mean_of([run["metrics"][name] for run in runs]) for name in runs[0]["metrics"]},
            "gap": {name: self._gap(spec, name) for name in BOUNDED},
            "rank": {metric: self.places[metric].get(spec) for metric in RANKED},
            "difference_to_vllm": {metric: self._difference(spec, REFERENCE, metric) for metric in RANKED},
            "difference_to_best": {metric: self._difference(spec, self.best[metric], metric) for metric in RANKED},
            "ratio_to_vllm": {metric: _interval_or_none(self.ratios(spec, metric)) for metric in RANKED},
            "largest_stable": self._largest_stable(spec),
            "quantiles": {name: _mean_quantiles(runs, name) for name in DISTRIBUTIONS},
        }

    def _gap(self, spec: str, metric: str) -> dict[str, Any] | None:
        """How far the mean is above the bound, as a share of it, seed by seed; none for a censored cell."""
        if self.censored[spec]:
            return None
        pairs = zip(self.values(spec, metric), self.bounds, strict=True)
        return interval([value / bound[metric] - 1 for value, bound in pairs])

    def _difference(self, spec: str, other: str | None, metric: str) -> dict[str, Any] | None:
        if other is None or not (self.compares(spec) and self.compares(other)):
            return None
        pairs = zip(self.values(spec, metric), self.values(other, metric), strict=True)
        return {"to": other, **interval([own - theirs for own, theirs in pairs])}

    def _places(self, metric: str) -> dict[str, list[int]]:
        """Ranks of those that see no truth; the censored share the last."""
        whole = [spec for spec in self.ranked if self.compares(spec)]
        places = ranks([self.values(spec, metric) for spec in whole])
        last = [len(whole) + 1, len(self.ranked)]
        found = {spec: list(place) for spec, place in zip(whole, places, strict=True)}
        return found | {spec: last for spec in self.ranked if spec not in found}

    def _best(self, metric: str) -> str | None:
        whole = [spec for spec in self.ranked if self.compares(spec)]
        return min(whole, key=lambda spec: float(np.mean(self.values(spec, metric))), default=None)

    def _largest_stable(self, spec: str) -> dict[str, Any] | None:
        found = self.stable.get(spec)
        return None if found is None else {name: found[name] for name in ("rho", "rate_per_s", "most_rho")}


def verdict_of(verdicts: Counter[str]) -> str:
    """A word for the verdicts of several runs.

    >>> verdict_of(Counter(stable=9, growing=1)), verdict_of(Counter(growing=6, stable=4))
    ('mixed', 'growing')
    """
    growing = verdicts["growing"]
    if growing == 0:
        return "undecided" if verdicts["undecided"] else "stable"
    return "growing" if 2 * growing > verdicts.total() else "mixed"


def _interval_or_none(values: Sequence[float] | None) -> dict[str, Any] | None:
    return None if values is None else interval(values)


def _mean_quantiles(runs: Runs, name: str) -> list[list[float]] | None:
    """[level from 0 to 1, seconds] of the distribution: the mean over runs at each level."""
    had = [run["quantiles"][name] for run in runs if run["quantiles"][name] is not None]
    if not had:
        return None
    return [[level / 100, value] for level, value in zip(LEVELS, np.mean(had, axis=0).tolist(), strict=True)]


def _overall(spec: str, arenas: list[_Results]) -> dict[str, Any]:
    """Over the scenarios in which the contestant and the reference can be compared."""
    there = [each for each in arenas if spec in each.runs]
    compared = [each for each in there if each.ratios(spec, OVERALL[0]) is not None]
    row: dict[str, Any] = {
        "policy": spec,
        "num_scenarios": len(there),
        "num_compared": len(compared),
        "num_growing": sum(
            verdict_of(Counter(run["stability"] for run in each.runs[spec])) == "growing" for each in there
        ),
    }
    for metric in OVERALL:
        strata = [ratios for each in compared if (ratios := each.ratios(spec, metric)) is not None]
        places = [place for each in there if (place := each.places[metric].get(spec)) is not None]
        row[metric] = {
            "iqm_ratio_to_vllm": iqm_interval(strata) if strata else None,
            "prob_improvement": improvement(strata) if strata else None,
            "num_first": sum(first == 1 for first, _ in places),
        }
    return row
