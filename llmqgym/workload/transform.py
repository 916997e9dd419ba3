"""Transforms: Workload -> Workload. Each leaves its argument as it is and adds a line to `source["transforms"]`."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.errors import InputError
from llmqgym.kernel.tables import HORIZON_PS, PS_PER_S
from llmqgym.workload.workload import HORIZON_S, Workload


def scale_time(w: Workload, factor: float) -> Workload:
    """Multiply every arrival time by `factor`: 2 halves the arrival rate. Rounds half to even to a picosecond.

    Raises InputError for a factor that is not positive and finite, or one that carries a request past the horizon.
    """
    _require_positive("the time factor", factor)
    last_s = float(w.requests["arrival_ps"][-1]) / PS_PER_S
    if last_s * factor >= HORIZON_S:
        bound = HORIZON_S / last_s
        raise InputError(
            f"time factor {factor} moves the last arrival from {last_s} s past the horizon of {HORIZON_S} s: "
            f"use a factor below {bound:g} or take a window first."
        )
    requests = w.requests.copy()
    requests["arrival_ps"] = np.rint(requests["arrival_ps"].astype(np.float64) * factor).astype(np.int64)
    return _derived(w, requests, f"scale_time factor={factor!r}")


def scale_to_rate(w: Workload, rate_per_s: float) -> Workload:
    """Scale time so that the mean arrival rate, (R - 1) / duration_s, becomes `rate_per_s` requests per second.

    Raises InputError for a rate that is not positive and finite, or a workload whose requests all arrive at once.
    """
    _require_positive("the rate", rate_per_s)
    if w.duration_s == 0:
        raise InputError(
            f"{w.name} has no rate to scale: its {len(w)} request(s) arrive at one moment. Generate arrivals instead."
        )
    factor = (len(w) - 1) / w.duration_s / rate_per_s
    scaled = scale_time(w, factor)
    return _derived(w, scaled.requests, f"scale_to_rate rate_per_s={rate_per_s!r} (time factor {factor!r})")


def window(w: Workload, start_s: float, end_s: float) -> Workload:
    """Keep the requests that arrive in [start_s, end_s); `start_s` becomes time 0. `end_s` may be inf.

    Raises InputError for an empty or negative window, and for one that holds no request.
    """
    if not 0 <= start_s < end_s or start_s > HORIZON_S:
        raise InputError(f"window {start_s} to {end_s} s: need 0 <= start < end, and start at most {HORIZON_S} s.")
    start_ps = _to_ps(start_s)
    end_ps = _to_ps(end_s) if end_s <= HORIZON_S else HORIZON_PS + 1
    arrival_ps = w.requests["arrival_ps"]
    first, stop = np.searchsorted(arrival_ps, [start_ps, end_ps])
    if first == stop:
        raise InputError(
            f"no request of {w.name} arrives in {start_s} to {end_s} s: its arrivals run from "
            f"{arrival_ps[0] / PS_PER_S} to {arrival_ps[-1] / PS_PER_S} s. Choose a window among them."
        )
    requests = w.requests[first:stop].copy()
    requests["arrival_ps"] -= start_ps
    return _derived(w, requests, f"window start_s={start_s!r} end_s={end_s!r}")


def thin(w: Workload, share: float, seed: int) -> Workload:
    """Keep each request independently with probability `share`; the same seed keeps the same requests.

    Raises InputError for a share outside (0, 1], a negative seed, or when no request is left.
    """
    if not 0 < share <= 1:
        raise InputError(f"share {share} is outside (0, 1]: give the part of the requests to keep.")
    if seed < 0:
        raise InputError(f"seed {seed} is negative: give 0 or more.")
    kept_mask = np.random.default_rng(seed).random(len(w)) < share
    if not kept_mask.any():
        raise InputError(f"share {share} keeps none of the {len(w)} requests of {w.name}: raise it or change the seed.")
    return _derived(w, w.requests[kept_mask], f"thin share={share!r} seed={seed}")


def head(w: Workload, n: int) -> Workload:
    """Keep the first `n` requests. Raises InputError unless 1 <= n <= len(w)."""
    if not 1 <= n <= len(w):
        raise InputError(f"cannot take the first {n} of the {len(w)} requests of {w.name}: give 1 to {len(w)}.")
    return _derived(w, w.requests[:n].copy(), f"head n={n}")


def _to_ps(seconds: float) -> int:
    fraction, whole = math.modf(seconds)
    return int(whole) * PS_PER_S + round(fraction * PS_PER_S)


def _require_positive(what: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{what} is {value}: give a finite number above 0.")


def _derived(w: Workload, requests: NDArray[Any], note: str) -> Workload:
    earlier = w.source.get("transforms", [])
    notes = [*earlier, note] if isinstance(earlier, list) else [note]
    return dataclasses.replace(w, requests=requests, source={**w.source, "transforms": notes})
