"""Exact optima of small unit-round instances by search: the states of a server, the most promising first (A*).

What is still to come depends on the requests that have not started, on the tokens that those running will hold in each
round to come, and, before the last arrival, on the round. The tokens of all rounds to come are one integer of a field a
round, so that starting a request is an addition and asking whether all rounds fit is an `and`. Tens of times as fast as
the integer program (unit_optimum.py), with which it shares no code.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from llmqgym.bounds.unit_rounds import UnitRounds
from llmqgym.errors import InputError

#: Requests not started (a bit each), tokens held in the rounds to come, and the round, no later than the last arrival.
State = tuple[int, int, int]


def optimum_by_search(instance: UnitRounds, most_states: int = 3_000_000) -> int:
    """The least sum of completion times over all schedules without preemption that know every arrival and length.

    For n <= 12 or so. Raises InputError after looking at `most_states` states.

    >>> optimum_by_search(UnitRounds.of([0, 0, 0, 0], [8, 1, 1, 1], [1, 2, 2, 2], 9))
    9
    """
    search = _Search(instance)
    start: State = ((1 << len(search.volume)) - 1, 0, 0)
    known, queue = {start: 0}, [(0, 0, start)]
    for _ in range(most_states):
        _, waited, state = heapq.heappop(queue)
        if state[0] == 0:
            return waited + int((instance.arrival + instance.output_tokens).sum())
        if waited > known[state]:
            continue
        for following, cost in search.after(state):
            total = waited + cost
            if total < known.get(following, total + 1):
                known[following] = total
                heapq.heappush(queue, (total + search.least_wait(following), total, following))
    raise InputError(
        f"no optimum of {len(search.volume)} requests within {most_states:,} states: take fewer or shorter requests."
    )


@dataclass(frozen=True)
class _Search:
    """The moves and the bound; requests are numbered by volume."""

    instance: UnitRounds

    @cached_property
    def requests(self) -> list[tuple[int, int, int, int]]:
        """(volume, prompt, output, arrival), smallest volume first."""
        of = self.instance
        columns = (of.volume, of.prompt_tokens, of.output_tokens, of.arrival)
        return sorted(zip(*(column.tolist() for column in columns), strict=True))

    @cached_property
    def volume(self) -> list[int]:
        """Memory x time of each request."""
        return [request[0] for request in self.requests]

    @cached_property
    def bits(self) -> int:
        """Bits of a round's field: the tokens of a full server and of one request more, and a bit to show it."""
        return (2 * self.instance.capacity_tokens).bit_length() + 1

    @cached_property
    def holds(self) -> list[int]:
        """What each request holds if it starts now, a field a round."""
        return [
            sum(prompt + made << self.bits * (made - 1) for made in range(1, output + 1))
            for _, prompt, output, _ in self.requests
        ]

    @cached_property
    def room(self) -> tuple[int, int]:
        """What lifts a round that is too full to its highest bit, and those bits."""
        rounds = range(int(self.instance.output_tokens.max()) + 1)
        lift = (1 << self.bits - 1) - 1 - self.instance.capacity_tokens
        return sum(lift << self.bits * r for r in rounds), sum(1 << self.bits * r + self.bits - 1 for r in rounds)

    @cached_property
    def last_arrival(self) -> int:
        """After it the round does not matter."""
        return int(self.instance.arrival.max())

    def after(self, state: State) -> Iterator[tuple[State, int]]:
        """The states of the next round, and how many requests wait for it."""
        waiting, held, now = state
        lift, full = self.room
        arrived = [i for i, request in enumerate(self.requests) if waiting >> i & 1 and request[3] <= now]
        later = min(now + 1, self.last_arrival)
        choices = [(0, waiting, held, len(arrived))]
        while choices:
            place, left, tokens, num = choices.pop()
            yield (left, tokens >> self.bits, later), num
            for at in range(place, len(arrived)):
                i = arrived[at]
                # Of two that are alike the first goes first.
                alike = at > place and self.requests[arrived[at - 1]][:3] == self.requests[i][:3]
                more = tokens + self.holds[i]
                if not alike and not more + lift & full:
                    choices.append((at + 1, left & ~(1 << i), more, num - 1))

    def least_wait(self, state: State) -> int:
        """Rounds that the requests not started must wait, all together: the k-th of them to finish can do so only when
        the k smallest volumes have found their place beside what is held."""
        waiting, held, now = state
        capacity, mask = self.instance.capacity_tokens, (1 << self.bits) - 1
        rounds, room, volume, wait = 0, 0, 0, 0
        for i, request in enumerate(self.requests):
            if waiting >> i & 1:
                volume += request[0]
                while room < volume:
                    room += capacity - (held & mask)
                    held >>= self.bits
                    rounds += 1
                wait += rounds - request[2] - max(request[3] - now, 0)
        return max(wait, 0)
