"""Transforms of workloads: each leaves its argument as it is and adds a line to `source["transforms"]`.

A table becomes a new table. Of a source that is read in chunks, the transform is carried out chunk by chunk.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from llmqgym.errors import InputError
from llmqgym.kernel.tables import HORIZON_PS, PS_PER_S
from llmqgym.workload.source import PromptHashes, RequestSource
from llmqgym.workload.workload import HORIZON_S, Workload

Source = TypeVar("Source", bound=RequestSource)
#: From a chunk to what becomes of it, possibly nothing; it may remember what it has seen before.
Step = Callable[[NDArray[Any]], NDArray[Any]]


def scale_time(w: Source, factor: float) -> Source:
    """Multiply every arrival time by `factor`: 2 halves the arrival rate. Rounds half to even to a picosecond.

    Raises InputError for a factor that is not positive and finite, or one that carries a request past the horizon.
    """
    return _scaled(w, factor, f"scale_time factor={factor!r}")


def scale_to_rate(w: Source, rate_per_s: float) -> Source:
    """Scale time so that the mean arrival rate, (R - 1) / duration_s, becomes `rate_per_s` requests per second.

    Raises InputError for a rate that is not positive and finite, or a workload whose requests all arrive at once.
    """
    _require_positive("the rate", rate_per_s)
    first_ps, last_ps = span_ps(w)
    if last_ps == first_ps:
        raise InputError(
            f"{w.name} has no rate to scale: its {len(w)} request(s) arrive at one moment. Generate arrivals instead."
        )
    factor = (len(w) - 1) / (float(last_ps - first_ps) / PS_PER_S) / rate_per_s
    return _scaled(w, factor, f"scale_to_rate rate_per_s={rate_per_s!r} (time factor {factor!r})")


def window(w: Source, start_s: float, end_s: float) -> Source:
    """Keep the requests that arrive in [start_s, end_s); `start_s` becomes time 0. `end_s` may be inf.

    Raises InputError for an empty or negative window, and for one that holds no request.
    """
    if not 0 <= start_s < end_s or start_s > HORIZON_S:
        raise InputError(f"window {start_s} to {end_s} s: need 0 <= start < end, and start at most {HORIZON_S} s.")
    start_ps = _to_ps(start_s)
    end_ps = _to_ps(end_s) if end_s <= HORIZON_S else HORIZON_PS + 1

    def cut(requests: NDArray[Any]) -> NDArray[Any]:
        first, stop = np.searchsorted(requests["arrival_ps"], [start_ps, end_ps])
        inside = requests[first:stop].copy()
        inside["arrival_ps"] -= start_ps
        return inside

    def nothing() -> InputError:
        first_ps, last_ps = span_ps(w)
        return InputError(
            f"no request of {w.name} arrives in {start_s} to {end_s} s: its arrivals run from "
            f"{first_ps / PS_PER_S} to {last_ps / PS_PER_S} s. Choose a window among them."
        )

    return _derived(w, lambda: cut, f"window start_s={start_s!r} end_s={end_s!r}", nothing)


def thin(w: Source, share: float, seed: int) -> Source:
    """Keep each request independently with probability `share`; the same seed keeps the same requests.

    Raises InputError for a share outside (0, 1], a negative seed, or when no request is left.
    """
    if not 0 < share <= 1:
        raise InputError(f"share {share} is outside (0, 1]: give the part of the requests to keep.")
    if seed < 0:
        raise InputError(f"seed {seed} is negative: give 0 or more.")

    def begin() -> Step:
        rng = np.random.default_rng(seed)
        return lambda requests: requests[rng.random(len(requests)) < share]

    def nothing() -> InputError:
        return InputError(
            f"share {share} keeps none of the {len(w)} requests of {w.name}: raise it or change the seed."
        )

    return _derived(w, begin, f"thin share={share!r} seed={seed}", nothing)


def head(w: Source, n: int) -> Source:
    """Keep the first `n` requests. Raises InputError unless 1 <= n <= len(w)."""
    if not 1 <= n <= len(w):
        raise InputError(f"cannot take the first {n} of the {len(w)} requests of {w.name}: give 1 to {len(w)}.")

    def begin() -> Step:
        left = n

        def cut(requests: NDArray[Any]) -> NDArray[Any]:
            nonlocal left
            taken = requests[:left].copy()
            left -= len(taken)
            return taken

        return cut

    return _derived(w, begin, f"head n={n}", lambda: InputError(f"{w.name} has no request."))


@dataclasses.dataclass(frozen=True, eq=False)
class DerivedSource:
    """A source read in chunks with a step carried out on each; it counts its requests once, when it is asked."""

    base: RequestSource
    begin: Callable[[], Step]
    note: str
    nothing: Callable[[], InputError]

    @property
    def name(self) -> str:
        """That of its base."""
        return self.base.name

    @property
    def source(self) -> dict[str, object]:
        """That of its base, with the step noted."""
        return _noted(self.base.source, self.note)

    @property
    def corrections(self) -> dict[str, int]:
        """Those of its base."""
        return self.base.corrections

    @property
    def hashes(self) -> PromptHashes | None:
        """Those of what is below."""
        return self.base.hashes

    def __len__(self) -> int:
        return self._count

    @cached_property
    def _count(self) -> int:
        return sum(len(chunk) for chunk in self.chunks())

    def chunks(self) -> Iterator[NDArray[Any]]:
        """Raises InputError when the step leaves nothing."""
        step, left = self.begin(), 0
        for chunk in self.base.chunks():
            kept = step(chunk)
            left += len(kept)
            if len(kept):
                yield kept
        if not left:
            raise self.nothing()


def _scaled(w: Source, factor: float, note: str) -> Source:
    _require_positive("the time factor", factor)
    last_s = float(span_ps(w)[1]) / PS_PER_S
    if last_s * factor >= HORIZON_S:
        raise InputError(
            f"time factor {factor} moves the last arrival from {last_s} s past the horizon of {HORIZON_S} s: "
            f"use a factor below {HORIZON_S / last_s:g} or take a window first."
        )

    def scale(requests: NDArray[Any]) -> NDArray[Any]:
        scaled = requests.copy()
        scaled["arrival_ps"] = np.rint(requests["arrival_ps"].astype(np.float64) * factor).astype(np.int64)
        return scaled

    return _derived(w, lambda: scale, note, lambda: InputError(f"{w.name} has no request."))


def _derived(w: Source, begin: Callable[[], Step], note: str, nothing: Callable[[], InputError]) -> Source:
    if not isinstance(w, Workload):
        return cast(Source, DerivedSource(w, begin, note, nothing))
    requests = begin()(w.requests)
    if not len(requests):
        raise nothing()
    return dataclasses.replace(w, requests=requests, source=_noted(w.source, note))


def _noted(source: dict[str, object], note: str) -> dict[str, object]:
    earlier = source.get("transforms", [])
    return {**source, "transforms": [*earlier, note] if isinstance(earlier, list) else [note]}


def span_ps(w: RequestSource) -> tuple[int, int]:
    """First and last arrival, ps."""
    if isinstance(w, Workload):
        return int(w.requests["arrival_ps"][0]), int(w.requests["arrival_ps"][-1])
    spans = [(int(chunk["arrival_ps"][0]), int(chunk["arrival_ps"][-1])) for chunk in w.chunks()]
    return spans[0][0], spans[-1][1]


def _to_ps(seconds: float) -> int:
    fraction, whole = math.modf(seconds)
    return int(whole) * PS_PER_S + round(fraction * PS_PER_S)


def _require_positive(what: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{what} is {value}: give a finite number above 0.")
