"""Bins: a class of output length, confused as a measured predictor confuses them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from llmqgym.errors import InputError
from llmqgym.workload.predictors.channel import Channel, read_channel
from llmqgym.workload.predictors.predictor import Draws, Floats, Ints, Predictions, Predictor
from llmqgym.workload.predictors.ssjf import SSJF


@dataclass(frozen=True)
class Bins(Predictor):
    """The mean true length of a predicted class, drawn from a confusion matrix: SSJF's, or that in a JSON file.

    `quantiles` puts the edges at the trace's quantiles and takes the trace's class means, for lengths unlike those
    the matrix was measured on. `within`, where given, stands in place of the channel's own.
    """

    name = "bins"
    needs_reference = True
    file: str = "ssjf"
    quantiles: bool = False
    within: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.quantiles, bool):
            raise InputError(f"predictor 'bins': quantiles is {self.quantiles!r}: give true or false.")
        if self.within is not None:
            self._check("within", -0.99, 0.99)
        _ = self.channel  # read and checked now, not at the first request

    @cached_property
    def channel(self) -> Channel:
        """The classes and their confusion, before any trace is known."""
        channel = SSJF if self.file == "ssjf" else read_channel(str(self.file))
        return channel if self.within is None else replace(channel, within=self.within)

    def prepare(self, reference_tokens: Ints) -> PreparedBins:
        """With the reference lengths that say which requests of a class are the longer ones."""
        channel = self.channel.scaled_to(reference_tokens) if self.quantiles else self.channel
        return PreparedBins(
            missing=self.missing, cost_s=self.cost_s, channel=channel, reference_tokens=np.sort(reference_tokens)
        )

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        return self.prepare(output_tokens)._predict(output_tokens, draws)


@dataclass(frozen=True, eq=False)
class PreparedBins(Predictor):
    """`bins` for a trace: the channel, and the sorted reference lengths [m]."""

    name = "bins"
    channel: Channel = field(kw_only=True)
    reference_tokens: Ints = field(kw_only=True)

    def classes(self, output_tokens: Ints, point: Floats) -> tuple[Ints, Ints]:
        """Class 0 holds the shortest; a point is of the class whose mean it is."""
        distances = np.abs(point[:, None] - np.array(self.channel.mean_tokens))
        return self.channel.true_class(output_tokens), distances.argmin(axis=1)

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        normal = draws.normal(len(output_tokens))
        predicted = self.channel.predicted_class(output_tokens, self.reference_tokens, normal)
        return Predictions.of(np.array(self.channel.mean_tokens)[predicted])
