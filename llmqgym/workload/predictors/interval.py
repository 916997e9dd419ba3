"""Interval: bounds that hold the truth and do not tell where in them it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmqgym.errors import InputError
from llmqgym.workload.predictors.predictor import Draws, Ints, Predictions, Predictor

MAX_FACTOR = 1e6


@dataclass(frozen=True)
class Interval(Predictor):
    """The truth x lies in [low c, high c] with c = x / U[low, high]; the point is the middle."""

    name = "interval"
    low: float = 0.5
    high: float = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("low", 1 / MAX_FACTOR, MAX_FACTOR)
        self._check("high", 1 / MAX_FACTOR, MAX_FACTOR)
        if self.low > self.high:
            raise InputError(
                f"predictor 'interval': low is {self.low:g}, above high, {self.high:g}: give low up to high."
            )

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        place = self.low + (self.high - self.low) * draws.uniform(len(output_tokens))
        centre = output_tokens / place
        # The truth at an end of its interval must not fall out of it by rounding.
        lower = np.minimum(self.low * centre, output_tokens)
        upper = np.maximum(self.high * centre, output_tokens)
        return Predictions.of((lower + upper) / 2, lower, upper)
