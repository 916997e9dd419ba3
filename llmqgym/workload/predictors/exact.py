"""Predictors without chance: none, the truth, a multiple of the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmqgym.workload.predictors.predictor import Draws, Ints, Predictions, Predictor

MAX_FACTOR = 1e6


@dataclass(frozen=True)
class NoPrediction(Predictor):
    """No prediction: nan for everybody."""

    name = "none"

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        return Predictions.of(np.full(len(output_tokens), np.nan))


@dataclass(frozen=True)
class Perfect(Predictor):
    """The true length."""

    name = "perfect"

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        return Predictions.of(output_tokens.astype(np.float64))


@dataclass(frozen=True)
class Bias(Predictor):
    """k times the true length: the order is right, the amount is not."""

    name = "bias"
    k: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("k", 0, MAX_FACTOR)

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        return Predictions.of(self.k * output_tokens.astype(np.float64))
