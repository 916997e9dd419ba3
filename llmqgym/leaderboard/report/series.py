"""What a board holds along an axis: the same traffic at several loads, the same scenario at several sigmas; and whom
to draw where all would be too many."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llmqgym.leaderboard.report.board import REFERENCE, Board
from llmqgym.leaderboard.report.measures import E2E

FEATURED = 6
#: Distributions that are drawn, and the shares of requests at which they are.
DRAWN = ("e2e_s", "ttft_s")
SHARES = (0.0, 0.01, *(place / 40 for place in range(1, 39)), 0.96, 0.97, 0.98, 0.99, 0.995, 0.999, 1.0)
_SIGMA = re.compile(r"^(?P<base>noisy)-(?P<sigma>\d+(?:\.\d+)?)(?P<rest>@.*)?$")


@dataclass(frozen=True)
class Along:
    """Scenarios that differ in one number, by that number."""

    name: str
    axis: str
    points: tuple[tuple[float, str], ...]  # (where, scenario)


def loads(board: Board) -> list[Along]:
    """Scenarios at two loads or more."""
    groups: dict[str, list[tuple[float, str]]] = {}
    for scenario in board.scenarios:
        if scenario.get("rho") is not None:
            groups.setdefault(scenario["base"], []).append((float(scenario["rho"]), scenario["name"]))
    axis = "load, as a share of the capacity"
    return [Along(name, axis, tuple(sorted(of))) for name, of in groups.items() if len(of) > 1]


def sigmas(board: Board) -> list[Along]:
    """The scenarios noisy-SIGMA, where there are two or more."""
    groups: dict[str, list[tuple[float, str]]] = {}
    for scenario in board.scenarios:
        found = _SIGMA.match(scenario["name"])
        if found:
            name = f"{found['base']}{found['rest'] or ''}"
            groups.setdefault(name, []).append((float(found["sigma"]), scenario["name"]))
    axis = "sigma: predictions are off by a factor of e^(sigma N(0, 1))"
    return [Along(name, axis, tuple(sorted(of))) for name, of in groups.items() if len(of) > 1]


def at_shares(points: Sequence[tuple[float, float]]) -> list[float]:
    """A distribution at SHARES, from (share, value), rising: straight lines between.

    >>> at_shares([(0.0, 0.0), (1.0, 10.0)])[:3]
    [0.0, 0.1, 0.25]
    """
    shares, values = zip(*points, strict=True)
    return [float(value) for value in np.interp(SHARES, shares, values)]


def featured(board: Board, scenarios: Sequence[str], count: int = FEATURED) -> list[str]:
    """Whom a picture shows that cannot show all: vLLM, the best by mean E2E over the scenarios, the best oracle; of
    those that come to the very same only the first."""

    def key(spec: str) -> tuple[float, float]:
        cells = [board.cell(name, spec) for name in scenarios]
        figures = [cell.figure(E2E) for cell in cells if cell is not None and not cell.skipped]
        off = sum(cell is None or not cell.comparable for cell in cells)
        return off, sum(found.mean for found in figures if found)

    there = [policy for policy in board.policies if any(_measured(board, name, policy["spec"]) for name in scenarios)]
    ordered = sorted((policy["spec"] for policy in there if not policy.get("oracle")), key=key)
    oracles = sorted((policy["spec"] for policy in there if policy.get("oracle")), key=key)
    chosen = {key(spec): spec for spec in [REFERENCE] if spec in ordered}
    for spec in ordered:
        if len(chosen) < count - 1:
            chosen.setdefault(key(spec), spec)
    return [*chosen.values(), *oracles[:1]]


def _measured(board: Board, scenario: str, spec: str) -> bool:
    cell = board.cell(scenario, spec)
    return cell is not None and not cell.skipped and cell.figure(E2E) is not None
