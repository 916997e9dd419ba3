"""Admission by looking ahead: a request enters if the KV cache will hold everybody until each has finished.

Source: Jaillet et al., arXiv 2502.07115: MC-SF asks in order of length, MC-Benchmark in order of arrival, and both
stop at the first that does not fit; LightLLM's admission test is the same. Where prompts differ the order by memory
times time stands in for Sorted-F (arXiv 2508.06133). The papers' request (s, o) is ours of s + 1 prompt tokens: the
last token is not stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.peak import peak_fits
from baselines.shared import callable_from_hooks, expected_tokens, length_of, while_waiting
from llmqgym.checks import check_real
from llmqgym.kernel.memory import request_at
from llmqgym.policy import Hook, Policy


@callable_from_hooks
def passes_left(request: Any) -> int:
    """Passes until a request is expected to finish, the one being composed included."""
    return expected_tokens(request) - int(request.generated_tokens)


def holds_to_the_end(candidate: Any, server: Any) -> bool:
    """Whether the candidate and the running batch find their blocks until each has finished. Alone a request may enter,
    whatever is predicted."""
    if server.num_running == 0:
        return True
    passes = np.empty(server.num_running + 1, np.int64)
    stored = np.empty(server.num_running + 1, np.int64)
    passes[0] = passes_left(candidate)
    stored[0] = candidate.prompt_tokens + candidate.generated_tokens - 1
    row = server.first_running
    for place in range(1, server.num_running + 1):
        running = request_at(server.requests, row)
        passes[place] = passes_left(running)
        stored[place] = running.prompt_tokens + running.generated_tokens - 1
        row = running.next
    return peak_fits(passes, stored, server, int((1.0 - server.params[0]) * server.num_kv_blocks))


def shortest(request: Any, server: Any) -> float:
    """The output length, predicted or true."""
    return length_of(request)


def smallest_volume(request: Any, server: Any) -> float:
    """Tokens held times passes over the whole life of a request, s o + o (o + 1) / 2."""
    length = length_of(request)
    return float((request.prompt_tokens - 1) * length + length * (length + 1) / 2)


def mc_sf(protect: float = 0.0, miss: str = "stop") -> Policy:
    """MC-SF: shortest predicted first, admitted while the predicted peak fits; `protect` is the share of the KV cache
    that is kept out of the plan, `miss` whether others are tried after one that does not fit (stop or skip)."""
    return _look_ahead("mc-sf", shortest, protect, miss, oracle=False)


def mc_sf_true(protect: float = 0.0, miss: str = "stop") -> Policy:
    """MC-SF on true lengths (oracle); `protect` and `miss` as in `mc-sf`."""
    return _look_ahead("mc-sf-true", shortest, protect, miss, oracle=True)


def mc_benchmark(protect: float = 0.0, miss: str = "stop") -> Policy:
    """MC-Benchmark: the same test in order of arrival; `protect` and `miss` as in `mc-sf`."""
    return _look_ahead("mc-benchmark", None, protect, miss, oracle=False)


def volume_sf(protect: float = 0.0, miss: str = "stop") -> Policy:
    """The same test in order of predicted volume, memory times time; `protect` and `miss` as in `mc-sf`."""
    return _look_ahead("volume-sf", smallest_volume, protect, miss, oracle=False)


def volume_sf_true(protect: float = 0.0, miss: str = "stop") -> Policy:
    """Volume-first on true lengths (oracle); `protect` and `miss` as in `mc-sf`."""
    return _look_ahead("volume-sf-true", smallest_volume, protect, miss, oracle=True)


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
