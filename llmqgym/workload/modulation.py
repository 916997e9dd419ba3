"""Modulations: how the arrival rate varies, as pieces of constant rate with mean 1. A new one is one function and one
line of MODULATIONS."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle

import numpy as np

from llmqgym.checks import check_real, read_numbers
from llmqgym.specs import build

#: Pieces (length in ns, rate relative to the mean), without end.
Pieces = Iterator[tuple[int, float]]
Modulation = Callable[[np.random.Generator], Pieces]

NS_PER_S = 10**9
_MIN_PERIOD_S, _MAX_PERIOD_S = 0.1, 1e8
_MOST_AHEAD = 4096
#: Requests an hour of the day over the mean: ServeGen's m-small, a language model, over 14 days (arXiv 2505.09999).
SERVEGEN_DAY = (
    0.839, 0.714, 0.733, 0.676, 0.714, 0.66, 0.684, 0.855, 1.015, 1.054, 1.125, 1.093,
    1.06, 1.073, 1.06, 1.047, 1.091, 1.079, 1.007, 1.229, 1.456, 1.402, 1.27, 1.063,
)  # fmt: skip


def make_modulation(spec: str) -> Modulation:
    """The modulation that a spec names. Raises InputError for an unknown name or setting, or a value out of bounds."""
    modulation: Modulation = build("modulation", spec, MODULATIONS)
    return modulation


def log_ar1(sd: float, phi: float, period_s: float = 60.0) -> Modulation:
    """exp of a stationary AR(1) with standard deviation `sd` and autocorrelation `phi` from period to period."""
    check_real("log_ar1: sd", sd, 0.0, 5.0)
    check_real("log_ar1: phi", phi, 0.0, 0.999999)
    length = round(check_real("log_ar1: period_s", period_s, _MIN_PERIOD_S, _MAX_PERIOD_S) * NS_PER_S)

    def pieces(rng: np.random.Generator) -> Pieces:
        level = sd * rng.standard_normal()
        while True:
            yield length, math.exp(level - sd * sd / 2)
            level = phi * level + sd * math.sqrt(1 - phi * phi) * rng.standard_normal()

    return pieces


def on_off(on_s: float, off_s: float, off_rate: float = 0.0) -> Modulation:
    """Bursts of exponential length with mean `on_s`, pauses with mean `off_s` in which the rate is `off_rate` times
    that of a burst."""
    means = tuple(
        check_real(f"on_off: {name}", value, _MIN_PERIOD_S, _MAX_PERIOD_S)
        for name, value in (("on_s", on_s), ("off_s", off_s))
    )
    check_real("on_off: off_rate", off_rate, 0.0, 1.0)
    share_on = means[0] / sum(means)
    rate_on = 1 / (share_on + (1 - share_on) * off_rate)
    rates = (rate_on, rate_on * off_rate)

    def pieces(rng: np.random.Generator) -> Pieces:
        state = int(rng.random() >= share_on)
        while True:
            yield max(round(means[state] * rng.standard_exponential() * NS_PER_S), 1), rates[state]
            state = 1 - state

    return pieces


def diurnal(factors: str = "", period_s: float = 86_400.0) -> Modulation:
    """A day that repeats: `factors` are the rates of its equal parts, numbers separated by slashes, normed to mean 1.

    Left out, they are ServeGen's hours of the day.
    """
    given = read_numbers("diurnal: factors", factors, 0.0, 1e6) if factors != "" else SERVEGEN_DAY
    mean = check_real("diurnal: the mean of factors", sum(given) / len(given), 1e-9, 1e6)
    period = check_real("diurnal: period_s", period_s, _MIN_PERIOD_S * len(given), _MAX_PERIOD_S)
    length = round(period / len(given) * NS_PER_S)
    return lambda rng: ((length, factor / mean) for factor in cycle(given))


MODULATIONS: dict[str, Callable[..., Modulation]] = {"log_ar1": log_ar1, "on_off": on_off, "diurnal": diurnal}


def product(modulations: Iterable[Pieces]) -> Pieces:
    """All at once: pieces cut where any of them changes, rates multiplied."""
    streams = list(modulations)
    current = [next(stream) for stream in streams]
    while True:
        length = min(left for left, _ in current)
        yield length, math.prod(rate for _, rate in current)
        current = [
            (left - length, rate) if left > length else next(stream)
            for stream, (left, rate) in zip(streams, current, strict=True)
        ]


class RateClock:
    """Where operational time, in which requests come at rate 1, lies in real time: a renewal process run through it
    has the modulated rate."""

    def __init__(self, rate_per_s: float, pieces: Pieces) -> None:
        self._rate_per_ns = rate_per_s / NS_PER_S
        self._pieces = pieces
        self._starts_ns, self._rates = np.zeros(1), np.zeros(0)
        self._reached = np.zeros(1)  # requests expected by each start
        self._ahead = 16  # pieces that are looked up at a time, more and more of them

    def times_ns(self, expected: np.ndarray) -> np.ndarray:
        """Real times float64 [n], in ns, at which so many requests are expected (rising, from call to call too)."""
        self._look_ahead(expected[0], expected[-1])
        piece = np.searchsorted(self._reached, expected, side="right") - 1
        piece = np.minimum(piece, len(self._rates) - 1)
        times = self._starts_ns[piece] + (expected - self._reached[piece]) / self._rates[piece]
        return np.asarray(np.minimum(times, self._starts_ns[piece + 1]))

    def _look_ahead(self, first: float, last: float) -> None:
        done = max(int(np.searchsorted(self._reached, first, side="right")) - 1, 0)
        starts, reached, rates = [self._starts_ns[done:]], [self._reached[done:]], [self._rates[done:]]
        while self._reached[-1] <= last:
            block = [next(self._pieces) for _ in range(self._ahead)]
            self._ahead = min(2 * self._ahead, _MOST_AHEAD)
            lengths, relative = np.array([n for n, _ in block], np.float64), np.array([rate for _, rate in block])
            rate = relative * self._rate_per_ns
            # Sums that run on from the last value: the same whatever has been asked for before.
            self._starts_ns = np.cumsum(np.concatenate([self._starts_ns[-1:], lengths]))
            self._reached = np.cumsum(np.concatenate([self._reached[-1:], lengths * rate]))
            starts.append(self._starts_ns[1:])
            reached.append(self._reached[1:])
            rates.append(rate)
        self._starts_ns, self._reached = np.concatenate(starts), np.concatenate(reached)
        self._rates = np.concatenate(rates)
