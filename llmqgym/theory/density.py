"""Density: a law of job sizes known by its density alone, and a law thinned by a classifier."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.polynomial import legendre, polynomial
from scipy.interpolate import PPoly

from llmqgym.errors import InputError
from llmqgym.theory.laws import MIN_SPREAD, Law
from llmqgym.theory.predictions import Prediction
from llmqgym.theory.quadrature import NODES, ORDER, WEIGHTS, Floats, log_edges, log_nodes

#: Sizes that are looked at, in the density's own unit; and the panels of ln x there.
LOW, HIGH, WIDTH = 1e-24, 1e14, 0.1
#: What a density may integrate to, away from 1.
TOLERANCE = 1e-3


def _antiderivatives() -> Floats:
    """[8, 9]: what turns values at the nodes of a panel into the polynomial in t of their integral over [-1, t]."""
    rows = []
    for i in range(ORDER):
        series = [(2 * k + 1) / 2 * WEIGHTS[i] * legendre.Legendre.basis(k)(NODES[i]) for k in range(ORDER)]
        rows.append(legendre.leg2poly(legendre.legint(series, lbnd=-1)))
    return np.array(rows)


class TailMoments:
    """E[X^n; X > x] for n = 0, 1, 2 of a density, by panels of ln x: a polynomial of degree 8 in each."""

    def __init__(self, pdf: Callable[[Floats], Floats], edges: Floats) -> None:
        u = np.log(edges)
        x, dx = log_nodes(edges)
        mass = pdf(x) * dx
        self.low, self.high = float(u[0]), float(u[-1])
        self.mass = mass.reshape(-1, ORDER).sum(axis=1)
        self.totals = [float((mass * x**order).sum()) for order in range(3)]
        self._tables = [self._table(mass * x**order, u) for order in range(3)]

    @staticmethod
    def _table(mass: Floats, u: Floats) -> PPoly:
        panels = mass.reshape(-1, ORDER) / WEIGHTS  # per unit of t in (-1, 1)
        inside = panels @ _antiderivatives()  # [m, 9], powers of t
        shifted = np.zeros_like(inside)  # powers of s = t + 1
        for power in range(ORDER + 1):
            shifted[:, : power + 1] += inside[:, [power]] * polynomial.polypow([-1, 1], power)
        shifted[:, 0] = -np.cumsum(mass.reshape(-1, ORDER).sum(axis=1)[::-1])[::-1]
        scale = (2 / np.diff(u))[:, None] ** np.arange(ORDER + 1)
        return PPoly((-shifted * scale).T[::-1], u)

    def __call__(self, order: int, x: Floats) -> Floats:
        """E[X^order; X > x]."""
        values: Floats = self._tables[order](np.clip(np.log(x), self.low, self.high))
        return values


@dataclass(frozen=True)
class Density(Law):
    """A law given by its density, a function of arrays; it is scaled to mean 1.

    Give the points where the density jumps (in its own unit), a bounded support's ends among them. Raises InputError
    unless it integrates to 1 (within 0.1 %) with a finite second moment.

    >>> round(Density(lambda x: 1.0 * (x < 2), jumps=(2.0,)).second_moment, 6)
    Traceback (most recent call last):
    llmqgym.errors.InputError: the density integrates to 2, and it must to 1: scale it, or name its jumps.
    >>> round(Density(lambda x: 0.5 * (x < 2), jumps=(2.0,)).second_moment, 6)
    1.333333
    """

    density: Callable[[Floats], Floats]
    jumps: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        mass, mean, _ = self._table.totals
        if not abs(mass - 1) <= TOLERANCE:
            raise InputError(f"the density integrates to {mass:g}, and it must to 1: scale it, or name its jumps.")
        x, dx = log_nodes(np.geomspace(HIGH / 100, HIGH, 9))
        if float((self.density(x) * x**2 * dx).sum()) > 1e-6 * mean**2:
            raise InputError("the density's second moment is infinite, and no queue would be finite: cut its tail.")
        if self.spread < MIN_SPREAD:
            raise InputError(f"ln X has the deviation {self.spread:g}: give a density of {MIN_SPREAD:g} at least.")

    @cached_property
    def spread(self) -> float:
        """Standard deviation of ln X."""
        x, dx = log_nodes(log_edges(LOW, HIGH, WIDTH, self.jumps))
        mass = self.density(x) * dx / self._table.totals[0]
        variance = float(mass @ (np.log(x) - mass @ np.log(x)) ** 2)
        return math.sqrt(variance)

    @cached_property
    def _table(self) -> TailMoments:
        return TailMoments(self.density, log_edges(LOW, HIGH, WIDTH, self.jumps))

    @cached_property
    def mean(self) -> float:
        """The mean in the density's own unit."""
        mass, mean, _ = self._table.totals
        return mean / mass

    @property
    def breaks(self) -> tuple[float, ...]:  # type: ignore[override]
        """Where the density jumps, in units of the mean."""
        return tuple(jump / self.mean for jump in self.jumps)

    @property
    def second_moment(self) -> float:
        """E[X^2] over the squared mean."""
        mass, _, second = self._table.totals
        return second / mass / self.mean**2

    @cached_property
    def support(self) -> tuple[float, float]:
        """Panels beyond which lies 1e-12 of the probability on either side."""
        edges = log_edges(LOW, HIGH, WIDTH, self.jumps)
        below = np.cumsum(self._table.mass)
        first = int(np.searchsorted(below, 1e-12))
        above = np.cumsum(self._table.mass[::-1])
        last = len(edges) - 1 - int(np.searchsorted(above, 1e-12))
        return float(edges[first]) / self.mean, float(edges[last]) / self.mean

    def pdf(self, x: Floats) -> Floats:
        """The density of X over its mean."""
        return self.density(x * self.mean) * (self.mean / self._table.totals[0])

    def tail_moment(self, order: int, x: Floats) -> Floats:
        """E[X^order; X > x] of X over its mean."""
        return self._table(order, x * self.mean) / (self._table.totals[0] * self.mean**order)


@dataclass(frozen=True)
class Thinned(Law):
    """The jobs of a law whose prediction by `classifier` is above `threshold`: a part of the law, of mass below 1."""

    law: Law
    classifier: Prediction
    threshold: float

    @cached_property
    def _table(self) -> TailMoments:
        return TailMoments(self.pdf, log_edges(*self.law.support, WIDTH, self.breaks))

    @property
    def breaks(self) -> tuple[float, ...]:  # type: ignore[override]
        """Those of the law, and the sizes from which or up to which the class is certain."""
        return self.law.breaks + tuple(self.threshold / ratio for ratio in self.classifier.edges)

    @property
    def support(self) -> tuple[float, float]:
        """That of the law."""
        return self.law.support

    @property
    def spread(self) -> float:
        """That of the law."""
        return self.law.spread

    @property
    def second_moment(self) -> float:
        """E[X^2] of this part."""
        return self._table.totals[2]

    def moment(self, order: int) -> float:
        """E[X^order] of this part."""
        return self._table.totals[order]

    def pdf(self, x: Floats) -> Floats:
        """f(x) P(Y > threshold | x)."""
        return self.law.pdf(x) * (1 - self.classifier.cdf(np.asarray(self.threshold), x))

    def tail_moment(self, order: int, x: Floats) -> Floats:
        """E[X^order; X > x] in this part."""
        return self._table(order, x)
