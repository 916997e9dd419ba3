"""Predictors whose error multiplies the true length x: lognormal, exponential, uniform, Student, contaminated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from llmqgym.workload.predictors.predictor import Draws, Floats, Ints, Predictions, Predictor
from llmqgym.workload.workload import MAX_TOKENS

MAX_SIGMA = 10.0
#: A bound on ln(prediction / truth), far from where exp overflows.
MAX_LOG_RATIO = 100.0


@dataclass(frozen=True)
class Lognormal(Predictor):
    """x exp(sigma N(0, 1)): the median is right, the error multiplies."""

    name = "lognormal"
    sigma: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("sigma", 0, MAX_SIGMA)

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        return Predictions.of(np.exp(self.sigma * draws.normal(len(output_tokens))) * output_tokens)


@dataclass(frozen=True)
class Exponential(Predictor):
    """Exponential with mean x: the model of queueing theory's tables."""

    name = "exponential"

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        return Predictions.of(draws.exponential(len(output_tokens)) * output_tokens)


@dataclass(frozen=True)
class Uniform(Predictor):
    """x U[1 - a, 1 + a]: the mean is right, the error is bounded."""

    name = "uniform"
    a: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("a", 0, 1)

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        return Predictions.of((1 - self.a + 2 * self.a * draws.uniform(len(output_tokens))) * output_tokens)


@dataclass(frozen=True)
class Student(Predictor):
    """x exp(scale t), t Student with df degrees of freedom, |ln ratio| cut at limit: another answer to the prompt."""

    name = "student"
    df: float = 1.98
    scale: float = 0.315
    limit: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("df", 0.1, 1e6)
        self._check("scale", 0, MAX_SIGMA)
        self._check("limit", 0, MAX_LOG_RATIO)

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        ratio = student_ratio(draws.uniform(len(output_tokens)), self.df, self.scale, self.limit)
        return Predictions.of(ratio * output_tokens)


@dataclass(frozen=True)
class Contaminated(Predictor):
    """x + N(offset, sd) tokens, but for a share of requests a wide error, as `student`: a leaky regressor."""

    name = "contaminated"
    share: float = 0.113
    offset_tokens: float = 7.4
    sd_tokens: float = 11.6
    df: float = 1.9
    scale: float = 0.5
    limit: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("share", 0, 1)
        self._check("offset_tokens", -MAX_TOKENS, MAX_TOKENS)
        self._check("sd_tokens", 0, MAX_TOKENS)
        self._check("df", 0.1, 1e6)
        self._check("scale", 0, MAX_SIGMA)
        self._check("limit", 0, MAX_LOG_RATIO)

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        num = len(output_tokens)
        near = output_tokens + self.offset_tokens + self.sd_tokens * draws.normal(num)
        wide = student_ratio(draws.uniform(num), self.df, self.scale, self.limit) * output_tokens
        return Predictions.of(np.where(draws.choice(num) < self.share, wide, near))


def student_ratio(uniform: Floats, df: float, scale: float, limit: float) -> Floats:
    """exp(scale t) [n] with t the Student quantile of `uniform` [n]; its logarithm is kept within +-limit."""
    quantile = stdtrit(df, np.maximum(uniform, 2.0**-54))  # at 0 it would be infinite
    ratio: Floats = np.exp(np.clip(scale * quantile, -limit, limit))
    return ratio
