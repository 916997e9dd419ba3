"""Predictions Y = R X of theory: the ratio R is independent of the size X, with the laws of the workload's predictors.

So the joint law g(x, y) of Mitzenmacher & Shahout (arXiv 2503.07545) is P(Y <= y | X = x) = P(R <= y / x), and every
integral over it is one over R of the partial moments of X.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np
from scipy.special import ndtr

from llmqgym.checks import check_real
from llmqgym.specs import build
from llmqgym.theory.laws import LOG_TAIL, NORMAL_TAIL
from llmqgym.theory.quadrature import Floats, log_edges, log_nodes

#: Widest panel of ln r, unless told.
WIDTH = 0.5
#: Panels shrink towards a break of the integrand by halves, so many times.
GRADES = 8


class Prediction(ABC):
    """The law of the ratio R = Y / X. Methods take and give arrays of any shape."""

    @property
    @abstractmethod
    def support(self) -> tuple[float, float]:
        """Bounds of the ratios that matter; equal where R is certain."""

    @abstractmethod
    def ratio_pdf(self, ratio: Floats) -> Floats:
        """Density of R; not for a certain ratio."""

    @abstractmethod
    def ratio_cdf(self, ratio: Floats) -> Floats:
        """P(R <= ratio)."""

    @abstractmethod
    def sample(self, x: Floats, rng: np.random.Generator) -> Floats:
        """A prediction [n] for each of the sizes [n]."""

    @property
    def edges(self) -> tuple[float, ...]:
        """Ratios at which the density of R jumps, or where R sits."""
        return ()

    def cdf(self, y: Floats, x: Floats) -> Floats:
        """P(Y <= y | X = x)."""
        return self.ratio_cdf(y / x)

    def pdf(self, y: Floats, x: Floats) -> Floats:
        """Density of Y at y given X = x; not for a certain ratio."""
        return self.ratio_pdf(y / x) / x

    def nodes(self, breaks: Iterable[float] = (), width: float = WIDTH) -> tuple[Floats, Floats]:
        """Ratios [n] and their weights [n], of sum 1, on panels of ln r of at most `width`.

        Panels shrink towards the `breaks` of the integrand.
        """
        low, high = self.support
        if low == high:
            return np.array([low]), np.ones(1)
        graded = [point * (1 + sign * 0.5**k) for point in breaks for k in range(1, GRADES) for sign in (-1, 0, 1)]
        ratio, dr = log_nodes(log_edges(low, high, width, graded))
        weight = self.ratio_pdf(ratio) * dr
        return ratio, weight / weight.sum()

    def nodes_between(self, breaks: Floats, width: float = WIDTH) -> tuple[Floats, Floats]:
        """Ratios [n, m] and weights [n, m] for n integrands, each with breaks [n, k]; not for a certain ratio."""
        low, high = self.support
        unit, du = log_nodes(log_edges(low, high, width))
        share = np.log(unit / low) / math.log(high / low)
        inside = np.sort(np.clip(breaks, low, high), axis=1)
        ends = np.log(np.concatenate([np.full_like(inside[:, :1], low), inside, np.full_like(inside[:, :1], high)], 1))
        span = np.diff(ends, axis=1)[:, :, None]
        ratio = np.clip(np.exp(ends[:, :-1, None] + span * share), low, high).reshape(len(breaks), -1)
        weight = self.ratio_pdf(ratio) * ratio * (span * (du / unit)).reshape(len(breaks), -1)
        return ratio, weight / weight.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Bias(Prediction):
    """k x: the order is right, the amount is not."""

    k: float = 1.0

    def __post_init__(self) -> None:
        check_real("k", self.k, 1e-6, 1e6)

    @property
    def support(self) -> tuple[float, float]:
        """k alone."""
        return self.k, self.k

    @property
    def edges(self) -> tuple[float, ...]:
        """k."""
        return (self.k,)

    def ratio_pdf(self, ratio: Floats) -> Floats:
        """None: R is certain."""
        raise NotImplementedError("a certain ratio has no density")

    def ratio_cdf(self, ratio: Floats) -> Floats:
        """Whether ratio >= k."""
        return np.asarray(ratio >= self.k, np.float64)

    def sample(self, x: Floats, rng: np.random.Generator) -> Floats:
        """k x."""
        return self.k * x


@dataclass(frozen=True)
class Exponential(Prediction):
    """Exponential with mean x: the model of the tables of the theory."""

    @property
    def support(self) -> tuple[float, float]:
        """Quantiles of 1e-12 and 1 - 1e-12."""
        return math.exp(-LOG_TAIL), LOG_TAIL

    def ratio_pdf(self, ratio: Floats) -> Floats:
        """exp(-r)."""
        values: Floats = np.exp(-ratio)
        return values

    def ratio_cdf(self, ratio: Floats) -> Floats:
        """1 - exp(-r)."""
        values: Floats = -np.expm1(-ratio)
        return values

    def sample(self, x: Floats, rng: np.random.Generator) -> Floats:
        """Exponential with mean x."""
        return rng.exponential(x)


@dataclass(frozen=True)
class Uniform(Prediction):
    """x U[1 - a, 1 + a]."""

    a: float = 0.5

    def __post_init__(self) -> None:
        check_real("a", self.a, 1e-3, 1)

    @property
    def support(self) -> tuple[float, float]:
        """1 - a (above 0) and 1 + a."""
        return max(1 - self.a, math.exp(-LOG_TAIL)), 1 + self.a

    @property
    def edges(self) -> tuple[float, ...]:
        """Both ends."""
        return self.support

    def ratio_pdf(self, ratio: Floats) -> Floats:
        """1 / (2 a) between the ends."""
        return np.where(abs(ratio - 1) <= self.a, 0.5 / self.a, 0.0)

    def ratio_cdf(self, ratio: Floats) -> Floats:
        """Linear between the ends."""
        return np.clip((ratio - 1 + self.a) / (2 * self.a), 0.0, 1.0)

    def sample(self, x: Floats, rng: np.random.Generator) -> Floats:
        """x times a uniform ratio."""
        return x * rng.uniform(1 - self.a, 1 + self.a, x.shape)


@dataclass(frozen=True)
class Lognormal(Prediction):
    """x exp(sigma N(0, 1)): the median is right."""

    sigma: float = 1.0

    def __post_init__(self) -> None:
        check_real("sigma", self.sigma, 1e-3, 10)

    @property
    def support(self) -> tuple[float, float]:
        """Seven standard deviations either way."""
        return math.exp(-NORMAL_TAIL * self.sigma), math.exp(NORMAL_TAIL * self.sigma)

    def ratio_pdf(self, ratio: Floats) -> Floats:
        """Normal density of ln r / sigma, over sigma r."""
        standard = np.log(ratio) / self.sigma
        values: Floats = np.exp(-(standard**2) / 2) / (ratio * self.sigma * math.sqrt(2 * math.pi))
        return values

    def ratio_cdf(self, ratio: Floats) -> Floats:
        """Normal law of ln r / sigma."""
        values: Floats = ndtr(np.log(ratio) / self.sigma)
        return values

    def sample(self, x: Floats, rng: np.random.Generator) -> Floats:
        """x times a lognormal ratio."""
        return x * np.exp(self.sigma * rng.standard_normal(x.shape))


#: What is known when the truth is.
PERFECT = Bias(1.0)


def perfect() -> Bias:
    """The true size."""
    return PERFECT


def lognormal(sigma: float = 1.0) -> Prediction:
    """Lognormal noise; the truth for sigma 0."""
    return PERFECT if sigma == 0 else Lognormal(sigma)


def uniform(a: float = 0.5) -> Prediction:
    """Uniform noise; the truth for a 0."""
    return PERFECT if a == 0 else Uniform(a)


#: Predictions by the names of the workload's predictors.
PREDICTIONS: Mapping[str, Callable[..., Prediction]] = {
    "perfect": perfect,
    "bias": Bias,
    "lognormal": lognormal,
    "exponential": Exponential,
    "uniform": uniform,
}


def make_prediction(spec: str) -> Prediction:
    """The prediction of a spec, NAME:k=v,..; raises InputError for an unknown name or setting, or one out of bounds.

    >>> make_prediction("lognormal:sigma=0.5")
    Lognormal(sigma=0.5)
    """
    return cast(Prediction, build("predictor", spec, PREDICTIONS))
