"""The capacity of a server for a workload: the largest rate whose fluid fixed point keeps within the server's limits.

Parametrised by x, the requests that enter per pass: the mean batch is linear in x,

    tokens N = x E[P + O - 1],    decodes B = x E[O - 1],    their KV tokens S = x E[(O-1) P + (O-1)(O-2)/2],
    running = x (E[O - 1] + E[passes of a prefill]),
    blocks held = x E[sum over the passes of ceil(KV tokens / block_size)],

and a pass lasts f(x) (`load.passes`), so that x is the state at the rate x / f(x): lambda* is the largest of these.
A greedy server fills its passes when requests wait, so that the queue grows from the rate at the limit on; that rate is
`saturated_rate_per_s`, lower than lambda* only where the limit lies just above a tread of the profile's staircase.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware.integers import UNLIMITED_BLOCKS, IntegerProfile
from llmqgym.load.lengths import Lengths, measure
from llmqgym.load.open_server import open_passes
from llmqgym.load.passes import Batch, mean_pass_s

#: Where x / f(x) is looked at below the limits, and how much larger it must be there for time to be what binds.
_SCAN = np.linspace(0.3, 1.0, 15)[:-1]
_LARGER = 1.005


@dataclass(frozen=True)
class Use:
    """Shares (0 .. 1) of the limits of a pass that its mean batch takes."""

    tokens: float  #: of max_batched_tokens
    slots: float  #: of max_running
    kv: float  #: of num_kv_blocks; 0 where there is no limit


@dataclass(frozen=True)
class FluidState:
    """The fluid's state at a rate; means per pass unless it says over time."""

    rate_per_s: float
    arrivals_per_iteration: float
    iteration_s: float
    decodes: float  #: B
    use: Use
    mean_num_requests_running: float  #: over time
    kv_cache_usage_perc: float  #: share of the blocks held, over time; 0 where there is no limit


@dataclass(frozen=True)
class Capacity:
    """The largest rate of a server for a workload, and what binds there."""

    rate_per_s: float  #: lambda*, of all requests, those that the server rejects included
    binding: str  #: 'tokens', 'slots', 'kv', or 'compute': more requests a pass would slow the passes down by more
    arrivals_per_iteration: float
    iteration_s: float
    use: Use
    num_never_fit: int  #: requests of the sample that are left out of the means: the server rejects them
    saturated_rate_per_s: float  #: what a server that fills its passes serves; below `rate_per_s` if compute binds
    fluid: Fluid

    def rate_at(self, rho: float) -> float:
        """Requests per second at load rho = rate / lambda*. Raises InputError unless rho is positive and finite."""
        if not (math.isfinite(rho) and rho > 0):
            raise InputError(f"rho is {rho}, it must be a positive number: 0.9 is nine tenths of the capacity.")
        return rho * self.rate_per_s

    def rho_of(self, rate_per_s: float) -> float:
        """Load of a rate: rate / lambda*."""
        return rate_per_s / self.rate_per_s

    def at(self, rate_per_s: float) -> FluidState:
        """The fluid's state at a rate below lambda*, for Poisson arrivals. Raises InputError for another.

        Against simulations at loads of 0.5 and 0.8 the running batch and the KV use are within some 3 %; with prompts
        longer than the budget the batch is within 10 % and the KV use up to 15 % low. Where KV binds, preemptions make
        it too low from a load of 0.85 on.
        """
        if not 0 < rate_per_s < self.rate_per_s:
            raise InputError(
                f"rate {rate_per_s:g}/s: there is a fluid state below the capacity of {self.rate_per_s:g}/s only: "
                "lower the rate."
            )
        return self.fluid.state(rate_per_s, self.arrivals_per_iteration)


