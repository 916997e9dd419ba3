"""Laws of job sizes X with mean 1: exponential, Weibull, lognormal, and any law given by its density."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.special import gamma, gammaincc, ndtr

from llmqgym.checks import check_real
from llmqgym.specs import build
from llmqgym.theory.quadrature import Floats

#: ln of the probability that is left out at either end of a law's support.
LOG_TAIL = 27.5
#: The same in standard deviations of a normal.
NORMAL_TAIL = 7.0
#: An exponent that is taken for infinite.
MAX_POWER = 700.0
#: Least spread of a law: one that is nearly certain has no use for predictions, and would need too many nodes.
MIN_SPREAD = 0.05
#: Points of ln x between which a law that has nothing better is inverted.
SAMPLE_POINTS = 100_001


class Law(ABC):
    """A continuous law on (0, inf) with mean 1 and a finite second moment. Methods take and give arrays of any shape.

    `support` (low, high) holds all but 1e-12 of the probability; `breaks` are the points where the density jumps.
    """

    breaks: tuple[float, ...] = ()

    @abstractmethod
    def pdf(self, x: Floats) -> Floats:
        """Density at x > 0."""

    @abstractmethod
    def tail_moment(self, order: int, x: Floats) -> Floats:
        """E[X^order; X > x], order 0, 1 or 2, to full relative precision where x is large; x may be infinite."""

    @property
    @abstractmethod
    def second_moment(self) -> float:
        """E[X^2]."""

    @property
    @abstractmethod
    def support(self) -> tuple[float, float]:
        """Bounds of the sizes that matter, low > 0."""

    @property
    @abstractmethod
    def spread(self) -> float:
        """Standard deviation of ln X: the scale that quadrature must resolve, MIN_SPREAD and more."""

    def sf(self, x: Floats) -> Floats:
        """P(X > x)."""
        return self.tail_moment(0, x)

    def partial_moment(self, order: int, x: Floats) -> Floats:
        """E[X^order; X <= x]."""
        return self.moment(order) - self.tail_moment(order, x)

    def moment(self, order: int) -> float:
        """E[X^order], order 0, 1 or 2."""
        return (1.0, 1.0, self.second_moment)[order]

    def sample(self, num: int, rng: np.random.Generator) -> Floats:
        """Independent sizes [num], by inverting P(X > x) between points of ln x that are close to each other."""
        low, high = self.support
        points = np.linspace(math.log(low), math.log(high), SAMPLE_POINTS)
        tail = self.sf(np.exp(points)) / self.moment(0)
        sizes: Floats = np.exp(np.interp(rng.random(num), tail[::-1], points[::-1]))
        return sizes


@dataclass(frozen=True)
class Weibull(Law):
    """P(X > x) = exp(-(x / scale)^shape) with mean 1; shape 1 is exponential, below 1 the tail is heavy."""

    shape: float = 0.5

    def __post_init__(self) -> None:
        check_real("shape", self.shape, 0.2, 20)

    @property
    def scale(self) -> float:
        """1 / Gamma(1 + 1 / shape)."""
        return 1.0 / float(gamma(1 + 1 / self.shape))

    @property
    def spread(self) -> float:
        """That of a Gumbel law, over shape."""
        return math.pi / math.sqrt(6) / self.shape

    @property
    def second_moment(self) -> float:
        """E[X^2]: 2 for shape 1, 6 for shape 1/2."""
        return self.scale**2 * float(gamma(1 + 2 / self.shape))

    @property
    def support(self) -> tuple[float, float]:
        """Quantiles of 1e-12 and 1 - 1e-12."""
        return (
            self.scale * math.exp(-LOG_TAIL / self.shape),
            self.scale * LOG_TAIL ** (1 / self.shape),
        )

    def sample(self, num: int, rng: np.random.Generator) -> Floats:
        """Powers of exponential variables."""
        sizes: Floats = self.scale * rng.standard_exponential(num) ** (1 / self.shape)
        return sizes

    def _power(self, x: Floats) -> Floats:
        """(x / scale)^shape, cut where its exponential is nothing."""
        power: Floats = np.minimum(x / self.scale, MAX_POWER ** (1 / self.shape)) ** self.shape
        return power

    def pdf(self, x: Floats) -> Floats:
        """shape / x (x / scale)^shape exp(-(x / scale)^shape)."""
        power = self._power(x)
        values: Floats = self.shape * power / x * np.exp(-power)
        return values

    def tail_moment(self, order: int, x: Floats) -> Floats:
        """E[X^order] times the regularised upper gamma function of 1 + order / shape."""
        values: Floats = self.moment(order) * gammaincc(1 + order / self.shape, self._power(x))
        return values


@dataclass(frozen=True)
class Lognormal(Law):
    """X = exp(sigma N(0, 1) - sigma^2 / 2)."""

    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_real("sigma", self.sigma, MIN_SPREAD, 4)

    @property
    def spread(self) -> float:
        """sigma."""
        return self.sigma

    @property
    def second_moment(self) -> float:
        """exp(sigma^2)."""
        return math.exp(self.sigma**2)

    @property
    def support(self) -> tuple[float, float]:
        """Below 7 standard deviations, and above 7 as E[X^2; X > x] counts them."""
        low = -NORMAL_TAIL * self.sigma - self.sigma**2 / 2
        return math.exp(low), math.exp(NORMAL_TAIL * self.sigma + 1.5 * self.sigma**2)

    def sample(self, num: int, rng: np.random.Generator) -> Floats:
        """Exponentials of normal variables."""
        sizes: Floats = np.exp(self.sigma * rng.standard_normal(num) - self.sigma**2 / 2)
        return sizes

    def _standard(self, x: Floats) -> Floats:
        values: Floats = (np.log(x) + self.sigma**2 / 2) / self.sigma
        return values

    def pdf(self, x: Floats) -> Floats:
        """Normal density of the standardised logarithm, over sigma x."""
        values: Floats = np.exp(-(self._standard(x) ** 2) / 2) / (x * self.sigma * math.sqrt(2 * math.pi))
        return values

    def tail_moment(self, order: int, x: Floats) -> Floats:
        """E[X^order] times the normal tail of the standardised logarithm less order sigma."""
        values: Floats = self.moment(order) * ndtr(order * self.sigma - self._standard(x))
        return values


def exponential() -> Weibull:
    """The law of M/M/1: P(X > x) = exp(-x)."""
    return Weibull(1.0)


#: Laws by name; a law that has only a density is made by `llmqgym.theory.density.Density`.
LAWS: Mapping[str, Callable[..., Law]] = {"exponential": exponential, "weibull": Weibull, "lognormal": Lognormal}


def make_law(spec: str) -> Law:
    """The law of a spec, NAME:k=v,..; raises InputError for an unknown name or setting, or a value out of bounds.

    >>> make_law("weibull:shape=0.5").second_moment
    6.0
    """
    return cast(Law, build("law", spec, LAWS))
