"""The capacity checked by simulation: whether the queue grows at a load, and the largest load at which it does not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware import HardwareProfile
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.load.capacity import Capacity
from llmqgym.load.lengths import Ints
from llmqgym.policy import Policy
from llmqgym.run import RunResult, simulate
from llmqgym.workload.arrivals import make_arrivals
from llmqgym.workload.workload import Workload, make_workload

#: Loads at which a server is looked at: below and above its capacity.
BELOW, ABOVE = 0.95, 1.05
#: How closely the largest stable load is looked for, and where the search gives up.
_STEP, _LEAST = 0.01, 0.02
_MIN_REQUESTS = 1000
#: Requests of a run: usually, as a multiple of those that run at once at the capacity, and at most.
_USUAL_REQUESTS, _TIMES_RUNNING, _MOST_REQUESTS = 50_000, 400, 200_000


class Tried(Protocol):
    """What is tried at one rate after the other."""

    @property
    def name(self) -> str: ...

    def verdict(self, rate_per_s: float) -> str:
        """'stable', 'growing' or 'undecided' (`llmqgym.metrics.stability`) at this rate."""
        ...


@dataclass(frozen=True)
class Bench:
    """A server, its policy, and the requests that it is tried on: prompts and outputs [n], in their order."""

    prompt_tokens: Ints
    output_tokens: Ints
    profile: HardwareProfile
    server: ServerConfig
    policy: Policy
    seed: int = 0
    predictor: str | None = None

    @property
    def name(self) -> str:
        """The policy's."""
        return self.policy.name

    def run(self, rate_per_s: float) -> RunResult:
        """`poisson_workload` at this rate, to the end of all requests. Raises InputError."""
        workload = poisson_workload(self.prompt_tokens, self.output_tokens, rate_per_s, self.seed)
        return simulate(
            workload,
            policy=self.policy,
            server=self.server,
            profile=self.profile,
            predictor=self.predictor,
            seed=self.seed,
        )

    def verdict(self, rate_per_s: float) -> str:
        """'stable', 'growing' or 'undecided' (`llmqgym.metrics.stability`) at this rate."""
        return str(self.run(rate_per_s).summary["stability"])


def poisson_workload(prompt_tokens: Ints, output_tokens: Ints, rate_per_s: float, seed: int) -> Workload:
    """Poisson arrivals at this rate, of requests [n] that every rate meets in the same order.

    Raises InputError for fewer than 1,000 requests, which have no verdict, and for a rate out of its bounds.
    """
    num = len(prompt_tokens)
    if num < _MIN_REQUESTS:
        raise InputError(f"{num} requests say nothing about stability: give at least {_MIN_REQUESTS}.")
    arrival_s = make_arrivals("poisson", [])(1.0, seed).take(num)[0] / PS_PER_S
    return make_workload(
        "load",
        {"rate_per_s": rate_per_s, "seed": seed},
        arrival_s=arrival_s * (num / arrival_s[-1] / rate_per_s),  # exactly this rate, not the seed's
        prompt_tokens=prompt_tokens,
        output_tokens=output_tokens,
    )


@dataclass(frozen=True)
class Check:
    """What the simulation says of a capacity."""

    below: str  #: the verdict at a load of 0.95
    above: str  #: the verdict at a load of 1.05
    largest_stable_rho: float | None  #: to 0.01; None where the verdicts are the fluid's: stable below, growing above


def check(capacity: Capacity, bench: Bench) -> Check:
    """The verdicts at 0.95 and 1.05; where KV binds, or the queue grows below, the largest stable load.

    Where it binds, KV keeps a greedy policy from the fluid's capacity: it admits what fits now, and what is then
    preempted is computed again. The verdict counts requests: a policy that puts the longest last leaves few of them
    waiting, and may look stable above the capacity.
    """
    below, above = (bench.verdict(capacity.rate_at(rho)) for rho in (BELOW, ABOVE))
    wanted = capacity.binding == "kv" or below != "stable"
    return Check(below, above, largest_stable_rho(capacity, bench) if wanted else None)


def largest_stable_rho(capacity: Capacity, tried: Tried, most: float = ABOVE) -> float:
    """The largest load up to `most`, to 0.01, at which the queue does not grow, by bisection.

    Raises InputError when it grows even at a load of 0.02: this server does not serve this workload.
    """
    low, high = 0.5, most
    if _stable(capacity, tried, most):
        return most
    while not _stable(capacity, tried, low):
        low, high = low / 2, low
        if low < _LEAST:
            raise InputError(
                f"the queue grows even at a load of {high:g} under policy {tried.name!r}: it does not serve "
                "these requests; take another policy, or look at how a run ends with `llmqgym simulate`."
            )
    while high - low > _STEP:
        middle = (low + high) / 2
        low, high = (middle, high) if _stable(capacity, tried, middle) else (low, middle)
    return low


def _stable(capacity: Capacity, tried: Tried, rho: float) -> bool:
    return tried.verdict(capacity.rate_at(rho)) == "stable"


def shuffled_rows(size: int, num: int, seed: int) -> NDArray[np.int64]:
    """`num` rows of a sample of `size`, int64 [num]: all of them in random order, again and again.

    A trace's lengths change with the hour; the capacity is that of their mean.

    >>> sorted(shuffled_rows(3, 6, seed=0).tolist())
    [0, 0, 1, 1, 2, 2]
    """
    rng = np.random.default_rng(seed)
    rounds = [rng.permutation(size) for _ in range(-(-num // size))]
    return np.concatenate(rounds)[:num].astype(np.int64)


def requests_wanted(capacity: Capacity) -> int:
    """How many requests a verdict takes: 50,000, and many times those that run at once."""
    running = capacity.use.slots * capacity.fluid.server.max_running
    return max(_USUAL_REQUESTS, min(math.ceil(_TIMES_RUNNING * running), _MOST_REQUESTS))