@dataclass(frozen=True, eq=False)
class Fluid:
    """The fluid model of a server: limits and times as functions of x, the requests that enter per pass."""

    lengths: Lengths
    profile: IntegerProfile
    server: ServerConfig
    num_kv_blocks: int

    def batch(self, x: float) -> Batch:
        """The mean batch."""
        decodes = x * self.lengths.mean_decodes
        left = max(math.floor(self.server.max_batched_tokens - decodes), 1)
        return Batch(x, decodes, x * self.lengths.mean_decode_kv, left)

    def chunk(self, x: float) -> int:
        """The largest chunk of a prefill: what the decodes leave, or the server's threshold."""
        left, threshold = self.batch(x).prefill_budget, self.server.long_prefill_token_threshold
        return min(left, threshold) if threshold else left

    def use(self, x: float) -> Use:
        """The shares of the limits."""
        chunk = self.chunk(x)
        running = self.lengths.mean_decodes + self.lengths.prefill_passes(chunk)
        blocks = self.lengths.mean_decode_blocks + self.lengths.prefill_blocks(chunk)
        unlimited = self.num_kv_blocks >= UNLIMITED_BLOCKS
        return Use(
            tokens=x * (self.lengths.mean_prompt + self.lengths.mean_decodes) / self.server.max_batched_tokens,
            slots=x * running / self.server.max_running,
            kv=0.0 if unlimited else x * blocks / self.num_kv_blocks,
        )

    def rate_per_s(self, x: float) -> float:
        """Requests per second at x, those included that are rejected."""
        return x / self.iteration_s(x) / self.lengths.fitting_share

    def iteration_s(self, x: float) -> float:
        """f(x) of the saturated server; its decodes vary like a Poisson number, and less where the slots are few."""
        room = self.server.max_running * max(1.0 - self.use(x).slots, 0.0)
        batch = self.batch(x)
        spread = min(math.sqrt(batch.decodes), room / 2)
        return mean_pass_s(self.lengths, self.profile, batch, spread)

    def state(self, rate_per_s: float, largest_x: float) -> FluidState:
        """The state at a rate below the capacity, at which x is `largest_x`."""
        lengths = self.lengths
        x = _largest(lambda x: self.rate_per_s(x) / rate_per_s, largest_x, steps=14)
        served_per_s = rate_per_s * lengths.fitting_share
        passes = open_passes(lengths, self.profile, self.server, served_per_s, self.batch(x).decodes)
        # Little's law. A prompt that is cut is cut anywhere: long ones more often, and half of it is held.
        running = served_per_s * (passes.prefill_s + passes.decode_s * lengths.mean_decodes) + passes.cut_prefills
        block_s = passes.prefill_token_s * lengths.mean_prompt_blocks + passes.decode_s * lengths.mean_decode_blocks
        blocks = served_per_s * block_s + passes.cut_prefills * lengths.mean_cut_blocks
        unlimited = self.num_kv_blocks >= UNLIMITED_BLOCKS
        return FluidState(
            rate_per_s=rate_per_s,
            arrivals_per_iteration=passes.arrivals,
            iteration_s=passes.iteration_s,
            decodes=passes.arrivals * lengths.mean_decodes,
            use=self.use(passes.arrivals),
            mean_num_requests_running=running,
            kv_cache_usage_perc=0.0 if unlimited else blocks / self.num_kv_blocks,
        )


def capacity(
    prompt_tokens: NDArray[np.int64], output_tokens: NDArray[np.int64], profile: IntegerProfile, server: ServerConfig
) -> Capacity:
    """The largest rate of the server for a workload of which prompts and outputs [n], in tokens, are a sample.

    A request of the sample that can never fit the KV cache is left out and counted. Not in the model: preemptions,
    watermark and reservation at admission, which lower what a policy reaches where KV binds, and without chunked
    prefill the tokens left over by prompts that do not fit the budget's rest (measured: up to 3 %).

    Raises InputError for an empty sample or lengths below 1, when no request fits, and for a prompt larger than
    the budget without chunked prefill: it would wait for ever.

    >>> from llmqgym.hardware import load_profile
    >>> constant = load_profile("constant:iteration_ms=10").to_integers(16)
    >>> one_slot = capacity(np.array([1, 1]), np.array([50, 150]), constant, ServerConfig(max_running=1))
    >>> round(one_slot.rate_per_s, 9), one_slot.binding
    (1.0, 'slots')
    """
    blocks = profile.num_kv_blocks if server.num_kv_blocks is None else server.num_kv_blocks
    lengths = measure(prompt_tokens, output_tokens, server.block_size, blocks)
    if not server.chunked_prefill and lengths.prompt_values[-1] > server.max_batched_tokens:
        raise InputError(
            f"a prompt of {lengths.prompt_values[-1]} tokens is beyond max_batched_tokens "
            f"{server.max_batched_tokens} and waits for ever without chunked_prefill: raise max_batched_tokens or set "
            "chunked_prefill=true."
        )
    fluid = Fluid(lengths, profile, server, blocks)
    limits = _limits(fluid)
    binding = min(limits, key=limits.__getitem__)
    x = limits[binding]
    saturated_rate_per_s = fluid.rate_per_s(x)
    rates = [fluid.rate_per_s(x * part) for part in _SCAN]
    if max(rates) > _LARGER * saturated_rate_per_s:
        binding, x = "compute", x * float(_SCAN[int(np.argmax(rates))])
    return Capacity(
        rate_per_s=fluid.rate_per_s(x),
        binding=binding,
        arrivals_per_iteration=x,
        iteration_s=fluid.iteration_s(x),
        use=fluid.use(x),
        num_never_fit=lengths.num_never_fit,
        saturated_rate_per_s=saturated_rate_per_s,
        fluid=fluid,
    )


def _limits(fluid: Fluid) -> dict[str, float]:
    """The largest x for each resource; those that do not bind before the tokens are infinite."""
    tokens = fluid.server.max_batched_tokens / (fluid.lengths.mean_prompt + fluid.lengths.mean_decodes)
    limits = {"tokens": tokens}
    for name in ("slots", "kv"):
        share = partial(_share, fluid, name)
        limits[name] = _largest(share, tokens) if share(tokens) > 1 else math.inf
    return limits


def _share(fluid: Fluid, name: str, x: float) -> float:
    return float(getattr(fluid.use(x), name))


def _largest(share: Callable[[float], float], most: float, steps: int = 60) -> float:
    """The largest x up to `most` with share(x) <= 1, of a function that increases."""
    low, high = 0.0, most
    if share(most) <= 1:
        return most
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) <= 1 else (low, middle)
    return low
