"""Lower bounds on the mean latencies of a workload on the simulated server, for every schedule there is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.bounds.alone import alone
from llmqgym.bounds.crowding import crowding
from llmqgym.bounds.hits import Hits
from llmqgym.bounds.needs import Needs, measure
from llmqgym.bounds.pooled import mean_busy, prices, shortest_first, work_ps
from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware.integers import IntegerProfile
from llmqgym.kernel.tables import PS_PER_S

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Taken off every bound, relative: far above what float64 sums lose (clocks are whole ps), far below what matters.
_ROUNDING = 1e-9
#: How often prices and the order that they lead to are found from each other.
_REFINED = 2


@dataclass(frozen=True)
class LatencyBounds:
    """Lower bounds on means over the requests that fit, in seconds, by the names in `latency_bounds`."""

    e2e_s: dict[str, float]
    ttft_s: dict[str, float]
    num_requests: int
    num_never_fit: int  #: rejected by the server, and in no mean

    @property
    def best_e2e_s(self) -> float:
        """The largest."""
        return max(self.e2e_s.values())

    @property
    def best_ttft_s(self) -> float:
        """The largest."""
        return max(self.ttft_s.values())


def latency_bounds(
    requests: NDArray[Any], profile: IntegerProfile, server: ServerConfig, hits: Hits | None = None
) -> LatencyBounds:
    """Bounds on the mean E2E latency and the mean TTFT of ARRIVAL[R] (in order of arrival).

    They hold for every schedule of the server of docs/model.md that finishes all requests that fit: also one that knows
    all arrivals and lengths, and preempts in any mode at any time. Each holds by itself, and so does the largest.

    * `alone`: nobody waits for anybody (`alone.alone`).
    * `shortest_first`: SRPT on the pooled server (`pooled.shortest_first`).
    * `mean_busy`: mean busy times there, and what must follow them (`pooled.mean_busy`).
    * `prefill_first`: SRPT of the prompts alone, then each request's decodes with no waiting: first tokens add up to at
      least the former, and a last token follows its first by at least the latter.
    * `crowding`: the number in the system that the rate needs (`crowding.crowding`).

    `hits`: of all R by `hits.ideal_hits`, for a server with prefix caching, and with the exception stated there. Takes
    some seconds for 100,000 requests. Raises InputError where no request fits, and for prefix_caching without `hits`.

    >>> from llmqgym.hardware import load_profile
    >>> from llmqgym.workload.workload import make_requests
    >>> two = make_requests(arrival_s=[0, 0], prompt_tokens=[1, 1], output_tokens=[2, 2])
    >>> one_slot = ServerConfig(max_running=1, max_batched_tokens=1)
    >>> round(latency_bounds(two, load_profile("constant:iteration_ms=10").to_integers(16), one_slot).best_e2e_s, 6)
    0.03
    """
    if server.prefix_caching and hits is None:
        raise InputError(
            "a server with prefix_caching computes less than all tokens: give hits (bounds.ideal_hits), or bound it "
            "without prefix_caching."
        )
    needs = measure(requests, profile, server, hits)
    least = alone(needs, profile)
    decodes = float(least.decodes(needs).sum())
    first_tokens = {
        "alone": float(least.prefill.sum()),
        "shortest_first": _largest_shortest_first(needs, profile, prefill_only=True)[0],
    }
    shortest, busy = _largest_shortest_first(needs, profile, prefill_only=False, least=least)
    last_tokens = {
        "alone": first_tokens["alone"] + decodes,
        "shortest_first": shortest,
        "mean_busy": busy,
        "prefill_first": first_tokens["shortest_first"] + decodes,
        "crowding": crowding(needs, profile, least),
    }
    return LatencyBounds(
        e2e_s=_means(last_tokens, len(needs)),
        ttft_s=_means(first_tokens, len(needs)),
        num_requests=len(needs),
        num_never_fit=len(requests) - len(needs),
    )


def _largest_shortest_first(
    needs: Needs, profile: IntegerProfile, *, prefill_only: bool, least: Any = None
) -> tuple[float, float]:
    """The largest sums (shortest first, mean busy) in ps over some prices: those at which all work is dearest, then
    those at which, all being there at once, the order by work would take longest."""
    weights = np.ones(len(needs))
    shortest = busy = 0.0
    for _ in range(1 + _REFINED):
        price = prices(needs, profile, weights, prefill_only=prefill_only)
        work = work_ps(needs, price, prefill_only=prefill_only)
        shortest = max(shortest, shortest_first(needs, work))
        if least is not None:
            busy = max(busy, mean_busy(needs, price, least))
        weights = np.empty(len(needs))
        weights[np.argsort(work, kind="stable")] = np.arange(len(needs), 0, -1)
    return shortest, busy


def _means(totals: dict[str, float], num: int) -> dict[str, float]:
    return {name: max(total, 0.0) * (1 - _ROUNDING) / num / PS_PER_S for name, total in totals.items()}
