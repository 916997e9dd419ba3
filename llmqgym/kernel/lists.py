"""The running batch (in admission order) and the requests on hold (in the order of holding): linked lists through
REQUEST.

A request is in at most one of them; both join and leave in constant time, wherever it stands.
"""

from __future__ import annotations

from typing import Any

from llmqgym.kernel.hooks import call_service
from llmqgym.kernel.jit import helper
from llmqgym.kernel.memory import hidden_at, request_at


@helper
def append_running(sim: Any, row: int) -> None:
    """Put a request at the end of the running batch."""
    request = request_at(sim.requests, row)
    request.previous = sim.last_running
    request.next = -1
    if sim.last_running >= 0:
        request_at(sim.requests, sim.last_running).next = row
    else:
        sim.first_running = row
    sim.last_running = row
    sim.num_running += 1
    if sim.agent:
        call_service(sim.enter_service, sim, row, 0)


@helper
def _unlink(sim: Any, row: int) -> None:
    request = request_at(sim.requests, row)
    if request.previous >= 0:
        request_at(sim.requests, request.previous).next = request.next
    if request.next >= 0:
        request_at(sim.requests, request.next).previous = request.previous


@helper
def remove_running(sim: Any, row: int) -> None:
    """Take a request out of the running batch."""
    request = request_at(sim.requests, row)
    _unlink(sim, row)
    if sim.first_running == row:
        sim.first_running = request.next
    if sim.last_running == row:
        sim.last_running = request.previous
    request.previous = -1
    request.next = -1
    sim.num_running -= 1
    if sim.agent:
        call_service(sim.exit_service, sim, row, 0)


@helper
def append_held(sim: Any, row: int) -> None:
    """Note that a waiting request holds blocks."""
    request = request_at(sim.requests, row)
    request.previous = sim.last_held
    request.next = -1
    if sim.last_held >= 0:
        request_at(sim.requests, sim.last_held).next = row
    else:
        sim.first_held = row
    sim.last_held = row
    hidden_at(sim.hidden, row).held = 1


@helper
def remove_held(sim: Any, row: int) -> None:
    """It holds none any more, or is running again."""
    request = request_at(sim.requests, row)
    _unlink(sim, row)
    if sim.first_held == row:
        sim.first_held = request.next
    if sim.last_held == row:
        sim.last_held = request.previous
    request.previous = -1
    request.next = -1
    hidden_at(sim.hidden, row).held = 0
