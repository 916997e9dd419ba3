"""The slow, obvious twin of the formulas: sums over sizes first, by the law of Y given x, on plain grids.

It shares with llmqgym.theory the densities of X and the laws of R, and nothing else: no partial moments, no nodes of
R, no Gauss quadrature. Trapezoids in ln x and ln y; for predictions without a certain ratio.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from llmqgym.theory.laws import Law
from llmqgym.theory.predictions import Prediction

Floats = NDArray[np.float64]
STEP = 0.04


class Twin:
    """Tables over y [n] of one law and one prediction."""

    def __init__(self, law: Law, prediction: Prediction, cutoff: float = 1.0) -> None:
        cdf = prediction.ratio_cdf
        u = np.arange(np.log(law.support[0] + 1e-14), np.log(law.support[1]), STEP)
        x = np.exp(u)
        chance = law.pdf(x) * x * STEP
        self.y = np.exp(np.arange(u[0] - 12, u[-1] + 7, STEP))
        self.share, self.work, self.square, self.at_rank, self.recycled = np.zeros((5, self.y.size))
        ratios = np.exp(np.arange(-45.0, 45.0, STEP / 2))
        residual = CubicSpline(np.log(ratios), self.residual_second_moment(cdf, ratios, cutoff))
        for size, weight in zip(x, chance, strict=True):
            ratio = self.y / size
            short = cdf(ratio)
            self.share += weight * short
            self.work += weight * size * short
            self.square += weight * size**2 * short
            self.at_rank += weight * (cdf(self.last_ratio(ratio, cutoff)) - short)
            self.recycled += weight * size**2 * residual(np.log(ratio))

    @staticmethod
    def last_ratio(ratio: Floats, cutoff: float) -> Floats:
        """The largest R for which a job of size 1 still falls to rank `ratio` while preemptible."""
        with np.errstate(divide="ignore"):
            return np.minimum(1 + ratio, np.divide(ratio, 1 - cutoff) if cutoff < 1 else np.inf)

    @staticmethod
    def residual_second_moment(cdf: Callable[[Floats], Floats], ratio: Floats, cutoff: float) -> Floats:
        """E[((1 - min(R - q, cutoff R))^+)^2; R > q] for a job of size 1 and each q in `ratio`, as int 2w P(> w) dw."""
        nodes, weights = np.polynomial.legendre.leggauss(200)
        total = np.zeros_like(ratio)
        for w, dw in zip((1 + nodes) / 2, weights / 2, strict=True):
            most = np.maximum(ratio + 1 - w, (1 - w) / cutoff)
            total += dw * 2 * w * np.maximum(cdf(most) - cdf(ratio), 0.0)
        return total

    def mean(self, values: Floats) -> float:
        """E[h(Y)]: the sum of h over the steps of P(Y <= y)."""
        return float((values * self.density()).sum())

    def density(self) -> Floats:
        """P(Y in dy) [n]: the derivative of a spline through P(Y <= y), by ln y."""
        return CubicSpline(np.log(self.y), self.share).derivative()(np.log(self.y)) * STEP

    def spjf(self, load: float, second: float) -> float:
        """Reference 3.1."""
        return 1 + self.mean(load * second / 2 / (1 - load * self.work) ** 2)

    def pspjf(self, load: float) -> float:
        """Reference 3.2; E[X; Y in dy] is the derivative of E[X; Y <= y]."""
        slack = 1 - load * self.work
        step = CubicSpline(np.log(self.y), self.work).derivative()(np.log(self.y)) * STEP
        return self.mean(load * self.square / 2 / slack**2) + float((step / slack).sum())

    def remaining(self, load: float) -> float:
        """Reference 3.2, SPRPT and TRAIL: the age a is exchanged for the rank v = y - a."""
        slack = 1 - load * self.work
        wait = self.mean(load * (self.square + self.recycled) / 2 / slack**2)
        return 1 + wait + float((self.at_rank * (1 / slack - 1) * self.y * STEP).sum())
