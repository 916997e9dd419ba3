"""Predictor: what every predictor is: frozen settings, a rule from true to predicted lengths, a share without any."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from llmqgym.checks import check_real
from llmqgym.workload.generate import random_stream
from llmqgym.workload.workload import MAX_TOKENS

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: An hour for one prediction: beyond any predictor.
MAX_COST_S = 3600.0


@dataclass(frozen=True)
class Looks:
    """How the kernel refreshes predictions (kernel/tables.py: REFRESHING): every `every` tokens, over `bins` bins of
    `width` tokens, with an error of `scale` tokens and weights that fall off over `spread` tokens."""

    seed: int
    every: int
    bins: int
    width: float
    scale: float
    spread: float
    persistence: float


@dataclass(frozen=True, eq=False)
class Predictions:
    """What is said of n requests, each float64 [n], unrounded; nan: nothing."""

    point: Floats
    lower: Floats
    upper: Floats

    @classmethod
    def of(cls, point: Floats, lower: Floats | None = None, upper: Floats | None = None) -> Predictions:
        """Bounds left out are nan."""
        unknown = np.full(len(point), np.nan)
        return cls(point, unknown if lower is None else lower, unknown if upper is None else upper)

    def cleaned(self, missing_mask: NDArray[np.bool_] | None) -> Predictions:
        """The same within 0 and the longest request there can be, and nan where missing; None: nowhere."""
        columns = [np.minimum(np.maximum(values, 0.0), MAX_TOKENS) for values in (self.point, self.lower, self.upper)]
        if missing_mask is not None:
            columns = [np.where(missing_mask, np.nan, values) for values in columns]
        return Predictions(*columns)


class Draws:
    """The random numbers of a seed's predictions, in order of the requests.

    Each kind has a stream of its own and gives one number a request, so that predictions do not depend on how the
    requests are cut into chunks, and two predictors that use one kind err alike on the same requests.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    # A stream is made when it is first asked for. Its number, a child's of the first, is never given to another kind.

    @cached_property
    def _normal(self) -> np.random.Generator:
        return random_stream(self._seed, "predictions")

    @cached_property
    def _missing(self) -> np.random.Generator:
        return random_stream(self._seed, "predictions", 0)

    @cached_property
    def _uniform(self) -> np.random.Generator:
        return random_stream(self._seed, "predictions", 1)

    @cached_property
    def _exponential(self) -> np.random.Generator:
        return random_stream(self._seed, "predictions", 2)

    @cached_property
    def _choice(self) -> np.random.Generator:
        return random_stream(self._seed, "predictions", 3)

    @cached_property
    def _second_normal(self) -> np.random.Generator:
        return random_stream(self._seed, "predictions", 4)

    def normal(self, num: int) -> Floats:
        """N(0, 1)."""
        return self._normal.standard_normal(num)

    def second_normal(self, num: int) -> Floats:
        """N(0, 1), independent of the first."""
        return self._second_normal.standard_normal(num)

    def uniform(self, num: int) -> Floats:
        """Uniform in [0, 1)."""
        return self._uniform.random(num)

    def exponential(self, num: int) -> Floats:
        """Exponential with mean 1."""
        return self._exponential.standard_exponential(num)

    def choice(self, num: int) -> Floats:
        """Uniform in [0, 1), to choose among cases."""
        return self._choice.random(num)

    def missing(self, num: int) -> Floats:
        """Uniform in [0, 1): below the share without a prediction there is none."""
        return self._missing.random(num)


@dataclass(frozen=True)
class Predictor(ABC):
    """The settings that all predictors share. A family adds its own and says in `_predict` what it predicts.

    `missing` is the share of requests without a prediction. `cost_s` is the time that one prediction takes outside
    the server: it is recorded and reported, and delays nothing.
    """

    missing: float = field(default=0.0, kw_only=True)
    cost_s: float = field(default=0.0, kw_only=True)

    #: The name in specs and in errors.
    name: ClassVar[str]
    #: False where the point is a score that only orders requests.
    in_tokens: ClassVar[bool] = True
    #: Whether `prepare` is to be called with lengths of the trace before the first prediction.
    needs_reference: ClassVar[bool] = False

    #: A length law (workload/lengths.py) of outputs like those that it was made for: what a report is on by default.
    usual_lengths: ClassVar[str] = "lognormal:median=160,sigma=0.8,max=4096"

    def __post_init__(self) -> None:
        """Raises InputError for a setting out of its bounds."""
        self._check("missing", 0, 1)
        self._check("cost_s", 0, MAX_COST_S)

    def prepare(self, reference_tokens: Ints) -> Predictor:
        """This predictor fitted to the trace: `reference_tokens` [m], m >= 1, are true output lengths from it."""
        return self

    def predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        """The predictions of requests with these true lengths [n], the next n of `draws`."""
        said = self._predict(output_tokens, draws)
        if not self.missing:
            return said.cleaned(None)
        return said.cleaned(draws.missing(len(output_tokens)) < self.missing)

    def classes(self, output_tokens: Ints, point: Floats) -> tuple[Ints, Ints] | None:
        """The true and the predicted class of requests, each [n]; None where the predictor has no classes."""
        return None

    def looks(self, seed: int) -> Looks | None:
        """How predictions are refreshed while requests run; None: they are not."""
        return None

    @abstractmethod
    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        """As `predict`, for all requests."""

    def _check(self, setting: str, least: float, most: float) -> None:
        check_real(f"predictor {self.name!r}: {setting}", getattr(self, setting), least, most)
