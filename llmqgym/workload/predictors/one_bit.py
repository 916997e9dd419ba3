"""OneBit: long or short, and wrong at times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from llmqgym.workload.predictors.predictor import Draws, Floats, Ints, Predictions, Predictor
from llmqgym.workload.workload import MAX_TOKENS


@dataclass(frozen=True)
class OneBit(Predictor):
    """Long from threshold tokens on, short below. The point is the least length the bit allows: 0 or threshold.

    `error` is the chance that the bit is flipped; `error_short` and `error_long`, where given, those of requests that
    are truly short and truly long.
    """

    name = "one_bit"
    threshold: float
    error: float = 0.0
    error_short: float | None = None
    error_long: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("threshold", 1, MAX_TOKENS)
        for setting in ("error", "error_short", "error_long"):
            if getattr(self, setting) is not None:
                self._check(setting, 0, 1)

    def classes(self, output_tokens: Ints, point: Floats) -> tuple[Ints, Ints]:
        """0 short, 1 long."""
        return (output_tokens >= self.threshold).astype(np.int64), (point >= self.threshold).astype(np.int64)

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        error_short, error_long = (
            self.error if given is None else given for given in (self.error_short, self.error_long)
        )
        long_mask = output_tokens >= self.threshold
        flipped_mask = draws.choice(len(output_tokens)) < np.where(long_mask, error_long, error_short)
        return Predictions.of(np.where(long_mask != flipped_mask, float(self.threshold), 0.0))
