"""Arrival processes: when requests come. A new renewal law is one function and one line of GAP_LAWS; how the rate
varies besides is `modulation.py`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import gamma as gamma_function

from llmqgym.checks import check_count, check_real, check_shares, read_numbers
from llmqgym.errors import InputError
from llmqgym.specs import build, parse_spec
from llmqgym.workload.modulation import NS_PER_S, Modulation, Pieces, RateClock, log_ar1, product
from llmqgym.workload.streams import random_stream

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GapLaw:
    """Gaps with mean 1 between requests: `draw` gives n of them, float64 [n].

    `draw_long` gives one as seen from a random moment, by which longer gaps are met more often: density x f(x).
    """

    draw: Callable[[np.random.Generator, int], Floats]
    draw_long: Callable[[np.random.Generator], float]


#: Arrivals fall on whole nanoseconds: fine beside any iteration, and coarse beside the last digit of a float, in which
#: the mathematical libraries of two machines may differ.
_PS_PER_NS = 1000
_FAR_NS = 9e15
#: Operational time is counted in these parts of a mean gap, in whole numbers: sums are the same in any grouping.
_PARTS = 10**9
MAX_RATE_PER_S = 1e6
MAX_CV = 50.0


class ArrivalProcess(Protocol):
    """Arrivals, handed out in order, piece by piece."""

    def take(self, n: int) -> tuple[Ints, Ints | None]:
        """The next n arrivals in ps [n], and the clients [n] that they come from where the process knows."""
        ...


def poisson() -> GapLaw:
    """Exponential gaps."""
    return GapLaw(lambda rng, n: rng.standard_exponential(n), lambda rng: rng.standard_gamma(2.0))


def gamma(cv: float) -> GapLaw:
    """Gamma gaps with coefficient of variation `cv`: 1 is Poisson, more is burstier."""
    shape = check_real("gamma: cv", cv, 0.02, MAX_CV) ** -2.0
    return GapLaw(
        lambda rng, n: rng.standard_gamma(shape, n) / shape, lambda rng: rng.standard_gamma(shape + 1) / shape
    )


def weibull(cv: float) -> GapLaw:
    """Weibull gaps with coefficient of variation `cv`."""
    shape = _weibull_shape(check_real("weibull: cv", cv, 0.02, MAX_CV))
    mean = gamma_function(1 + 1 / shape)
    return GapLaw(
        lambda rng, n: rng.standard_exponential(n) ** (1 / shape) / mean,
        lambda rng: rng.standard_gamma(1 + 1 / shape) ** (1 / shape) / mean,
    )


def regular() -> GapLaw:
    """A metronome."""
    return GapLaw(lambda rng, n: np.ones(n), lambda rng: 1.0)


GAP_LAWS: dict[str, Callable[..., GapLaw]] = {
    "poisson": poisson,
    "gamma": gamma,
    "weibull": weibull,
    "regular": regular,
}


class Renewal:
    """Independent gaps of one law, run through a modulated rate.

    It begins with a full gap or, where it is `under_way`, with what a random moment leaves of one.
    """

    def __init__(
        self,
        gaps: GapLaw,
        rate_per_s: float,
        modulations: Sequence[Modulation],
        seed: int,
        branch: tuple[int, ...] = (),
        under_way: bool = False,
    ) -> None:
        self._gaps, self._rate_per_s = gaps, rate_per_s
        self._rng = random_stream(seed, "arrivals", *branch)
        self._parts = 0
        self._first: int | None = None  # what is left of the gap under way, in parts
        if under_way:
            start = random_stream(seed, "arrivals", *branch, 2)
            self._first = round(gaps.draw_long(start) * start.random() * _PARTS)
        pieces: list[Pieces] = [
            modulation(random_stream(seed, "arrivals", *branch, 1, number))
            for number, modulation in enumerate(modulations)
        ]
        self._clock = RateClock(rate_per_s, product(pieces)) if pieces else None

    def take(self, n: int) -> tuple[Ints, None]:
        """The next n arrivals in ps [n]; whoever comes long after the horizon comes at one time."""
        gaps = np.rint(self._gaps.draw(self._rng, n) * _PARTS).astype(np.int64)
        if self._first is not None:
            gaps[0], self._first = self._first, None
        parts = self._parts + np.cumsum(gaps)
        self._parts = int(parts[-1])
        expected = parts / _PARTS
        times_ns = expected / (self._rate_per_s / NS_PER_S) if self._clock is None else self._clock.times_ns(expected)
        return np.rint(np.minimum(times_ns, _FAR_NS)).astype(np.int64) * _PS_PER_NS, None


class Clients:
    """Many clients at once, each a renewal process of its own, merged; the tenant of a request is its client."""

    def __init__(self, clients: Sequence[Renewal], shares: Sequence[float]) -> None:
        self._clients, self._shares = clients, shares
        self._ahead = [np.zeros(0, np.int64) for _ in clients]  # drawn and not yet handed out

    def take(self, n: int) -> tuple[Ints, Ints]:
        """The next n arrivals in ps [n] and their clients [n]; at one moment in the order of the clients."""
        while True:
            known_to = min(int(times[-1]) if len(times) else -1 for times in self._ahead)
            if sum(int(np.searchsorted(times, known_to)) for times in self._ahead) >= n:
                break
            self._draw(known_to, n)
        times = np.concatenate(self._ahead)
        clients = np.repeat(np.arange(len(self._ahead)), [len(times) for times in self._ahead])
        chosen = np.argsort(times, kind="stable")[:n]
        counts = np.bincount(clients[chosen], minlength=len(self._ahead))
        self._ahead = [times[count:] for times, count in zip(self._ahead, counts, strict=True)]
        return times[chosen], clients[chosen]

    def _draw(self, known_to: int, n: int) -> None:
        """More arrivals of the client of which least is known."""
        for number, times in enumerate(self._ahead):
            if not len(times) or times[-1] == known_to:
                more = self._clients[number].take(4 + int(n * self._shares[number]))[0]
                self._ahead[number] = np.concatenate([times, more])


def clients(
    num: int,
    zipf: float,
    shares: str = "",
    cvs: str = "1",
    family: str = "gamma",
    sd: float = 0.0,
    phi: float = 0.7,
    period_s: float = 600.0,
) -> Callable[[float, Sequence[Modulation], int], Clients]:
    """A superposition of `num` clients (ServeGen, arXiv 2505.09999).

    `shares` are those of the largest clients, `zipf` the exponent by which the others share the rest; `cvs` are the
    coefficients of variation of the first clients' gaps, the last one given holds for all that follow; `family` is
    gamma or weibull. Each client's rate varies by itself as `log_ar1:sd,phi,period_s`.
    """
    check_count("clients: num", num, 10_000)
    check_real("clients: zipf", zipf, 0.0, 10.0)
    if family not in ("gamma", "weibull"):
        raise InputError(f"clients: family is {family!r}: give gamma or weibull.")
    largest = read_numbers("clients: shares", shares, 0.0, 1.0) if shares != "" else ()
    known_cvs = read_numbers("clients: cvs", cvs, 0.02, MAX_CV)
    weights = _client_shares(num, zipf, largest)
    rate_varies = [log_ar1(sd, phi, period_s)] if sd else []

    def superpose(rate_per_s: float, modulations: Sequence[Modulation], seed: int) -> Clients:
        return Clients(
            [
                Renewal(
                    GAP_LAWS[family](cv=known_cvs[min(number, len(known_cvs) - 1)]),
                    share * rate_per_s,
                    [*rate_varies, *(_shared(modulation, seed, place) for place, modulation in enumerate(modulations))],
                    seed,
                    (0, number),
                    under_way=True,
                )
                for number, share in enumerate(weights)
            ],
            weights,
        )

    return superpose


def _shared(modulation: Modulation, seed: int, place: int) -> Modulation:
    """A modulation that all clients follow alike, whatever stream of its own each would have given it."""
    return lambda rng: modulation(random_stream(seed, "arrivals", 1, place))


def make_arrivals(spec: str, modulations: Sequence[Modulation]) -> Callable[[float, int], ArrivalProcess]:
    """From the spec of a gap law or of `clients` to what, with a rate per second and a seed, begins the process.

    Raises InputError for an unknown name or setting, or a value out of its bounds.
    """
    if parse_spec(spec)[0] == "clients":
        superpose = build("arrival process", spec, {"clients": clients})
        return lambda rate_per_s, seed: superpose(rate_per_s, modulations, seed)
    gaps: GapLaw = build("arrival process", spec, {**GAP_LAWS, "clients": clients})
    return partial(_renewal, gaps, modulations)


def _renewal(gaps: GapLaw, modulations: Sequence[Modulation], rate_per_s: float, seed: int) -> Renewal:
    return Renewal(gaps, rate_per_s, modulations, seed)


def _client_shares(num: int, zipf: float, largest: Sequence[float]) -> tuple[float, ...]:
    rest = 1 - sum(largest)
    if len(largest) > num or rest < -1e-9 or (rest < 1e-9) != (len(largest) == num):
        raise InputError(f"clients: {len(largest)} shares, sum {1 - rest:g}, for {num}: leave a rest to the others.")
    tail = [rank**-zipf for rank in range(len(largest) + 1, num + 1)]
    return check_shares("clients: shares", [*largest, *(rest * weight / sum(tail) for weight in tail)])


def _weibull_shape(cv: float) -> float:
    """The shape at which Gamma(1 + 2/k) / Gamma(1 + 1/k)^2 = 1 + cv^2, by bisection."""
    low, high = 0.05, 200.0
    for _ in range(200):
        middle = math.sqrt(low * high)
        square = gamma_function(1 + 2 / middle) / gamma_function(1 + 1 / middle) ** 2 - 1
        low, high = (middle, high) if square > cv * cv else (low, middle)
    return math.sqrt(low * high)
