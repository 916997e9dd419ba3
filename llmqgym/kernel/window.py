"""What an agent is shown: the oldest waiting requests, of the others those with the smallest keys, the last admitted.

Which these are follows from who waits, not from how it came about: the window never goes stale. Of the waiting queue
it holds rows in two sorted parts; everybody else lies in two heaps, by id and by (key, id), from which the window is
refilled when somebody leaves it. Entries of requests that are no longer there go stale and are dropped when they come
up. Of the running batch it holds the rows of the last admitted.
"""

from __future__ import annotations

import math
from typing import Any

from llmqgym.kernel import heap
from llmqgym.kernel.jit import helper
from llmqgym.kernel.memory import agent_at, entry_at, hidden_at, peek, poke, request_at
from llmqgym.kernel.tables import Status

_NOWHERE, _OLDEST, _SHORTEST = 0, 1, 2
#: Predictions are summed up as whole numbers, at most this.
_LONGEST = 1e9


@helper
def _comes_first(sim: Any, part: int, row: int, other: int) -> bool:
    """Whether `row` stands before `other` in a part of the window."""
    if part == _SHORTEST:
        key, other_key = hidden_at(sim.hidden, row).key, hidden_at(sim.hidden, other).key
        if key != other_key:
            return key < other_key
    return request_at(sim.requests, row).id < request_at(sim.requests, other).id


@helper
def _insert(sim: Any, agent: Any, part: int, row: int) -> None:
    """Put a row into its place in a part that has room."""
    hidden_at(sim.hidden, row).shown = part
    if part == _OLDEST:
        first, place = 0, agent.num_oldest
        agent.num_oldest += 1
    else:
        first = agent.window_oldest
        place = first + agent.num_shortest
        agent.num_shortest += 1
    while place > first:
        before = peek(agent.window, place - 1)
        if _comes_first(sim, part, before, row):
            break
        poke(agent.window, place, before)
        place -= 1
    poke(agent.window, place, row)


@helper
def _remove(sim: Any, agent: Any, part: int, row: int) -> None:
    """Take a row out of a part of the window."""
    hidden_at(sim.hidden, row).shown = _NOWHERE
    place, end = 0, agent.num_oldest
    if part == _OLDEST:
        agent.num_oldest -= 1
    else:
        place = agent.window_oldest
        end = place + agent.num_shortest
        agent.num_shortest -= 1
    while peek(agent.window, place) != row:
        place += 1
    for later in range(place + 1, end):
        poke(agent.window, later - 1, peek(agent.window, later))


@helper
def _expected_tokens(request: Any) -> int:
    """Output tokens to reckon with: predicted, or the declared cap."""
    if math.isnan(request.predicted_output_tokens):
        return request.max_output_tokens
    return int(min(max(request.predicted_output_tokens, 0.0), _LONGEST))


@helper
def _count_unseen(agent: Any, request: Any, sign: int) -> None:
    agent.num_unseen += sign
    agent.unseen_prompt_tokens += sign * request.prompt_tokens
    agent.unseen_predicted_tokens += sign * _expected_tokens(request)


@helper
def _push(sim: Any, agent: Any, row: int) -> None:
    """Into both heaps."""
    id, key = request_at(sim.requests, row).id, hidden_at(sim.hidden, row).key
    agent.num_ages = heap.push(agent.ages, agent.num_ages, 0.0, id, row)
    agent.num_keys = heap.push(agent.keys, agent.num_keys, key, id, row)


@helper
def _fill_heaps_anew(sim: Any, agent: Any) -> None:
    """Without the stale entries: one in each heap for everybody who waits and is not shown."""
    agent.num_ages = agent.num_keys = 0
    for row in range(sim.capacity):
        if request_at(sim.requests, row).status == Status.WAITING and hidden_at(sim.hidden, row).shown == _NOWHERE:
            _push(sim, agent, row)


@helper
def _hide(sim: Any, agent: Any, row: int) -> None:
    """A waiting request is out of sight, and has no score."""
    hidden = hidden_at(sim.hidden, row)
    hidden.shown, hidden.score = _NOWHERE, -1.0
    _count_unseen(agent, request_at(sim.requests, row), 1)
    if agent.num_ages == agent.heap_capacity or agent.num_keys == agent.heap_capacity:
        _fill_heaps_anew(sim, agent)
    else:
        _push(sim, agent, row)


@helper
def _is_stale(sim: Any, entry: Any) -> bool:
    request = request_at(sim.requests, entry.row)
    shown = hidden_at(sim.hidden, entry.row).shown != _NOWHERE
    return shown or request.status != Status.WAITING or request.id != entry.tie


@helper
def _without_stale(sim: Any, entries: int, count: int) -> int:
    """Drop stale entries from the root of a heap of `count`; returns the new count."""
    while count > 0 and _is_stale(sim, entry_at(entries, 0)):
        count = heap.pop(entries, count)
    return count


@helper
def _oldest_unseen(sim: Any, agent: Any) -> int:
    """Its row, -1: none."""
    agent.num_ages = _without_stale(sim, agent.ages, agent.num_ages)
    return heap.root(agent.ages).row if agent.num_ages > 0 else -1


@helper
def _shortest_unseen(sim: Any, agent: Any) -> int:
    """Its row, -1: none."""
    agent.num_keys = _without_stale(sim, agent.keys, agent.num_keys)
    return heap.root(agent.keys).row if agent.num_keys > 0 else -1


@helper
def _oldest_of_the_shortest(sim: Any, agent: Any) -> int:
    """The row of the smallest id in the second part, -1: it is empty."""
    oldest = -1
    for place in range(agent.window_oldest, agent.window_oldest + agent.num_shortest):
        row = peek(agent.window, place)
        if oldest < 0 or request_at(sim.requests, row).id < request_at(sim.requests, oldest).id:
            oldest = row
    return oldest


