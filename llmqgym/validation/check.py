"""A check: a number that something else says, how far one may be from it, and a function that measures it here.

A topic file holds `CHECKS: tuple[Check, ...]`. Its measuring functions are told whether the run is the quick one and
return a `Measured`; functools.partial gives one function several checks. What is expected is data with its source,
what is measured is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum


class NotRun(Exception):
    """A check cannot be made here; the message says what is missing."""


class Verdict(Enum):
    """What came of a check."""

    OK = "ok"
    OUTSIDE = "outside"
    NOT_RUN = "not run"


class Sense(Enum):
    """On which sides of what is expected a measurement may lie, by `tolerance` at most."""

    EQUAL = "="
    AT_MOST = "<="
    AT_LEAST = ">="


@dataclass(frozen=True)
class Measured:
    """What a check has measured, in the unit of what is expected.

    `half_width_95` is of a statistical value; `note` is a line on what else the measurement has shown.
    """

    value: float
    half_width_95: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Check:
    """A number and where it is from; `tolerance` is absolute, and `quick_tolerance` that of the quick run.

    A check without `quick_tolerance` is left out of the quick run. `cost_s` is roughly what the full measurement takes:
    the dearest start first.
    """

    group: str
    name: str
    source: str  # paper or document, and where in it
    expected: float
    tolerance: float
    measure: Callable[[bool], Measured] = field(repr=False)  # told whether the run is quick
    sense: Sense = Sense.EQUAL
    quick_tolerance: float | None = None
    cost_s: float = 1.0

    def tolerance_of(self, quick: bool) -> float:
        """The one in force."""
        return self.quick_tolerance if quick and self.quick_tolerance is not None else self.tolerance

    def judge(self, measured: Measured, quick: bool, wall_s: float) -> Outcome:
        """What is measured against what is expected."""
        tolerance = self.tolerance_of(quick)
        away = measured.value - self.expected
        beyond = {Sense.EQUAL: abs(away), Sense.AT_MOST: away, Sense.AT_LEAST: -away}[self.sense]
        remarks = []
        if not beyond <= tolerance * (1 + 1e-12):  # nan is outside
            remarks.append(
                f"{_amount(away, self.expected)} from what is expected, allowed {_amount(tolerance, self.expected)}"
            )
        if measured.half_width_95 is not None and not measured.half_width_95 <= tolerance:
            remarks.append(f"half-width {_amount(measured.half_width_95, self.expected)} is wider than the tolerance")
        verdict = Verdict.OUTSIDE if remarks else Verdict.OK
        explanation = "; ".join([*remarks, *([measured.note] if measured.note else [])])
        return Outcome(self, verdict, measured, tolerance, explanation, wall_s)


@dataclass(frozen=True)
class Outcome:
    """A check, its verdict, and a line that explains it: why it is outside or was not run, what else was seen."""

    check: Check
    verdict: Verdict
    measured: Measured | None
    tolerance: float
    explanation: str
    wall_s: float


def _amount(value: float, expected: float) -> str:
    """A difference: as a share of what is expected where that is of any size, else as it is."""
    if expected and math.isfinite(value) and abs(expected) != 1:
        return f"{value / abs(expected):+.2%}" if value < 0 else f"{value / abs(expected):.2%}"
    return f"{value:.4g}"
