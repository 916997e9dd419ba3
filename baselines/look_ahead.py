"""Admission by looking ahead: a request enters if the KV cache will hold everybody until each has finished.

Source: Jaillet et al., arXiv 2502.07115: MC-SF asks in order of length, MC-Benchmark in order of arrival, and both
stop at the first that does not fit; LightLLM's admission test is the same. Where prompts differ the order by memory
times time stands in for Sorted-F (arXiv 2508.06133). The papers' request (s, o) is ours of s + 1 prompt tokens: the
last token is not stored.
"""

from __future__ import annotations

import math
from typing import Any

from baselines.shared import blocks_of, callable_from_hooks, expected_tokens, length_of
from llmqgym.checks import check_real
from llmqgym.kernel.memory import request_at
from llmqgym.policy import Hook, Policy


@callable_from_hooks
def passes_left(request: Any) -> int:
    """Passes until a request is expected to finish, the one being composed included."""
    return expected_tokens(request) - int(request.generated_tokens)


@callable_from_hooks
def blocks_in(request: Any, passes: int, server: Any) -> int:
    """Blocks that a request will hold in the pass that is `passes` from now (the one being composed: 1); none once it
    has finished."""
    if passes > passes_left(request):
        return 0
    return blocks_of(request.prompt_tokens + request.generated_tokens + passes - 1, server)


@callable_from_hooks
def holds_in(candidate: Any, passes: int, server: Any) -> bool:
    """Whether the candidate and the running batch together find their blocks in that pass."""
    blocks = blocks_in(candidate, passes, server)
    row = server.first_running
    while row >= 0:
        running = request_at(server.requests, row)
        blocks += blocks_in(running, passes, server)
        row = running.next
    return bool(blocks <= (1.0 - server.params[0]) * server.num_kv_blocks)


def holds_to_the_end(candidate: Any, server: Any) -> bool:
    """Memory is highest just before somebody finishes: look there. Alone a request may enter, whatever is predicted."""
    if server.num_running == 0:
        return True
    if not holds_in(candidate, passes_left(candidate), server):
        return False
    row = server.first_running
    while row >= 0:
        running = request_at(server.requests, row)
        if not holds_in(candidate, passes_left(running), server):
            return False
        row = running.next
    return True


def shortest(request: Any, server: Any) -> float:
    """The output length, predicted or true."""
    return length_of(request)


def smallest_volume(request: Any, server: Any) -> float:
    """Tokens held times passes over the whole life of a request, s o + o (o + 1) / 2."""
    length = length_of(request)
    return float((request.prompt_tokens - 1) * length + length * (length + 1) / 2)


def while_waiting(server: Any) -> float:
    """What does not fit now may fit a pass later, when the ends of the running requests lie otherwise."""
    return 1.0 if server.num_waiting > 0 else math.inf


def mc_sf(protect: float = 0.0, miss: str = "stop") -> Policy:
    """MC-SF: shortest predicted first, admitted while the predicted peak fits; `protect` is the share of the KV cache
    that is kept out of the plan, `miss` whether others are tried after one that does not fit (stop or skip)."""
    return _look_ahead("mc-sf", shortest, protect, miss, oracle=False)


def mc_sf_true(protect: float = 0.0, miss: str = "stop") -> Policy:
    """MC-SF on true lengths (oracle)."""
    return _look_ahead("mc-sf-true", shortest, protect, miss, oracle=True)


def mc_benchmark(protect: float = 0.0, miss: str = "stop") -> Policy:
    """MC-Benchmark: the same test in order of arrival."""
    return _look_ahead("mc-benchmark", None, protect, miss, oracle=False)


def volume_sf(protect: float = 0.0, miss: str = "stop") -> Policy:
    """The same test in order of predicted volume, memory times time."""
    return _look_ahead("volume-sf", smallest_volume, protect, miss, oracle=False)


def _look_ahead(name: str, order: Hook | None, protect: float, miss: str, oracle: bool) -> Policy:
    return Policy(
        name,
        order=order,
        fit=holds_to_the_end,
        miss=miss,
        wake=while_waiting,
        oracle=oracle,
        params=(check_real(f"protect of {name}", protect, 0, 1),),
    )
