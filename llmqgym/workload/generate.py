"""Generate a workload: Poisson arrivals and lognormal lengths, each from a random stream of its own."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from llmqgym.errors import InputError, unknown
from llmqgym.workload.workload import HORIZON_S, MAX_TOKENS, Workload, make_workload

#: The random streams of a seed by name. A place in the spawn order is never given to another name, so that a change in
#: one draw shifts no other.
STREAMS = {"arrivals": 0, "prompt_lengths": 1, "output_lengths": 2, "predictions": 3}
MAX_REQUESTS = 100_000_000
MAX_SIGMA = 10.0


def random_stream(seed: int, name: str) -> np.random.Generator:
    """The stream `name` of `seed`: the child of that number that `SeedSequence(seed).spawn` would give.

    Raises InputError for a negative seed or an unknown name.
    """
    if name not in STREAMS:
        raise unknown("random stream", name, STREAMS)
    if seed < 0:
        raise InputError(f"seed {seed} is negative: give 0 or more.")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAMS[name],)))


def poisson_lognormal(
    num_requests: int,
    rate_per_s: float,
    seed: int,
    *,
    prompt_median: float = 600.0,
    prompt_sigma: float = 1.0,
    prompt_max: int = 32_768,
    output_median: float = 160.0,
    output_sigma: float = 0.8,
    output_max: int = 8_192,
) -> Workload:
    """Poisson arrivals at `rate_per_s` from time 0 on, lengths `median * exp(sigma N(0, 1))` in tokens.

    Lengths are rounded half to even and kept within 1 and their maximum; sigma 0 makes them constant. The declared
    cap of every request is `output_max`. More requests of one seed begin with the same ones. Raises InputError for a
    value out of its bounds or a workload that lasts longer than the horizon.

    >>> poisson_lognormal(2, 1.0, 0, prompt_sigma=0, output_sigma=0).requests["prompt_tokens"]
    array([600, 600])
    """
    _check_count("num_requests", num_requests, MAX_REQUESTS)
    _check_real("rate_per_s", rate_per_s, 1e-9, 1e9)
    arrival_s = poisson_arrivals_s(num_requests, rate_per_s, seed)
    lengths = {
        what: _lognormal_tokens(what, num_requests, seed, median, sigma, most)
        for what, median, sigma, most in (
            ("prompt", prompt_median, prompt_sigma, prompt_max),
            ("output", output_median, output_sigma, output_max),
        )
    }
    source: dict[str, object] = {
        "kind": "poisson_lognormal",
        "num_requests": num_requests,
        "rate_per_s": rate_per_s,
        "seed": seed,
        "prompt_median_tokens": prompt_median,
        "prompt_sigma": prompt_sigma,
        "prompt_max_tokens": prompt_max,
        "output_median_tokens": output_median,
        "output_sigma": output_sigma,
        "output_max_tokens": output_max,
    }
    return make_workload(
        "poisson_lognormal",
        source,
        arrival_s=arrival_s,
        prompt_tokens=lengths["prompt"],
        output_tokens=lengths["output"],
        max_output_tokens=output_max,
    )


def poisson_arrivals_s(num_requests: int, rate_per_s: float, seed: int) -> NDArray[np.float64]:
    """Arrival times in s, float64 [num_requests], increasing. Raises InputError when they pass the horizon."""
    _check_real("rate_per_s", rate_per_s, 1e-9, 1e9)
    gaps = random_stream(seed, "arrivals").exponential(size=num_requests)
    arrival_s = np.cumsum(gaps) / rate_per_s
    if arrival_s[-1] >= HORIZON_S:
        raise InputError(
            f"{num_requests} requests at {rate_per_s}/s last {arrival_s[-1]:.0f} s, beyond the {HORIZON_S} s of a run: "
            "raise the rate or take fewer requests."
        )
    return arrival_s


def _lognormal_tokens(what: str, num: int, seed: int, median: float, sigma: float, most: int) -> NDArray[np.int64]:
    _check_real(f"{what}_median_tokens", median, 1.0, MAX_TOKENS)
    _check_real(f"{what}_sigma", sigma, 0.0, MAX_SIGMA)
    _check_count(f"{what}_max_tokens", most, MAX_TOKENS)
    normal = random_stream(seed, f"{what}_lengths").standard_normal(num)
    return np.clip(np.rint(median * np.exp(sigma * normal)), 1, most).astype(np.int64)


def _check_count(name: str, value: int, most: int) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 1 <= value <= most:
        raise InputError(f"{name} is {value!r}: give a whole number from 1 to {most}.")


def _check_real(name: str, value: float, least: float, most: float) -> None:
    number = isinstance(value, (int, float, np.floating)) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not least <= value <= most:
        raise InputError(f"{name} is {value!r}: give a number from {least:g} to {most:g}.")
