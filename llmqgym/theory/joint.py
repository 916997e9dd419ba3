"""Joint: sizes X and predictions Y = R X together, as tables over the prediction that no load enters.

With R independent of X, E[X^n; Y <= y] = E_R[ E[X^n; X <= y / R] ]: one sum over the nodes of R for each node of ln y,
and no nested quadrature. The tables serve every load; the last few joints are kept. Means are right to 1e-7 where the
density of X is smooth, and to 1e-4 where it jumps.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from llmqgym.theory.laws import Law
from llmqgym.theory.predictions import Prediction
from llmqgym.theory.quadrature import Floats, log_edges, log_nodes

#: Widest panel of ln y; and the span of ln r from which it grows in proportion, for the tables are as smooth as R.
WIDTH, SPAN = 0.3, 70.0
#: It shrinks to this times the deviation of ln Y where that is small.
SHARE = 0.8
#: Widest panel of ln r, and in deviations of ln X.
RATIO_WIDTH, RATIO_SHARE = 0.5, 1.0
#: Largest block of (y, r) pairs worked on at a time.
BLOCK = 200_000
#: Intervals of x whose ends' ratio is below this are integrated over, not differenced: no digits cancel.
NARROW = 1.05
#: Joints that are kept.
KEPT = 32


class Remaining(NamedTuple):
    """What preemption by predicted remaining size, up to an age of cutoff * y, adds to the tables; each [n]."""

    #: P(a job passes rank v while preemptible) at each node v: the mean time it spends at rank dv, over dv.
    at_rank: Floats
    #: E[((X - min(Z - y, cutoff Z))^+)^2; Z > y]: recycled work, Z the prediction of X.
    recycled: Floats


@dataclass(frozen=True)
class Joint:
    """Tables of (X, Y) on nodes `y` [n] of the prediction, with an edge of the quadrature at each of `cuts`."""

    law: Law
    prediction: Prediction
    cuts: tuple[float, ...] = ()

    @cached_property
    def _nodes(self) -> tuple[Floats, Floats]:
        low, high = self.prediction.support
        x_low, x_high = self.law.support
        breaks = [x * ratio for x in self.law.breaks for ratio in self.prediction.edges]
        near = np.exp(self.law.spread * np.arange(-8, 8.1, 0.3)).tolist()  # Y is as steep as X where the ratio ends
        breaks += [edge * factor for edge in self.prediction.edges for factor in near if low < high]
        ratio, weight = self.prediction.nodes()
        ratio_spread = float(weight @ (np.log(ratio) - weight @ np.log(ratio)) ** 2) ** 0.5
        spread = math.hypot(self.law.spread, ratio_spread)
        width = WIDTH * min(max(1.0, math.log(high / low) / SPAN), SHARE * spread)
        return log_nodes(log_edges(low * x_low, high * x_high, width, (*breaks, *self.cuts)))

    @property
    def y(self) -> Floats:
        """Predictions [n], ascending."""
        return self._nodes[0]

    @property
    def dy(self) -> Floats:
        """Weights [n]: the integral of h over y is (h(y) * dy).sum()."""
        return self._nodes[1]

    @property
    def _ratio_width(self) -> float:
        return min(RATIO_WIDTH, RATIO_SHARE * self.law.spread)

    def moments(self, y: Floats) -> Floats:
        """E[X^k; Y <= y] [3, n] for k = 0, 1, 2: the share, work and second moment of the jobs predicted at most y."""
        result = np.empty((3, y.size))
        for part, ratio, weight in self._ratios(y):
            x = y[part, None] / ratio
            for order in range(3):
                result[order, part] = (self.law.partial_moment(order, x) * weight).sum(axis=1)
        return result

    @cached_property
    def below(self) -> Floats:
        """E[X^k; Y <= y] [3, n] at the nodes."""
        return self.moments(self.y)

    @cached_property
    def chance(self) -> Floats:
        """P(Y in dy) [n]: the density of Y at the nodes times dy."""
        density = np.empty(self.y.size)
        for part, ratio, weight in self._ratios(self.y):
            density[part] = (self.law.pdf(self.y[part, None] / ratio) * (weight / ratio)).sum(axis=1)
        return density * self.dy

    def _ratios(self, y: Floats) -> Iterator[tuple[slice, Floats, Floats]]:
        """Blocks of y [n], with nodes of R and weights: [1, m], or [n, m] where the law's density jumps."""
        ratio, weight = self.prediction.nodes(width=self._ratio_width)
        if not self.law.breaks or ratio.size == 1:
            for part in _blocks(y.size, ratio.size):
                yield part, ratio[None], weight[None]
            return
        for part in _blocks(y.size, ratio.size * (len(self.law.breaks) + 1)):
            yield part, *self.prediction.nodes_between(y[part, None] / np.array(self.law.breaks), self._ratio_width)

    def mean(self, values: Floats) -> float:
        """E[h(Y)] for values h [n] at the nodes."""
        return float(values @ self.chance)

    @cached_property
    def _remaining(self) -> dict[float, Remaining]:
        return {}

    def remaining(self, cutoff: float = 1.0) -> Remaining:
        """Tables of shortest predicted remaining time first, not preemptible from age cutoff * y on (0 to 1)."""
        if cutoff not in self._remaining:
            self._remaining[cutoff] = self._compute_remaining(cutoff)
        return self._remaining[cutoff]

    def _compute_remaining(self, cutoff: float) -> Remaining:
        """For a ratio r the rank falls from r X to s X, s = max(r - 1, (1 - cutoff) r), while the job is preemptible.

        So a job of size x passes rank v if x is between v / r and v / s, and leaves a residual of x - (r x - v) there;
        one that finished or turned non-preemptible above v leaves max(x - cutoff r x, 0).
        """
        ratio, weight = self.prediction.nodes([1.0, 1 / cutoff] if cutoff > 0 else [], self._ratio_width)
        last = np.maximum(np.maximum(ratio - 1, (1 - cutoff) * ratio), 0.0)
        narrow = ratio < NARROW * last
        at_rank, recycled = np.zeros(self.y.size), np.zeros(self.y.size)
        for mask, moments in ((narrow, self._integrals), (~narrow, self._differences)):
            r, w = ratio[mask], weight[mask]
            if not r.size:
                continue
            for part in _blocks(self.y.size, r.size):
                y = self.y[part, None]
                share, residual = moments(y, r, last[mask])
                at_rank[part] += share @ w
                recycled[part] += residual @ w
        recycled += self._kept_whole(ratio, weight, last, cutoff)
        return Remaining(at_rank, recycled)

    def _differences(self, y: Floats, ratio: Floats, last: Floats) -> tuple[Floats, Floats]:
        """P(X in I) and E[((1 - r) X + y)^2; X in I] [n, m], I = (y / r, y / last), from moments of the tail."""
        with np.errstate(divide="ignore"):
            high = y / last
        low = y / ratio
        share, work, square = (self.law.tail_moment(k, low) - self.law.tail_moment(k, high) for k in range(3))
        slope = 1 - ratio
        return share, slope**2 * square + 2 * y * slope * work + y**2 * share

    def _integrals(self, y: Floats, ratio: Floats, last: Floats) -> tuple[Floats, Floats]:
        """The same for a narrow I, by Gauss-Legendre in ln x."""
        share = np.zeros(np.broadcast_shapes(y.shape, ratio.shape))
        residual = np.zeros_like(share)
        half = np.log(ratio / last) / 2
        for node, node_weight in zip(*_FEW, strict=True):
            x = y * np.exp(half * (1 + node)) / ratio
            mass = self.law.pdf(x) * x * (half * node_weight)
            share += mass
            residual += mass * ((1 - ratio) * x + y) ** 2
        return share, residual

    def _kept_whole(self, ratio: Floats, weight: Floats, last: Floats, cutoff: float) -> Floats:
        """E[((1 - cutoff R) X)^2; X > y / last] [n], of the jobs that turn non-preemptible above rank y."""
        some = cutoff * ratio < 1
        r, w = ratio[some], weight[some] * (1 - cutoff * ratio[some]) ** 2
        result = np.zeros(self.y.size)
        for part in _blocks(self.y.size, max(r.size, 1)):
            with np.errstate(divide="ignore"):
                x = self.y[part, None] / last[some]
            result[part] = self.law.tail_moment(2, x) @ w
        return result


_FEW = np.polynomial.legendre.leggauss(4)


def _blocks(num_rows: int, num_columns: int) -> Iterator[slice]:
    step = max(1, BLOCK // num_columns)
    for start in range(0, num_rows, step):
        yield slice(start, start + step)


@lru_cache(maxsize=KEPT)
def joint_of(law: Law, prediction: Prediction, cuts: tuple[float, ...] = ()) -> Joint:
    """The joint of a law and a prediction, from the last few that were asked for."""
    return Joint(law, prediction, cuts)
