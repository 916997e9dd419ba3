"""Exact optima in unit rounds by branch and bound: each set of requests after all that it contains (Russian dolls)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from llmqgym.kernel.jit import entry_point, helper

Ints = NDArray[np.int64]

#: Places in `Search.state`.
_BEST, _NODES = 0, 1
#: Columns of `Search.path`: what has started and what is left at a node; the request that is tried next, and its start.
_REST, _LAST, _BEGUN, _ENDED, _SPENT, _NUM, _COMING, _CHOSEN, _START = range(9)
#: A start that leads to nothing.
_NEVER = 1 << 40


class Search(NamedTuple):
    """n requests and what is known of their sets; bit i of a set stands for request i.

    The requests of a set start in order of (start, index). When some have started and the rest R start after round t or
    later, the rest complete at `least[R]` in all or later, for without the others they are a schedule of R; and at
    |R| t + `at_once[R]` or later, for they are also one of R with all arrivals at 0, moved by t. Sets come in ascending
    order, so that these are known of every part of a set when its turn comes. Of the set S itself, each schedule of it
    has schedules of S without i, for each i in S, and counts every completion in |S| - 1 of these: least[S] is at least
    the sum of their `least` / (|S| - 1).
    """

    arrival: Ints  #: [n]
    prompt: Ints  #: [n]
    output: Ints  #: [n]
    capacity: int  #: tokens
    twins: Ints  #: [n], the set of all earlier requests that are the same: they start no later
    least: Ints  #: [2^n], the least total completion of a set
    at_once: Ints  #: [2^n], the same if all arrive at 0; the same array where they do
    orders: NDArray[np.int8]  #: [2^n, n], an order in which each as early as it can makes a good schedule
    held: Ints  #: [rounds], scratch: tokens held in each
    starts: Ints  #: [n], scratch
    best: Ints  #: [n], starts of the best schedule found; -1: none better than by order
    path: Ints  #: [n + 1, 9], scratch: the nodes from the root on
    state: Ints  #: [2]: its total completion, nodes visited


def new_search(arrival: Ints, prompt: Ints, output: Ints, capacity: int) -> Search:
    """Before the first set."""
    num = len(arrival)
    same = (arrival[:, None] == arrival) & (prompt[:, None] == prompt) & (output[:, None] == output)
    least = np.zeros(1 << num, np.int64)
    return Search(
        arrival=arrival,
        prompt=prompt,
        output=output,
        capacity=capacity,
        twins=(np.tril(same, -1) @ (1 << np.arange(num))).astype(np.int64),
        least=least,
        at_once=least,
        orders=np.zeros((1 << num, num), np.int8),
        held=np.zeros(int(arrival.max() + output.sum()) + 1, np.int64),
        starts=np.zeros(num, np.int64),
        best=np.zeros(num, np.int64),
        path=np.zeros((num + 1, 9), np.int64),
        state=np.zeros(2, np.int64),
    )


@entry_point
def settle(search: Any, members: int, most_nodes: int) -> bool:
    """Find `least` of a set, or give up after so many nodes; then False, and `least` is a lower bound."""
    num, total = 0, 0
    for i in range(len(search.arrival)):
        if members >> i & 1:
            num += 1
            total += search.least[members ^ (1 << i)]
            last = search.output[i] + search.arrival[i]
    search.held[:] = 0
    bound = last if num == 1 else -(-total // (num - 1))
    search.least[members] = max(bound, search.least[members], search.at_once[members])
    search.state[_BEST] = _best_insertion(search, members, num)
    search.state[_NODES] = 0
    search.best[:] = -1
    if search.state[_BEST] > search.least[members]:
        _explore(search, members, most_nodes)
        if search.state[_NODES] > most_nodes:
            return False
        search.least[members] = search.state[_BEST]
        if search.best.max() >= 0:
            _note_order(search, members)
    return True


@entry_point
def in_order(search: Any, order: NDArray[np.int8], num: int) -> int:
    """Total completion if the first `num` of an order start in turn, each as early as it fits; sets `starts`."""
    search.held[:] = 0
    total = 0
    for k in range(num):
        i = order[k]
        start = search.arrival[i]
        while not _fits(search, i, start):
            start += 1
        _hold(search, i, start, 1)
        search.starts[i] = start
        total += start + search.output[i]
    search.held[:] = 0
    return total


@helper
def _explore(search: Any, members: int, most_nodes: int) -> None:
    """All schedules of a set that may be better, depth first; ends early after so many nodes."""
    depth = 0
    _enter(search, depth, members, -1, 0, 0, 0)
    while depth >= 0 and search.state[_NODES] <= most_nodes:
        node = search.path[depth]
        if _advance(search, node):
            i, start = node[_CHOSEN], node[_START]
            _hold(search, i, start, 1)
            search.starts[i] = start
            end, spent = max(node[_ENDED], start + search.output[i]), node[_SPENT] + start + search.output[i]
            depth += 1
            _enter(search, depth, node[_REST] ^ (1 << i), i, start, end, spent)
            continue
        depth -= 1
        if depth >= 0:
            node = search.path[depth]
            _hold(search, node[_CHOSEN], node[_START], -1)
            # With nobody running and all there, a later start is the same schedule of the rest, later.
            node[_START] = _NEVER if node[_START] >= max(node[_ENDED], node[_COMING]) else node[_START] + 1


@helper
def _enter(search: Any, depth: int, rest: int, last: int, begun: int, ended: int, spent: int) -> None:
    """A node: request `last` was the last to start, after round `begun`; those that have started end by round `ended`
    and complete at `spent` in all."""
    search.state[_NODES] += 1
    if rest == 0 and spent < search.state[_BEST]:
        search.state[_BEST] = spent
        search.best[:] = search.starts
    node = search.path[depth]
    node[_REST], node[_LAST], node[_BEGUN], node[_ENDED], node[_SPENT] = rest, last, begun, ended, spent
    node[_NUM], node[_COMING], node[_CHOSEN], node[_START] = 0, 0, -1, _NEVER
    for i in range(len(search.arrival)):
        if rest >> i & 1:
            node[_NUM] += 1
            node[_COMING] = max(node[_COMING], search.arrival[i])


@helper
def _advance(search: Any, node: Any) -> bool:
    """To the next start of the request chosen at a node, or of those after it, that fits and may be better."""
    num, rest = len(search.arrival), node[_REST]
    while True:
        while node[_CHOSEN] >= 0 and _promises(search, node):
            if _fits(search, node[_CHOSEN], node[_START]):
                return True
            node[_START] += 1
        i = node[_CHOSEN] + 1
        while i < num and (not rest >> i & 1 or rest & search.twins[i]):
            i += 1
        if i >= num:
            return False
        node[_CHOSEN] = i
        node[_START] = max(node[_BEGUN] + int(i < node[_LAST]), search.arrival[i])


@helper
def _promises(search: Any, node: Any) -> bool:
    """Whether a better schedule may have the chosen request start then, and the others no earlier."""
    i, start, rest, num = node[_CHOSEN], node[_START], node[_REST], node[_NUM]
    others = rest ^ (1 << i)
    bound = max(search.least[rest], num * start + search.at_once[rest])
    after = start + search.output[i] + max(search.least[others], (num - 1) * start + search.at_once[others])
    return bool(node[_SPENT] + max(bound, after) < search.state[_BEST])


@helper
def _fits(search: Any, i: int, start: int) -> bool:
    k = 1
    while k <= search.output[i] and search.held[start + k] + search.prompt[i] + k <= search.capacity:
        k += 1
    return bool(k > search.output[i])


@helper
def _hold(search: Any, i: int, start: int, sign: int) -> None:
    for k in range(1, search.output[i] + 1):
        search.held[start + k] += sign * (search.prompt[i] + k)


@helper
def _best_insertion(search: Any, members: int, num: int) -> int:
    """One request put into an order of the others: the best of all ways, by total completion; sets `orders`."""
    best = 1 << 62
    tried, chosen = np.zeros(num, np.int8), np.zeros(num, np.int8)
    for i in range(len(search.arrival)):
        if members >> i & 1:
            others = search.orders[members ^ (1 << i)]
            for place in range(num):
                for k in range(num - 1):
                    tried[k + int(k >= place)] = others[k]
                tried[place] = i
                total = in_order(search, tried, num)
                if total < best:
                    best = total
                    chosen[:] = tried
    search.orders[members, :num] = chosen
    return int(best)


@helper
def _note_order(search: Any, members: int) -> None:
    """`orders` by the starts of the best schedule."""
    k = 0
    for i in np.argsort(search.best, kind="mergesort"):
        if members >> i & 1:
            search.orders[members, k] = i
            k += 1
