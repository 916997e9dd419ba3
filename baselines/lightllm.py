"""LightLLM: by arrival, while the peak of memory to come fits; Past-Future learns lengths from those that finished.

Source: ModelTC/lightllm, router/req_queue/chunked_prefill/impl.py; FuturePastReqQueue of commit f50e8413; Past-Future,
arXiv 2507.10150 (ASPLOS 2025). Prefills come in batches of their own, the last admitted is the victim. The peak is
that of this server, whose last token is never stored: LightLLM's own counts one more for everybody.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baselines.peak import peak_fits
from baselines.shared import callable_from_hooks, while_waiting
from llmqgym.checks import check_count, check_real
from llmqgym.errors import unknown
from llmqgym.kernel.hashing import uniform
from llmqgym.kernel.memory import request_at
from llmqgym.policy import Policy

#: Notes of the server: finished requests, the iteration of the last try, whether this composition tries; then the last
#: lengths in the order of finishing, and in the order of size.
_COUNT, _TRIED, _TRIES, _RING, _SORTED = 0, 1, 2, 8, 208
_HISTORY = 200
_MOST_DRAWS = 5
_SEED = 2507
#: Modes of planning.
_CONSERVATIVE, _AGGRESSIVE = 0.0, 1.0


@callable_from_hooks
def planned_left(request: Any, server: Any) -> int:
    """Tokens to plan for: all of the cap, or 1.1 times what there is, 1024 at least."""
    cap, generated = int(request.max_output_tokens), int(request.generated_tokens)
    if server.params[1] == _AGGRESSIVE:
        cap = min(cap, int(max(1.1 * generated, 1024.0)))
    return max(cap - generated, 1)


@callable_from_hooks
def below(share: float, server: Any) -> int:
    """The largest number of blocks that is less than this share of all."""
    return int(np.ceil(share * server.num_kv_blocks)) - 1


def plan_fits(candidate: Any, server: Any) -> bool:
    """The peak of running requests and the candidate stays below the KV cache; alone a request may enter."""
    if server.num_running == 0:
        return True
    if server.notes[_TRIES] == 0.0:
        return False
    passes = np.empty(server.num_running + 1, np.int64)
    stored = np.empty(server.num_running + 1, np.int64)
    passes[0] = planned_left(candidate, server)
    stored[0] = candidate.prompt_tokens + candidate.generated_tokens - 1
    row = server.first_running
    for place in range(1, server.num_running + 1):
        running = request_at(server.requests, row)
        passes[place] = planned_left(running, server)
        stored[place] = running.prompt_tokens + running.generated_tokens - 1
        row = running.next
    return peak_fits(passes, stored, server, below(1.0 - server.params[2], server))


def decide_to_try(server: Any) -> None:
    """Admission is tried when nothing runs, else at most every so many decode steps."""
    if server.num_waiting > 0:
        due = server.num_running == 0 or server.num_iterations - server.notes[_TRIED] >= server.params[0]
        server.notes[_TRIES] = 1.0 if due else 0.0
        if due:
            server.notes[_TRIED] = server.num_iterations


def remember_length(request: Any, server: Any) -> None:
    """The length of a finished request takes the place of the oldest of 200."""
    count, new = int(server.notes[_COUNT]), float(request.generated_tokens)
    place = _RING + count % _HISTORY
    known = min(count, _HISTORY)
    if known == _HISTORY:
        gone = 0
        while server.notes[_SORTED + gone] != server.notes[place]:
            gone += 1
        for later in range(gone, _HISTORY - 1):
            server.notes[_SORTED + later] = server.notes[_SORTED + later + 1]
        known -= 1
    while known > 0 and server.notes[_SORTED + known - 1] > new:
        server.notes[_SORTED + known] = server.notes[_SORTED + known - 1]
        known -= 1
    server.notes[_SORTED + known] = new
    server.notes[place] = new
    server.notes[_COUNT] = count + 1.0


@callable_from_hooks
def length_at(place: int, known: int, cap: float, server: Any) -> float:
    """The history in order of size, filled up with the cap."""
    return float(server.notes[_SORTED + place]) if place < known else cap


@callable_from_hooks
def drawn_left(request: Any, server: Any, draw: int) -> int:
    """Tokens to come, if the request's length is one of the history beyond what it has, interpolated; the cap if there
    is none."""
    known = int(min(server.notes[_COUNT], _HISTORY))
    cap, generated = float(request.max_output_tokens), float(request.generated_tokens)
    low, high = 0, known
    while low < high:
        middle = (low + high) // 2
        if server.notes[_SORTED + middle] > generated:
            high = middle
        else:
            low = middle + 1
    length = cap
    if low < _HISTORY:
        index = server.num_iterations * _MOST_DRAWS + draw
        place = low + uniform(_SEED, request.id, index) * (_HISTORY - 1 - low)
        whole = int(place)
        first = length_at(whole, known, cap, server)
        second = length_at(min(whole + 1, _HISTORY - 1), known, cap, server)
        length = first + (place - whole) * (second - first)
    return int(max(math.ceil(min(length, cap)) - generated, 1.0))


def likely_peak_fits(candidate: Any, server: Any) -> bool:
    """The worst peak of some draws of everybody's length stays below the KV cache less its reserve."""
    if server.num_running == 0:
        return True
    if server.notes[_TRIES] == 0.0:
        return False
    number = server.num_running + 1
    passes, stored = np.empty(number, np.int64), np.empty(number, np.int64)
    for draw in range(min(_MOST_DRAWS, _HISTORY // number + 1)):
        passes[0] = drawn_left(candidate, server, draw)
        stored[0] = candidate.prompt_tokens + candidate.generated_tokens - 1
        row = server.first_running
        for place in range(1, number):
            running = request_at(server.requests, row)
            passes[place] = drawn_left(running, server, draw)
            stored[place] = running.prompt_tokens + running.generated_tokens - 1
            row = running.next
        if not peak_fits(passes, stored, server, below(1.0 - server.params[2], server)):
            return False
    return True


def lightllm(mode: str = "conservative", every: int = 6) -> Policy:
    """LightLLM: by arrival, while the peak of all planned lengths stays below the KV cache. `mode` conservative plans
    with declared caps, aggressive with 1.1 times what a request has, 1024 tokens at least. A prefill batch is tried
    `every` so many decode steps at most.

    O(running) per candidate, O(n log n) where memory is nearly full.
    """
    modes = {"conservative": _CONSERVATIVE, "aggressive": _AGGRESSIVE}
    if mode not in modes:
        raise unknown("setting mode of policy 'lightllm'", str(mode), modes)
    every = check_count("every of lightllm", every, 2**40)
    return Policy(
        "lightllm",
        fit=plan_fits,
        begin=decide_to_try,
        mix="prefill_first",
        wake=while_waiting,
        params=(float(every), modes[mode], 0.0),
    )


def past_future(reserve: float = 0.05, every: int = 6) -> Policy:
    """Past-Future: by arrival, while the peak fits for lengths drawn from the last 200 finished ones, each given what
    the request has generated already: min(5, 200 / batch + 1) draws, the worst below the KV cache less the share
    `reserve`. The history begins with everybody's cap. A prefill batch is tried `every` so many decode steps at most.

    O(draws x n) per candidate, O(draws x n log n) where memory is nearly full.
    """
    return Policy(
        "past-future",
        fit=likely_peak_fits,
        begin=decide_to_try,
        finished=remember_length,
        mix="prefill_first",
        wake=while_waiting,
        params=(
            float(check_count("every of past-future", every, 2**40)),
            _CONSERVATIVE,
            check_real("reserve of past-future", reserve, 0, 1),
        ),
    )
