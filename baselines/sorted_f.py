"""Sorted-F: batches of many short requests first, where prompts differ.

Source: arXiv 2508.06133: F(X) = sum of outputs of X / |X|^2; again and again the feasible batch of least F is taken,
and requests are scheduled in that order. The paper finds the batch by dynamic programming, local search or a linear
program (only its abstract and a summary were read); here it is sought along prices of memory (ours): sorted by output +
price x (prompt + output), the longest feasible prefixes are compared. After some batches the rest goes by output,
until they have entered.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.look_ahead import holds_to_the_end
from baselines.shared import callable_from_hooks, expected_tokens, while_waiting
from llmqgym.checks import check_count, check_real
from llmqgym.kernel.memory import entry_at, request_at
from llmqgym.policy import Policy

#: Notes of the server: whether the order is to be made anew, and requests of its batches that still wait.
_CHANGED, _LEFT = 0, 1
#: Prices of memory that are tried: 0 and powers of two from 1/16 on.
_PRICES = 8


def note_change(request: Any, server: Any) -> None:
    """Somebody waits who has no place yet."""
    server.notes[_CHANGED] = 1.0


def count_down(request: Any, server: Any) -> None:
    """When all batches have been admitted the rest is ordered."""
    server.notes[_LEFT] -= 1.0
    if server.notes[_LEFT] <= 0.0:
        server.notes[_CHANGED] = 1.0


@callable_from_hooks
def best_prefix(outputs: Any, prompts: Any, capacity: float) -> Any:
    """The places of the batch of least F among the prefixes that fit, by price and length; in order of output."""
    best_f, best_number = np.inf, 1
    best = np.argsort(outputs, kind="mergesort")
    for number in range(_PRICES):
        price = 0.0 if number == 0 else 2.0 ** (number - 5)
        order = np.argsort(outputs + price * (prompts + outputs), kind="mergesort")
        held, total = 0.0, 0.0
        for place in range(len(order)):
            held += prompts[order[place]] + outputs[order[place]]
            if held > capacity and place > 0:
                break
            total += outputs[order[place]]
            f = total / ((place + 1.0) * (place + 1.0))
            if f < best_f:
                best_f, best_number, best = f, place + 1, order
    chosen = best[:best_number].copy()
    return chosen[np.argsort(outputs[chosen], kind="mergesort")]


@callable_from_hooks
def put_in_order(server: Any) -> None:
    """Give every waiting request its place."""
    number = server.num_queued
    rows, ids = np.empty(number, np.int64), np.empty(number, np.int64)
    for place in range(number):
        rows[place] = entry_at(server.waiting, place).row
        ids[place] = request_at(server.requests, rows[place]).id
    rows = rows[np.argsort(ids)]
    outputs, prompts = np.empty(number, np.float64), np.empty(number, np.float64)
    for place in range(number):
        request = request_at(server.requests, rows[place])
        outputs[place] = expected_tokens(request) - request.generated_tokens
        prompts[place] = request.prompt_tokens + request.generated_tokens - 1
    capacity = float(server.num_kv_blocks * server.block_size)
    given = 0
    for batch in range(int(server.params[1]) + 1):
        if len(rows) == 0:
            break
        if batch < server.params[1]:
            chosen = best_prefix(outputs, prompts, capacity)
            server.notes[_LEFT] = given + len(chosen)
        else:
            chosen = np.argsort(outputs, kind="mergesort")
        stays = np.ones(len(rows), np.bool_)
        for place in range(len(chosen)):
            request_at(server.requests, rows[chosen[place]]).notes[0] = given
            given += 1
            stays[chosen[place]] = False
        rows, outputs, prompts = rows[stays], outputs[stays], prompts[stays]


def order_anew(server: Any) -> None:
    """After arrivals, and when its batches are used up, the order is made anew."""
    if server.notes[_CHANGED] > 0.0 and server.num_queued > 0:
        put_in_order(server)
        server.notes[_CHANGED] = 0.0


def by_place(request: Any, server: Any) -> float:
    """The place that the request was given."""
    return float(request.notes[0])


def sorted_f(batches: int = 4, protect: float = 0.0) -> Policy:
    """Waiting requests in the order of batches of least F, on predicted outputs, admitted while the predicted peak
    fits. `batches` of them are sought at a time, the rest goes by output; `protect` is the share of the KV cache out of
    the plan.

    A search: O(batches x prices x waiting log waiting) after an arrival; O(running) per candidate.
    """
    return Policy(
        "sorted-f",
        order=by_place,
        rekey=True,
        fit=holds_to_the_end,
        arrive=note_change,
        admitted=count_down,
        preempted=note_change,
        begin=order_anew,
        wake=while_waiting,
        params=(
            check_real("protect of sorted-f", protect, 0, 1),
            float(check_count("batches of sorted-f", batches, 2**20)),
        ),
    )
