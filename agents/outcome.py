"""Outcome: what a training run has come to, and the table of several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.looks import Figures, best_baseline, mean_of
from agents.statistics import interval, paired

COLUMNS = ("run", "scenario", "kept at", "{figure}", "best baseline", "difference", "95 % interval", "minutes")


@dataclass(frozen=True)
class Difference:
    """To the best baseline on the same held-out requests, as a share; the interval is over their seeds."""

    baseline: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Outcome:
    """Of the look that a run keeps: its mean figure over the held-out seeds, by part."""

    run: str  # the name of its folder
    num_decisions: int  # until the look
    wall_s: float  # of the whole run
    means: dict[str, float]
    differences: dict[str, Difference | None]


def outcome_of(
    run: str, kept: dict[str, Any], baselines: dict[str, dict[str, Figures]], figure: str, wall_s: float
) -> Outcome:
    """From a look (agents.looks) and the baselines beside it."""
    figures = kept["figures"]
    return Outcome(
        run,
        kept["steps"],
        wall_s,
        {part: mean_of(found, figure) for part, found in figures.items()},
        {part: _difference(found, baselines.get(part, {}), figure) for part, found in figures.items()},
    )


def _difference(ours: Figures, baselines: dict[str, Figures], figure: str) -> Difference | None:
    best = best_baseline(baselines, figure)
    if best is None:
        return None
    return Difference(best, *paired(np.asarray(ours[figure]), np.asarray(baselines[best][figure])))


def table_of(outcomes: Sequence[Outcome]) -> list[tuple[str, ...]]:
    """Rows under `COLUMNS`: each run by part, then the means over the runs with their 95 % intervals, where there are
    several."""
    rows = [_row(each, part) for each in outcomes for part in each.means]
    if len(outcomes) > 1:
        rows += [_mean_row(outcomes, part) for part in outcomes[0].means]
    return rows


def _row(found: Outcome, part: str) -> tuple[str, ...]:
    beside = found.differences[part]
    last = (
        ("-", "-", "-")
        if beside is None
        else (beside.baseline, f"{beside.mean:+.2%}", _between(beside.low, beside.high))
    )
    return found.run, part, f"{found.num_decisions:,}", f"{found.means[part]:.3f}", *last, f"{found.wall_s / 60.0:.1f}"


def _mean_row(outcomes: Sequence[Outcome], part: str) -> tuple[str, ...]:
    mean, low, high = interval([each.means[part] for each in outcomes])
    beside = [each.differences[part] for each in outcomes]
    last = ("-", "-", "-")
    if all(beside):
        share, least, most = interval([each.mean for each in beside if each is not None])
        last = (", ".join(sorted({each.baseline for each in beside if each})), f"{share:+.2%}", _between(least, most))
    return f"mean of {len(outcomes)}", part, "", f"{mean:.3f} [{low:.3f}, {high:.3f}]", *last, ""


def _between(low: float, high: float) -> str:
    return f"[{low:+.2%}, {high:+.2%}]"
