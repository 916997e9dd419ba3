"""The waiting queue: a heap over (ORDER key, id), unbounded, beside the request tables."""

from __future__ import annotations

import math
from typing import Any

from llmqgym.kernel import heap
from llmqgym.kernel.hooks import call_on_request, call_service
from llmqgym.kernel.jit import helper
from llmqgym.kernel.kv_cache import look_up
from llmqgym.kernel.memory import entry_at, hidden_at, request_at
from llmqgym.kernel.tables import Status

_ORDER = 0


@helper
def order_key(sim: Any, hooks: Any, request: Any) -> float:
    """The ORDER key of a waiting request: smallest first, nan last."""
    if sim.order_hook == 0:
        return 0.0
    key = call_on_request(sim, hooks, _ORDER, sim.order_hook, request)
    return math.inf if math.isnan(key) else key


@helper
def join_queue(sim: Any, hooks: Any, row: int) -> None:
    """A request begins to wait."""
    request = request_at(sim.requests, row)
    request.status = Status.WAITING
    sim.num_waiting += 1
    if sim.agent:
        hidden_at(sim.hidden, row).key = shortness(sim, hooks, request)
        call_service(sim.join_service, sim, row, 0)
    else:
        sim.num_queued = heap.push(sim.waiting, sim.num_queued, order_key(sim, hooks, request), request.id, row)


@helper
def shortness(sim: Any, hooks: Any, request: Any) -> float:
    """What an agent's window takes for short: the ORDER key, or where there is none the predicted output length."""
    key = request.predicted_output_tokens
    if sim.order_hook:
        key = order_key(sim, hooks, request)
    return math.inf if math.isnan(key) else key


@helper
def leave_queue(sim: Any, row: int) -> None:
    """A request whose status is no longer WAITING leaves: the first in the queue, or one of an agent's window."""
    if sim.agent:
        call_service(sim.leave_service, sim, row, 0)
    else:
        sim.num_queued = heap.pop(sim.waiting, sim.num_queued)
    sim.num_waiting -= 1


@helper
def set_aside(sim: Any, row: int, key: float) -> None:
    """Keep a waiting request out of the queue until this pass is over."""
    entry = entry_at(sim.aside, sim.num_aside)
    entry.key, entry.tie, entry.row = key, request_at(sim.requests, row).id, row
    sim.num_aside += 1


@helper
def set_first_aside(sim: Any) -> None:
    """Skip the first in the queue."""
    first = heap.root(sim.waiting)
    set_aside(sim, first.row, first.key)
    sim.num_queued = heap.pop(sim.waiting, sim.num_queued)


@helper
def put_aside_back(sim: Any) -> None:
    """Those set aside return to their places in the queue."""
    for place in range(sim.num_aside):
        entry = entry_at(sim.aside, place)
        sim.num_queued = heap.push(sim.waiting, sim.num_queued, entry.key, entry.tie, entry.row)
    sim.num_aside = 0


@helper
def look_all_up(sim: Any) -> None:
    """What each waiting request would find in the prefix cache, for policies whose keys depend on it."""
    for place in range(sim.num_queued):
        row = entry_at(sim.waiting, place).row
        request = request_at(sim.requests, row)
        request.cached_tokens = look_up(sim, row, request) - request.computed_tokens


@helper
def take_keys_anew(sim: Any, hooks: Any) -> None:
    """For policies whose keys change while requests wait."""
    for place in range(sim.num_queued):
        entry = entry_at(sim.waiting, place)
        entry.key = order_key(sim, hooks, request_at(sim.requests, entry.row))
    heap.heapify(sim.waiting, sim.num_queued)
