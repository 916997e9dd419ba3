"""Generate requests from a traffic model, chunk by chunk: the same ones in chunks of any size."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.checks import check_count, check_real, check_shares
from llmqgym.errors import InputError
from llmqgym.kernel.tables import ARRIVAL, HORIZON_PS, PS_PER_S
from llmqgym.workload.arrivals import MAX_RATE_PER_S
from llmqgym.workload.lengths import MAX_SIGMA
from llmqgym.workload.model import TrafficModel
from llmqgym.workload.source import CHUNK_REQUESTS
from llmqgym.workload.streams import random_stream
from llmqgym.workload.workload import HORIZON_S, Workload, as_table, blank_requests

__all__ = ["MAX_SIGMA", "GeneratedWorkload", "poisson_lognormal", "random_stream"]

MAX_REQUESTS = 1_000_000_000
#: Requests of the sample from which the means of a model are estimated, and its seed: not a run's.
_SAMPLE_REQUESTS, _SAMPLE_SEED = 1 << 17, 0


@dataclass(frozen=True)
class GeneratedWorkload:
    """`num_requests` requests of a model at a mean rate, drawn anew whenever they are asked for.

    Arrivals, prompt lengths, output lengths and labels come from random streams of their own; more requests of one
    seed begin with the same ones. Raises InputError for a value out of its bounds, or a workload that would last
    longer than the horizon.
    """

    name: str
    model: TrafficModel
    num_requests: int
    rate_per_s: float
    seed: int

    def __post_init__(self) -> None:
        check_count("num_requests", self.num_requests, MAX_REQUESTS)
        check_real("rate_per_s", self.rate_per_s, 1e-9, MAX_RATE_PER_S)
        check_count("seed", self.seed, 2**63 - 1, 0)
        duration_s = self.num_requests / self.rate_per_s
        if duration_s >= HORIZON_S:
            raise InputError(
                f"{self.num_requests} requests at {self.rate_per_s}/s last {duration_s:.0f} s, "
                f"beyond the {HORIZON_S} s of a run: raise the rate or take fewer requests."
            )

    def __len__(self) -> int:
        return self.num_requests

    @property
    def hashes(self) -> None:
        """None: prompts that are drawn have no words."""
        return None

    @property
    def source(self) -> dict[str, object]:
        """The model's settings, the rate and the seed."""
        return {
            "kind": "generated", **self.model.settings(), "num_requests": self.num_requests,
            "rate_per_s": self.rate_per_s, "seed": self.seed,
        }  # fmt: skip

    @property
    def corrections(self) -> dict[str, int]:
        """None: nothing is read."""
        return {}

    def chunks(self, chunk_requests: int = CHUNK_REQUESTS) -> Iterator[NDArray[Any]]:
        """The requests as ARRIVAL tables of at most `chunk_requests` rows."""
        columns = _Columns(self.model, self.rate_per_s, self.seed)
        for first in range(0, self.num_requests, chunk_requests):
            yield columns.take(min(chunk_requests, self.num_requests - first))

    def table(self) -> Workload:
        """All requests at once, in memory."""
        return as_table(self)


def sample_lengths(model: TrafficModel) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Prompt and output lengths, int64 [131072] each, of a sample that is the same in every run."""
    return _Lengths(model, _SAMPLE_SEED).take(_SAMPLE_REQUESTS)


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
    """Poisson arrivals at `rate_per_s` from time 0 on, lengths `median * exp(sigma N(0, 1))` in tokens, as a table.

    Lengths are rounded half to even and kept within 1 and their maximum; sigma 0 makes them constant. The declared
    cap of every request is `output_max`. Raises InputError as GeneratedWorkload does.

    >>> poisson_lognormal(2, 1.0, 0, prompt_sigma=0, output_sigma=0).requests["prompt_tokens"]
    array([600, 600])
    """
    model = TrafficModel(
        prompt=f"lognormal:median={prompt_median},sigma={prompt_sigma},max={prompt_max}",
        output=f"lognormal:median={output_median},sigma={output_sigma},max={output_max}",
    )
    return GeneratedWorkload("poisson_lognormal", model, num_requests, rate_per_s, seed).table()


class _Lengths:
    """Prompt and output lengths of a model, in order."""

    def __init__(self, model: TrafficModel, seed: int) -> None:
        self._prompt, self._output = model.prompt_law(), model.output_law()
        self._prompt_scores = random_stream(seed, "prompt_lengths")
        self._output_scores = random_stream(seed, "output_lengths")
        self._correlation = model.correlation

    def take(self, n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        prompt_scores, output_scores = self._prompt_scores.standard_normal(n), self._output_scores.standard_normal(n)
        if self._correlation:
            own = math.sqrt(1 - self._correlation**2)
            output_scores = self._correlation * prompt_scores + own * output_scores
        return self._prompt.tokens(prompt_scores), self._output.tokens(output_scores)


class _Columns:
    """The requests of a model, in order."""

    def __init__(self, model: TrafficModel, rate_per_s: float, seed: int) -> None:
        self._model = model
        self._arrivals = model.arrivals_at(rate_per_s, seed)
        self._lengths = _Lengths(model, seed)
        self._seed = seed
        limits = (model.ttft_limit_s, model.tpot_limit_s, model.e2e_limit_s)
        self._blank = _blank_row(model.longest_output(), limits)

    @cached_property
    def _tenants(self) -> np.random.Generator:
        return random_stream(self._seed, "labels", 0)

    @cached_property
    def _priorities(self) -> np.random.Generator:
        return random_stream(self._seed, "labels", 1)

    def take(self, n: int) -> NDArray[Any]:
        requests = np.empty(n, ARRIVAL)
        requests.view(np.uint8).reshape(n, -1)[:] = self._blank  # as bytes: a tenth of the time
        requests["arrival_ps"], clients = self._arrivals.take(n)
        if requests["arrival_ps"][-1] > HORIZON_PS:
            raise InputError(
                f"the arrivals of this seed reach the horizon of {HORIZON_S} s: raise the rate or take fewer requests."
            )
        requests["prompt_tokens"], requests["output_tokens"] = self._lengths.take(n)
        self._label(requests, clients)
        return requests

    def _label(self, requests: NDArray[Any], clients: NDArray[np.int64] | None) -> None:
        model = self._model
        if clients is not None:
            requests["tenant"] = clients
        if model.tenant_shares:
            requests["tenant"] = _draw_labels(self._tenants, model.tenant_shares, len(requests))
        if model.tenant_priorities:
            requests["priority"] = np.array(model.tenant_priorities)[requests["tenant"]]
        if model.priority_shares:
            requests["priority"] = _draw_labels(self._priorities, model.priority_shares, len(requests))


@lru_cache(maxsize=64)
def _blank_row(max_output_tokens: int, limits_s: tuple[float | None, ...]) -> NDArray[np.uint8]:
    """The bytes of a row with what all requests share: the declared cap, the limits of TTFT, TPOT and E2E."""
    row = blank_requests(1)
    row["max_output_tokens"] = max_output_tokens
    for name, limit_s in zip(("ttft", "tpot", "e2e"), limits_s, strict=True):
        if limit_s is not None:
            row[f"{name}_limit_ps"] = round(limit_s * PS_PER_S)
    return row.view(np.uint8)


def _draw_labels(stream: np.random.Generator, shares: tuple[float, ...], n: int) -> NDArray[np.intp]:
    """n labels 0, 1, ... with these shares."""
    bounds = np.cumsum(check_shares("shares", shares))[:-1]
    return np.searchsorted(bounds, stream.random(n), side="right")
