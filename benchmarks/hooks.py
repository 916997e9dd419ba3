"""Ways to call a policy's hook from a compiled loop: what a call costs, and what a new policy costs to compile.

Run: python benchmarks/hooks.py
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel import tables
from llmqgym.kernel.compile import address_of_hook
from llmqgym.kernel.hooks import SIGNATURES, _call2
from llmqgym.kernel.memory import address_of, request_at, visible
from llmqgym.policy import Policy
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests

_CALLS = 20_000_000
_ROUNDS = 7


def order(request: Any, server: Any) -> float:
    """A hook of the usual size."""
    return request.predicted_output_tokens - request.generated_tokens + server.params[0]


def _fresh_hook(number: int) -> Callable[..., float]:
    """A function that no cache has seen: its text differs from run to run."""
    scope: dict[str, Any] = {}
    exec(
        f"def order(request, server):\n    return request.predicted_output_tokens * {time.time_ns() + number}.0", scope
    )
    return scope["order"]  # type: ignore[no-any-return]


def _loops() -> dict[str, Callable[[np.ndarray], float]]:
    inline = numba.njit(order)
    pointer = numba.cfunc(SIGNATURES["order"])(order)
    address = address_of_hook("order", order)

    @numba.njit
    def by_address(sims: np.ndarray, hook: int, calls: int) -> float:
        sim, total = sims[0], 0.0
        for i in range(calls):
            total += _call2(hook, request_at(sim.requests, i % 16), visible(sim))
        return total

    @numba.njit
    def first_class(sims: np.ndarray, hook: Any, calls: int) -> float:
        sim, total = sims[0], 0.0
        for i in range(calls):
            total += hook(request_at(sim.requests, i % 16), visible(sim))
        return total

    @numba.njit
    def inlined(sims: np.ndarray, calls: int) -> float:
        sim, total = sims[0], 0.0
        for i in range(calls):
            total += inline(request_at(sim.requests, i % 16), visible(sim))
        return total

    return {
        "address of machine code": lambda sims: by_address(sims, address, _CALLS),
        "numba first-class function": lambda sims: first_class(sims, pointer, _CALLS),
        "inlined": lambda sims: inlined(sims, _CALLS),
    }


def call_costs() -> dict[str, float]:
    """Nanoseconds a call, least of several interleaved rounds, loop included."""
    rows = np.zeros(16, tables.REQUEST)
    sims = np.zeros(1, tables.SIMULATOR)
    sims[0].requests = address_of(rows)
    loops = _loops()
    best = dict.fromkeys(loops, float("inf"))
    for loop in loops.values():
        loop(sims)
    for _ in range(_ROUNDS):
        for name, loop in loops.items():
            start = time.process_time()
            loop(sims)
            best[name] = min(best[name], time.process_time() - start)
    return {name: seconds / _CALLS * 1e9 for name, seconds in best.items()}


def compile_costs() -> dict[str, float]:
    """Seconds until a policy that is new can run its first iteration."""
    requests = make_requests(arrival_s=[0.0], prompt_tokens=[1], output_tokens=[1])
    profile = load_profile("iterations").to_integers(16)
    seconds = {}

    def run(policy: Policy, inline: bool) -> float:
        start = time.process_time()
        Simulator(ServerConfig(), profile, policy, inline=inline).run(iter([requests]))
        return time.process_time() - start

    run(Policy("warm"), False)
    address_of_hook("order", _fresh_hook(0))  # numba's own first compilation
    seconds["new policy, one hook by address"] = run(Policy("a", order=_fresh_hook(1)), False)
    seconds["new policy, one hook inlined"] = run(Policy("b", order=_fresh_hook(2)), True)
    return seconds


def main() -> None:
    warnings.simplefilter("ignore", numba.core.errors.NumbaExperimentalFeatureWarning)
    print(json.dumps({"ns_per_call": call_costs(), "compile_cpu_s": compile_costs()}, indent=2))


if __name__ == "__main__":
    main()
