"""Predictors: what the scheduler is told about output lengths. A new one is one function and one line of PREDICTORS."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from llmqgym.errors import InputError
from llmqgym.specs import build
from llmqgym.workload.generate import MAX_SIGMA, random_stream
from llmqgym.workload.workload import Workload

#: From true output lengths, int64 [R], and a random stream of its own to predicted ones, float64 [R]; nan: none.
Predictor = Callable[[NDArray[np.int64], np.random.Generator], NDArray[np.float64]]


def none() -> Predictor:
    """No prediction: nan for everybody."""
    return lambda output_tokens, stream: np.full(len(output_tokens), np.nan)


def perfect() -> Predictor:
    """The true length."""
    return lambda output_tokens, stream: output_tokens.astype(np.float64)


def lognormal(sigma: float = 1.0) -> Predictor:
    """The true length times exp(sigma N(0, 1)), unrounded: the median is right, the error multiplies.

    Raises InputError for a sigma that is not a number from 0 to 10.
    """
    if isinstance(sigma, bool) or not isinstance(sigma, (int, float)) or not math.isfinite(sigma):
        raise InputError(f"predictor 'lognormal': sigma is {sigma!r}: give a number from 0 to {MAX_SIGMA:g}.")
    if not 0 <= sigma <= MAX_SIGMA:
        raise InputError(f"predictor 'lognormal': sigma is {sigma}: it must be from 0 to {MAX_SIGMA:g}.")
    return lambda output_tokens, stream: np.exp(sigma * stream.standard_normal(len(output_tokens))) * output_tokens


PREDICTORS: dict[str, Callable[..., Predictor]] = {
    "none": none,
    "perfect": perfect,
    "lognormal": lognormal,
}


def apply_predictor(workload: Workload, spec: str, seed: int) -> Workload:
    """A new workload with the predictions of `spec`, NAME:k=v,..., in place of those it has.

    The stream depends on the seed alone: every policy, and every server, meets the same predictions. Raises
    InputError for an unknown name or setting.
    """
    predictor: Predictor = build("predictor", spec, PREDICTORS)
    requests = workload.requests.copy()
    requests["predicted_output_tokens"] = predictor(requests["output_tokens"], random_stream(seed, "predictions"))
    return dataclasses.replace(workload, requests=requests, source={**workload.source, "predictor": spec})