@helper
def _refill_oldest(sim: Any, agent: Any) -> None:
    """Somebody has left the first part: the oldest of all others takes the place."""
    row, shown = _oldest_unseen(sim, agent), _oldest_of_the_shortest(sim, agent)
    if shown >= 0 and (row < 0 or request_at(sim.requests, shown).id < request_at(sim.requests, row).id):
        _remove(sim, agent, _SHORTEST, shown)
        _insert(sim, agent, _OLDEST, shown)
        _refill_shortest(sim, agent)
    elif row >= 0:
        _count_unseen(agent, request_at(sim.requests, row), -1)
        _insert(sim, agent, _OLDEST, row)


@helper
def _refill_shortest(sim: Any, agent: Any) -> None:
    """Somebody has left the second part: the shortest of those out of sight takes the place."""
    row = _shortest_unseen(sim, agent)
    if row >= 0:
        _count_unseen(agent, request_at(sim.requests, row), -1)
        _insert(sim, agent, _SHORTEST, row)


@helper
def _join(sim: Any, agent: Any, row: int) -> None:
    """Into the part of the window where it belongs, and whoever falls out of it into the next, or out of sight."""
    for part in (_OLDEST, _SHORTEST):
        if part == _OLDEST:
            room, first, count = agent.window_oldest, 0, agent.num_oldest
        else:
            room, first = agent.window_waiting - agent.window_oldest, agent.window_oldest
            count = agent.num_shortest
        if count < room:
            _insert(sim, agent, part, row)
            return
        if room == 0:
            continue
        last = peek(agent.window, first + room - 1)
        if _comes_first(sim, part, row, last):
            _remove(sim, agent, part, last)
            _insert(sim, agent, part, row)
            row = last
    _hide(sim, agent, row)


def join_service(sim: Any, row: int, number: int) -> int:
    """Service: a request begins to wait, with the key that makes it short."""
    hidden_at(sim.hidden, row).score = -1.0
    _join(sim, agent_at(sim.agent, 0), row)
    return 0


def leave_service(sim: Any, row: int, number: int) -> int:
    """Service: a request waits no longer; its status says so already."""
    agent = agent_at(sim.agent, 0)
    part = hidden_at(sim.hidden, row).shown
    if part == _OLDEST:
        _remove(sim, agent, _OLDEST, row)
        _refill_oldest(sim, agent)
    elif part == _SHORTEST:
        _remove(sim, agent, _SHORTEST, row)
        _refill_shortest(sim, agent)
    else:  # its entries in the heaps go stale
        _count_unseen(agent, request_at(sim.requests, row), -1)
    return 0


def gather_service(sim: Any, row: int, number: int) -> int:
    """Service: the whole waiting queue into the kernel's own heap, for policies whose BEGIN or changing keys ask it."""
    sim.num_queued = 0
    for row in range(sim.capacity):
        request = request_at(sim.requests, row)
        if request.status == Status.WAITING:
            key = hidden_at(sim.hidden, row).key
            sim.num_queued = heap.push(sim.waiting, sim.num_queued, key, request.id, row)
    return 0


def spread_service(sim: Any, row: int, number: int) -> int:
    """Service: that queue, with keys as they are now, back into window and heaps."""
    agent = agent_at(sim.agent, 0)
    agent.num_oldest = agent.num_shortest = agent.num_ages = agent.num_keys = 0
    agent.num_unseen = agent.unseen_prompt_tokens = agent.unseen_predicted_tokens = 0
    for place in range(sim.num_queued):
        hidden_at(sim.hidden, entry_at(sim.waiting, place).row).shown = _NOWHERE
    for place in range(sim.num_queued):
        entry = entry_at(sim.waiting, place)
        hidden_at(sim.hidden, entry.row).key = entry.key
        _join(sim, agent, entry.row)
    sim.num_queued = 0
    return 0


def enter_service(sim: Any, row: int, number: int) -> int:
    """Service: a request has been admitted; it is shown first."""
    agent = agent_at(sim.agent, 0)
    num = min(agent.num_shown_running + 1, agent.window_running)
    for place in range(num - 1, 0, -1):
        poke(agent.running, place, peek(agent.running, place - 1))
    if num > 0:
        poke(agent.running, 0, row)
    agent.num_shown_running = num
    return 0


def exit_service(sim: Any, row: int, number: int) -> int:
    """Service: a request is no longer running; if it was shown, one admitted earlier takes the free place. That one has
    no score before the next step, and nobody's is above it."""
    agent = agent_at(sim.agent, 0)
    num, place = agent.num_shown_running, 0
    while place < num and peek(agent.running, place) != row:
        place += 1
    if place == num:
        return 0
    for later in range(place + 1, num):
        poke(agent.running, later - 1, peek(agent.running, later))
    num -= 1
    before = request_at(sim.requests, peek(agent.running, num - 1)).previous if num > 0 else sim.last_running
    if before >= 0:
        poke(agent.running, num, before)
        hidden_at(sim.hidden, before).score = math.inf
        num += 1
    agent.num_shown_running = num
    return 0


@helper
def size(agent: Any) -> int:
    """Requests in the window."""
    return agent.num_oldest + agent.num_shortest


@helper
def row_at(agent: Any, place: int) -> int:
    """The row of a place 0, 1, .. `size` - 1 of the window: the oldest, then the shortest."""
    return peek(agent.window, place if place < agent.num_oldest else place - agent.num_oldest + agent.window_oldest)
