"""Andes: who gains most quality of experience per token of memory runs, when memory is short.

Source: Liu et al., arXiv 2404.16283, and a public vLLM fork. The quality of experience (RECALL) is 1 - delayed area /
whole area between the tokens that a reader expects, from the limit on the first token on at a reading speed, and those
delivered. Ours: a request's tokens are what it has generated, the gain of the next iterations is measured at four
instants, and the rate of generation is a parameter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.shared import blocks_of, callable_from_hooks, passes_gate, while_waiting
from llmqgym.checks import check_count, check_real
from llmqgym.kernel.memory import entry_at, request_at
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.policy import Policy

#: Notes of a request: whether it is to run, and its gain per token of memory. Of the server: whether memory is short,
#: and the iteration in which that was decided.
_CHOSEN, _DENSITY = 0, 1
_SHORT, _DECIDED = 0, 1
#: Params: iterations between decisions, share of memory that is short, seconds an iteration, reading speed in tokens a
#: second, limit on the first token where there is none, seconds.
_EVERY, _FULL, _PASS_S, _SPEED, _TTFT_S = range(5)
_INSTANTS = 4


@callable_from_hooks
def gain_of(request: Any, server: Any) -> float:
    """Q of being served for the next iterations less Q of waiting: the area that the reader gains, of the whole area
    that it expects up to then."""
    ttft_s = server.params[_TTFT_S] if request.ttft_limit_ps < 0 else request.ttft_limit_ps / PS_PER_S
    age_s = (server.clock_ps - request.arrival_ps) / PS_PER_S - ttft_s
    span_s = server.params[_EVERY] * server.params[_PASS_S]
    gained = 0.0
    for instant in range(1, _INSTANTS + 1):
        later_s = span_s * instant / _INSTANTS
        owed = server.params[_SPEED] * (age_s + later_s) - request.generated_tokens
        gained += min(max(owed, 0.0), later_s / server.params[_PASS_S]) * span_s / _INSTANTS
    whole_s = max(age_s + span_s, span_s)
    return float(gained / (0.5 * server.params[_SPEED] * whole_s * whole_s))


@callable_from_hooks
def context_of(request: Any) -> int:
    """Tokens that a request must have in memory to go on."""
    return int(request.prompt_tokens + request.generated_tokens)


@callable_from_hooks
def choose(server: Any) -> None:
    """Greedy knapsack over running and waiting requests: by gain per token of memory, while blocks and slots hold."""
    number = server.num_running + server.num_queued
    rows, ids, density = np.empty(number, np.int64), np.empty(number, np.int64), np.empty(number, np.float64)
    row = server.first_running
    for place in range(number):
        if place < server.num_running:
            rows[place] = row
            row = request_at(server.requests, row).next
        else:
            rows[place] = entry_at(server.waiting, place - server.num_running).row
        request = request_at(server.requests, rows[place])
        ids[place] = request.id
        density[place] = gain_of(request, server) / context_of(request)
    by_id = np.argsort(ids)
    order = by_id[np.argsort(-density[by_id], kind="mergesort")]
    blocks, chosen = 0, 0
    for place in range(number):
        request = request_at(server.requests, rows[order[place]])
        needed = blocks_of(context_of(request) + int(server.params[_EVERY]), server)
        fits = blocks + needed <= server.num_kv_blocks and chosen < server.max_running
        request.notes[_CHOSEN] = 1.0 if fits else 0.0
        request.notes[_DENSITY] = density[order[place]]
        if fits:
            blocks += needed
            chosen += 1


def decide(server: Any) -> None:
    """While somebody waits, every so many iterations: is memory short, and who is to run?"""
    if server.num_waiting == 0:
        server.notes[_SHORT] = 0.0
        return
    if server.num_iterations - server.notes[_DECIDED] < server.params[_EVERY] and server.notes[_SHORT] > 0.0:
        return
    used = 1.0 - server.free_kv_blocks / server.num_kv_blocks
    server.notes[_SHORT] = 1.0 if used >= server.params[_FULL] else 0.0
    if server.notes[_SHORT] > 0.0:
        server.notes[_DECIDED] = server.num_iterations
        choose(server)


def densest(request: Any, server: Any) -> float:
    """The chosen, by gain per token of memory; by arrival while memory is not short."""
    if server.notes[_SHORT] == 0.0:
        return 0.0
    return -request.notes[_DENSITY] if request.notes[_CHOSEN] > 0.0 else 1.0


def may_run(request: Any, server: Any) -> bool:
    """The chosen; everybody while memory is not short, or when nobody runs."""
    chosen = server.notes[_SHORT] == 0.0 or server.num_running == 0 or request.notes[_CHOSEN] > 0.0
    return chosen and passes_gate(request, server)


def paused_for(running: Any, candidate: Any, server: Any) -> float:
    """A request that was not chosen leaves for one that was."""
    better = server.notes[_SHORT] > 0.0 and candidate.notes[_CHOSEN] > 0.0 and running.notes[_CHOSEN] == 0.0
    return 1.0 if better else 0.0


def least_dense(running: Any, requester: Any, server: Any) -> float:
    """Victim: who gains least per token of memory, if that was asked."""
    return 0.0 if server.notes[_SHORT] == 0.0 else -float(running.notes[_DENSITY])


def andes(
    every: int = 10,
    full: float = 0.9,
    pass_s: float = 0.03,
    speed: float = 5.0,
    ttft_s: float = 1.0,
    mode: str = "recompute",
) -> Policy:
    """When the share `full` of memory is used, and `every` so many iterations while it is, a greedy knapsack chooses
    who runs: by what the next iterations add to the quality of experience, per token of context. Else everybody is
    admitted by arrival. `pass_s` seconds an iteration and a reader of `speed` tokens a second (ours) who expects the
    first after the request's limit, or `ttft_s`; `mode` of preemption.

    O(n log n) every so many iterations while memory is short, O(waiting) an iteration while somebody waits.
    """
    return Policy(
        "andes",
        order=densest,
        rekey=True,
        fit=may_run,
        preempt=paused_for,
        victim=least_dense,
        preempt_mode=mode,
        begin=decide,
        wake=while_waiting,
        params=(
            float(check_count("every of andes", every, 2**20)),
            check_real("full of andes", full, 0, 1),
            check_real("pass_s of andes", pass_s, 1e-9, 1e6),
            check_real("speed of andes", speed, 1e-9, 1e9),
            check_real("ttft_s of andes", ttft_s, 0, 1e9),
        ),
    )
