"""Length laws: how many tokens prompts and outputs have. A new law is one function and one line of LENGTH_LAWS.

A law turns standard normal scores into tokens by its quantile function, so that a prompt and its output can be drawn
together: correlated scores make a Gaussian copula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtr

from llmqgym.checks import check_count, check_real, check_shares, read_numbers
from llmqgym.errors import InputError
from llmqgym.specs import build
from llmqgym.workload.streams import random_stream
from llmqgym.workload.workload import MAX_TOKENS

Floats = NDArray[np.float64]

MAX_SIGMA = 10.0
#: Scores at which the quantiles of a law without a closed form are tabled: finely enough for 1e-5 in a quantile.
_FAR, _PER_UNIT = 8.5, 500
_SCORES = np.linspace(-_FAR, _FAR, round(2 * _FAR * _PER_UNIT) + 1)


@dataclass(frozen=True, eq=False)
class LengthLaw:
    """A law of lengths: `quantile` maps standard normal scores float64 [n] to tokens, before rounding."""

    quantile: Callable[[Floats], Floats]
    max_tokens: int

    def tokens(self, scores: Floats) -> NDArray[np.int64]:
        """Lengths [n] for standard normal scores [n]: rounded half to even, kept within 1 and the law's maximum."""
        return np.clip(np.rint(self.quantile(scores)), 1, self.max_tokens).astype(np.int64)


def make_length_law(spec: str) -> LengthLaw:
    """The law that a spec names, NAME:k=v,...

    Raises InputError for an unknown name or setting, or a value out of its bounds.

    >>> make_length_law("lognormal:median=600,sigma=1").tokens(np.array([0.0, 1.0]))
    array([ 600, 1631])
    """
    law: LengthLaw = build("length law", spec, LENGTH_LAWS)
    return law


def draw_outputs(spec: str, num: int, seed: int) -> NDArray[np.int64]:
    """Output lengths [num] of a law, from the stream that a generated workload of this seed would use."""
    return make_length_law(spec).tokens(random_stream(seed, "output_lengths").standard_normal(num))


def constant(tokens: int) -> LengthLaw:
    """Identical lengths."""
    most = check_count("constant: tokens", tokens, MAX_TOKENS)
    return LengthLaw(lambda scores: np.full(len(scores), float(most)), most)


def lognormal(median: float, sigma: float, max: int = MAX_TOKENS) -> LengthLaw:
    """median * exp(sigma N(0, 1))."""
    check_real("lognormal: median", median, 1.0, MAX_TOKENS)
    check_real("lognormal: sigma", sigma, 0.0, MAX_SIGMA)
    return LengthLaw(lambda scores: median * np.exp(sigma * scores), check_count("lognormal: max", max, MAX_TOKENS))


def lognormal_mixture(weights: str, mu: str, sigma: str, max: int = MAX_TOKENS) -> LengthLaw:
    """Lognormals mixed by weight; `mu` and `sigma` are of ln(tokens), numbers separated by slashes."""
    shares = check_shares("lognormal_mixture: weights", read_numbers("lognormal_mixture: weights", weights, 0.0, 1e9))
    means = read_numbers("lognormal_mixture: mu", mu, -20.0, 20.0)
    widths = read_numbers("lognormal_mixture: sigma", sigma, 1e-6, MAX_SIGMA)
    if not len(shares) == len(means) == len(widths):
        raise InputError(
            f"lognormal_mixture: {len(shares)} weights, {len(means)} mu, {len(widths)} sigma: give as many of each."
        )
    most = check_count("lognormal_mixture: max", max, MAX_TOKENS)
    return LengthLaw(lambda scores: np.exp(_between(scores, _mixture_quantiles(shares, means, widths))), most)


def weibull(shape: float, scale: float, max: int = MAX_TOKENS) -> LengthLaw:
    """Survival exp(-(x / scale)^shape)."""
    check_real("weibull: shape", shape, 0.05, 100.0)
    check_real("weibull: scale", scale, 1e-3, MAX_TOKENS)
    most = check_count("weibull: max", max, MAX_TOKENS)
    return LengthLaw(lambda scores: scale * (-log_ndtr(-scores)) ** (1 / shape), most)


def quantiles(levels: str, tokens: str, max: int) -> LengthLaw:
    """A table of quantiles, e.g. levels=0.5/0.9, tokens=8/43; between them ln(tokens) is linear in the level, from 1
    token at level 0 to `max` at level 1."""
    most = check_count("quantiles: max", max, MAX_TOKENS)
    at = (0.0, *read_numbers("quantiles: levels", levels, 0.0, 1.0), 1.0)
    values = (1.0, *read_numbers("quantiles: tokens", tokens, 1.0, MAX_TOKENS), float(most))
    if len(at) != len(values):
        raise InputError(f"quantiles: {len(at) - 2} levels, {len(values) - 2} tokens: give as many of each.")
    if np.diff(at).min() <= 0 or np.diff(values).min() < 0:
        raise InputError(f"quantiles: levels {levels} and tokens {tokens} must rise, to max {max}: sort them.")
    logs = np.log(values)
    return LengthLaw(lambda scores: np.exp(np.interp(ndtr(scores), at, logs)), most)


def empirical(trace: str, column: str) -> LengthLaw:
    """The lengths of a trace file, drawn with replacement; `column` is prompt or output."""
    from llmqgym.workload.traces.open import read_lengths

    columns = dict(zip(("prompt", "output"), read_lengths(trace), strict=True))
    if column not in columns:
        raise InputError(f"empirical: column is {column!r}: give prompt or output.")
    ordered = np.sort(columns[column])
    last = len(ordered) - 1
    return LengthLaw(
        lambda scores: ordered[np.minimum((ndtr(scores) * len(ordered)).astype(np.int64), last)].astype(np.float64),
        check_count("empirical: the longest", int(ordered[-1]), MAX_TOKENS),
    )


LENGTH_LAWS: dict[str, Callable[..., LengthLaw]] = {
    "constant": constant,
    "lognormal": lognormal,
    "lognormal_mixture": lognormal_mixture,
    "weibull": weibull,
    "quantiles": quantiles,
    "empirical": empirical,
}


def _between(scores: Floats, table: Floats) -> Floats:
    """Linear interpolation in a table at _SCORES; np.interp would search for what can be computed."""
    place = np.clip((scores + _FAR) * _PER_UNIT, 0, len(table) - 1.001)
    below = place.astype(np.int64)
    return np.asarray(table[below] + (place - below) * (table[below + 1] - table[below]))


@cache
def _mixture_quantiles(shares: tuple[float, ...], means: tuple[float, ...], widths: tuple[float, ...]) -> Floats:
    """ln(tokens) at each of _SCORES: where the mixture's distribution function meets the normal one; by bisection,
    on the survival function above the median, where the distribution function is too close to 1."""
    weight, mean, width = np.array(shares), np.array(means), np.array(widths)
    low = np.full(len(_SCORES), float((mean - 10 * width).min()))
    high = np.full(len(_SCORES), float((mean + 10 * width).max()))
    upper = _SCORES > 0
    target = ndtr(-np.abs(_SCORES))
    for _ in range(80):
        middle = (low + high) / 2
        scores = (middle[:, None] - mean) / width
        tail = (weight * ndtr(np.where(upper[:, None], -scores, scores))).sum(axis=1)
        above = np.where(upper, tail < target, tail > target)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.asarray((low + high) / 2)
