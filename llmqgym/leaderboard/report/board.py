"""A board as its readers meet it: figures with intervals, cells by scenario and policy, who may be compared."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from llmqgym.leaderboard.report.measures import Measure, measures_in
from llmqgym.leaderboard.suite import REFERENCE

__all__ = ["REFERENCE", "Board", "Cell", "Figure", "figure"]


@dataclass(frozen=True)
class Figure:
    """A mean over runs and its 95 % interval, which one run does not have."""

    mean: float
    low: float | None = None
    high: float | None = None

    def less(self, amount: float) -> Figure:
        """With `amount` taken off."""
        low, high = (None if end is None else end - amount for end in (self.low, self.high))
        return Figure(self.mean - amount, low, high)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its ends, if it has both."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    @property
    def is_zero(self) -> bool:
        """Whether a difference cannot be told from none: also where there is no interval to tell it by."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


@dataclass(frozen=True)
class Cell:
    """One policy on one scenario."""

    document: dict[str, Any]
    policy: dict[str, Any]

    @property
    def spec(self) -> str:
        """The policy's."""
        return str(self.policy["spec"])

    @property
    def oracle(self) -> bool:
        """Whether it reads true lengths."""
        return bool(self.policy.get("oracle"))

    @property
    def skipped(self) -> str | None:
        """Why it was not run."""
        reason = self.document.get("skipped")
        return str(reason) if reason else None

    @property
    def censored(self) -> bool:
        """Whether requests were left unfinished in any run: its means then say too little."""
        return bool(self.document.get("censored"))

    @property
    def growing(self) -> bool:
        """Whether its queue grew in most runs: its means then depend on how long they were."""
        return self.document.get("stability") == "growing"

    @property
    def remarks(self) -> list[str]:
        """What a reader of its means must know, in a word each."""
        stability = self.document.get("stability")
        names = {"growing": "growing", "mixed": "growing in some"}
        return [*(["censored"] if self.censored else []), *([names[stability]] if stability in names else [])]

    @property
    def comparable(self) -> bool:
        """Whether its means are of all requests of a queue that does not grow."""
        return not (self.skipped or self.censored or self.growing)

    def count(self, name: str) -> int:
        """Of requests: num_unfinished, num_rejected; over all runs."""
        return int(self.document.get(name) or 0)

    def figure(self, key: str) -> Figure | None:
        """A metric."""
        return figure(self.document.get("metrics", {}).get(key))

    def part(self, name: str, key: str) -> Figure | None:
        """Of `gap`, `ratio_to_vllm`, `difference_to_best` or `difference_to_vllm`."""
        return figure((self.document.get(name) or {}).get(key))

    def compared_with(self, other: str, key: str) -> str | None:
        """Who that is in `difference_to_best` or `difference_to_vllm`."""
        return ((self.document.get(f"difference_to_{other}") or {}).get(key) or {}).get("to")

    def against_reference(self, key: str) -> Figure | None:
        """The difference to the reference on the same requests, as a share of the reference's: -0.2 is a fifth less."""
        ratio = self.part("ratio_to_vllm", key)
        return None if ratio is None else ratio.less(1.0)

    def gap(self, key: str) -> Figure | None:
        """How far a mean is above its certified bound, as a share of the bound; none for censored cells."""
        return None if self.censored else self.part("gap", key)

    @property
    def stable_rho(self) -> float | None:
        """The largest load at which its queue does not grow, where it was searched for."""
        return (self.document.get("largest_stable") or {}).get("rho")

    @property
    def needs(self) -> str:
        """What it must be told of a request, in words."""
        return ", ".join(self.policy["needs"]) or "nothing"

    def rank(self, key: str) -> tuple[int, int] | None:
        """First and last place that it may have."""
        places = (self.document.get("rank") or {}).get(key)
        return None if not places else (int(places[0]), int(places[1]))

    def quantiles(self, of: str) -> list[tuple[float, float]]:
        """(share, seconds), rising."""
        return [(float(share), float(at)) for share, at in (self.document.get("quantiles") or {}).get(of) or []]


class Board:
    """The document of a board, looked up."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.scenarios: list[dict[str, Any]] = document["scenarios"]
        self.policies: list[dict[str, Any]] = document["policies"]

    @cached_property
    def _cells(self) -> dict[tuple[str, str], Cell]:
        policies = {policy["spec"]: policy for policy in self.policies}
        return {
            (cell["scenario"], cell["policy"]): Cell(cell, policies[cell["policy"]]) for cell in self.document["cells"]
        }

    def cell(self, scenario: str, policy: str) -> Cell | None:
        """Of one policy on one scenario, if it was run."""
        return self._cells.get((scenario, policy))

    def cells(self, scenario: str) -> Iterator[Cell]:
        """Of a scenario, in the order of the policies."""
        for policy in self.policies:
            cell = self.cell(scenario, policy["spec"])
            if cell is not None:
                yield cell

    @cached_property
    def measures(self) -> list[Measure]:
        """Everything that any cell measures."""
        return measures_in(key for cell in self.document["cells"] for key in cell.get("metrics") or {})


def figure(value: Any) -> Figure | None:
    """From {mean, low, high}, a number, or None; what is not finite is nothing.

    >>> figure({"mean": 2.0, "low": 1.5, "high": None})
    Figure(mean=2.0, low=1.5, high=None)
    """
    if not isinstance(value, dict):
        value = {"mean": value}
    mean, low, high = (_finite(value.get(name)) for name in ("mean", "low", "high"))
    return None if mean is None else Figure(mean, low, high)


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
