"""Refreshing: TRAIL's predictor, which looks again every few tokens (arXiv 2410.01035); the kernel does the looking."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmqgym.checks import check_count
from llmqgym.kernel.refreshing import MEAN_PRODUCT
from llmqgym.kernel.tables import MAX_BINS
from llmqgym.workload.predictors.predictor import Draws, Ints, Looks, Predictions, Predictor

MAX_ERROR_TOKENS = 1e6
MAX_EVERY = 10**6
#: An error that would carry an estimate below 0 or beyond the last bin stops there: errors are drawn larger than what
#: is asked for. On TRAIL's lengths (Alpaca, answers of at most 512 tokens) these factors give what is asked for.
_CUT_AT_FIRST, _CUT_LATER = 1.22, 1.16


@dataclass(frozen=True)
class Refreshing(Predictor):
    """A first estimate from the prompt, and a new one of what remains every `every` generated tokens.

    The posterior over `bins` equal bins from 0 to `max` tokens follows TRAIL; the classifier behind it points at the
    truth with an error of `mae` tokens on average, the first estimate with one of `initial_mae`: by default those that
    TRAIL reports. `persistence` is the probability that the classifier errs as it always does with this request: 0
    makes its looks independent, so that they average out.
    """

    name = "refreshing"
    # Alpaca's answers by Vicuna-7B (Sequence-Scheduling), fitted.
    usual_lengths = "lognormal_mixture:weights=0.3188/0.6812,mu=3.1203/4.973,sigma=0.6496/0.6037,max=512"
    every: int = 8
    initial_mae: float = 46.1
    mae: float = 33.9
    persistence: float = 0.95
    bins: int = 10
    max: float = 512.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for setting, least, most in (("every", 1, MAX_EVERY), ("bins", 2, MAX_BINS)):
            check_count(f"predictor {self.name!r}: {setting}", getattr(self, setting), most, least)
        self._check("initial_mae", 0, MAX_ERROR_TOKENS)
        self._check("mae", 0, MAX_ERROR_TOKENS)
        self._check("persistence", 0, 1)
        self._check("max", self.bins, MAX_ERROR_TOKENS)

    def looks(self, seed: int) -> Looks:
        """What the kernel needs to know."""
        width = self.max / self.bins
        return Looks(
            seed=seed, every=self.every, bins=self.bins, width=width,
            scale=_CUT_LATER * self.mae / MEAN_PRODUCT, spread=width / 2, persistence=float(self.persistence),
        )  # fmt: skip

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        """The first estimates, with the same heavy-tailed errors as the kernel's."""
        num = len(output_tokens)
        product = draws.normal(num) * draws.second_normal(num) * (np.pi / 2)
        return Predictions.of(np.clip(output_tokens + _CUT_AT_FIRST * self.initial_mae * product, 0.0, self.max))
