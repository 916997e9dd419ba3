"""Servers: N simulated servers with an agent at each, stepped by one compiled call into buffers of their own.

Single and vector environment are this with N = 1 and more, so that they cannot drift apart.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.env.config import EnvConfig
from llmqgym.env.episodes import Episode, Episodes
from llmqgym.kernel import agent as seat
from llmqgym.kernel import tables
from llmqgym.kernel.act import Command, act
from llmqgym.kernel.compile import address_of_hook
from llmqgym.kernel.iteration_time import MAX_JUMP
from llmqgym.kernel.memory import address_of, zeros
from llmqgym.kernel.observe import SERVER_FIELDS, make_observe
from llmqgym.kernel.reward import TERM_NAMES
from llmqgym.kernel.tables import Outcome
from llmqgym.policy import MISSES, MODES
from llmqgym.simulator import Simulator

#: Requests in the system that there is room for at first: small tables stay in the processor's cache.
_FIRST_ROWS = 256
#: Of the arena for each server; tables larger than this (departures) stay outside.
_BYTES_A_SERVER, _LARGE = 224 << 10, 128 << 10


#: Fields of AGENT that say where something is.
_ADDRESSES = (
    "simulator", "window", "ages", "keys", "running", "scores", "observe_service", "observation", "mask", "terms",
    "weights",
)  # fmt: skip


class Arena:
    """One piece of zeroed memory for the tables of all servers: the system gives large pieces large pages, and what a
    server needs lies together. What finds no place there gets memory of its own."""

    def __init__(self, num_bytes: int) -> None:
        self._bytes = zeros(num_bytes, np.dtype(np.uint8))
        self._used = 0

    def take(self, rows: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A table of zeros, on a cache line of its own."""
        size = -(-rows * dtype.itemsize // tables.CACHE_LINE_BYTES) * tables.CACHE_LINE_BYTES
        if size > _LARGE or self._used + size > len(self._bytes):
            return zeros(rows, dtype)
        start, self._used = self._used, self._used + size
        return self._bytes[start : start + rows * dtype.itemsize].view(dtype)


class Servers:
    """N servers and what their agents see, N fixed.

    Buffers, written in place by every step: `observations` float32 [N, D], `masks` int8 [N, A], `terms` float64 [N, T],
    `scores` float32 [N, K + B] (read); and `agents`, AGENT[N], with `reward`, `dt_ps`, `invalid` and `outcome`. With
    two `buffers`, `flip` makes the next step write observations and masks into the other pair. Given `simulators` are
    somebody else's: agents are seated at them, and no episode begins here.
    """

    def __init__(
        self, config: EnvConfig, num: int, buffers: int = 1, simulators: list[Simulator] | None = None
    ) -> None:
        self.config = config
        size = len(SERVER_FIELDS) + len(config.waiting_fields) * config.window
        size += len(config.running_fields) * config.running
        self.agents = zeros(num, tables.AGENT)
        self._blank = np.zeros(num, tables.AGENT)  # as an episode begins
        self._pairs = [
            (np.zeros((num, size), np.float32), np.zeros((num, config.num_actions), np.int8)) for _ in range(buffers)
        ]
        self._current = 0
        self.terms = np.zeros((num, len(TERM_NAMES)))
        self.scores = np.zeros((num, config.window + config.running), np.float32)
        self.drawn: list[dict[str, Any]] = [{} for _ in range(num)]
        self.episode_of: dict[int, Episode] = {}  # by server: the one it is in
        self._weights = np.array(config.reward)
        self._windows = np.zeros((num, config.window), np.int64)
        self._running = np.zeros((num, max(config.running, 1)), np.int64)
        self._heaps: list[list[NDArray[Any]]] = [[] for _ in range(num)]
        self._rows: list[NDArray[Any]] = []  # views whose addresses are in the records
        self._arena = Arena(num * _BYTES_A_SERVER)
        self.simulators = [self._make_simulator() for _ in range(num)] if simulators is None else simulators
        for place in range(num):
            self._seat(place)
        self._addresses = [tuple(self._row_addresses(part) for part in pair) for pair in self._pairs]
        self._blank[:] = self.agents

    def __reduce__(self) -> Any:
        return _restored, (self.config, len(self), len(self._pairs), self.state())

    def state(self) -> dict[str, Any]:
        """Everything that the episodes so far have made of the servers, copied."""
        return {
            "simulators": [each.state() for each in self.simulators],
            "agents": self.agents.copy(),
            "heaps": [[heap.copy() for heap in pair] for pair in self._heaps],
            "arrays": [array.copy() for array in self._buffers()],
            "drawn": [dict(each) for each in self.drawn],
            "current": self._current,
        }

    def _buffers(self) -> list[NDArray[Any]]:
        pairs = [array for pair in self._pairs for array in pair]
        return [*pairs, self.terms, self.scores, self._windows, self._running]

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the `state` of as many servers of the same settings."""
        fresh = self.agents.copy()
        for place, simulator in enumerate(self.simulators):
            simulator.restore(state["simulators"][place])
            self.fit_heaps(place)
            for mine, theirs in zip(self._heaps[place], state["heaps"][place], strict=True):
                mine[: len(theirs)] = theirs
        for mine, theirs in zip(self._buffers(), state["arrays"], strict=True):
            mine[...] = theirs
        for name in self.agents.dtype.names or ():
            if name not in _ADDRESSES:
                self.agents[name] = state["agents"][name]
            elif name not in ("ages", "keys"):
                self.agents[name] = fresh[name]
        self.agents["heap_capacity"] = self._blank["heap_capacity"]
        self.drawn, self._current = state["drawn"], state["current"]
        self.flip_to(self._current)
        self.agents["allowed"] = self.agents["mask"]

    @property
    def observations(self) -> NDArray[np.float32]:
        """Of the last step, float32 [N, D]."""
        return self._pairs[self._current][0]

    @property
    def masks(self) -> NDArray[np.int8]:
        """Of the last step, int8 [N, A]."""
        return self._pairs[self._current][1]

    @cached_property
    def episodes(self) -> Episodes:
        """From which the servers' episodes are drawn."""
        return Episodes(self.config)

    def _row_addresses(self, array: NDArray[Any]) -> NDArray[np.int64]:
        return np.array([self._view(row) for row in array], np.int64)

    def flip(self) -> None:
        """Leave what the last step has written as it is: the next one, of all servers, writes elsewhere."""
        self.flip_to((self._current + 1) % len(self._pairs))

    def flip_to(self, number: int) -> None:
        """Let the next step write into this pair of buffers."""
        self._current = number
        for table in (self.agents, self._blank):
            table["observation"], table["mask"] = self._addresses[self._current]

    def __len__(self) -> int:
        return len(self.agents)

    def _make_simulator(self) -> Simulator:
        config = self.config
        return Simulator(
            replace(config.scenario.server, num_kv_blocks=None),  # the episode's profile has them
            self.episodes.first_profile,
            config.engine,
            until_ps=config.until_ps,
            capacity=_FIRST_ROWS,
            departures=2 * config.num_requests + 2,  # nobody leaves twice, and those who run count once more
            allocate=self._arena.take,
            looks=self.episodes.looks,
            hashes=self.episodes.hashes,
        )

    def _view(self, row: NDArray[Any]) -> int:
        self._rows.append(row)
        return address_of(row)

    def _seat(self, place: int) -> None:
        """Connect simulator and agent."""
        config, agent, simulator = self.config, self.agents[place], self.simulators[place]
        agent.simulator = simulator.address
        agent.window_waiting, agent.window_oldest = config.window, config.oldest
        agent.window_running = config.running
        agent.decision_interval = min(config.decision_interval, MAX_JUMP)
        agent.admission_interval = min(config.admission_interval, MAX_JUMP)
        agent.makes_room = int(config.shortage == "agent")
        modes = [MODES[name] for name in config.preempt_modes]
        agent.preempt_modes[: len(modes)], agent.num_modes = modes, len(modes)
        agent.num_commands, agent.skip_misses = config.num_actions, MISSES[config.miss]
        agent.wake_passes = int(simulator.record.wake_passes)
        agent.window = self._view(self._windows[place])
        agent.running = self._view(self._running[place])
        agent.observation = self._view(self.observations[place])
        agent.mask = self._view(self.masks[place])
        agent.terms = self._view(self.terms[place])
        agent.weights = self._view(self._weights)
        agent.scores = self._view(self.scores[place]) if config.action == "priority" else 0
        observe = make_observe(config.waiting_fields, config.running_fields)
        agent.observe_service = address_of_hook("service", observe)
        simulator.seat_agent(self._view(self.agents[place : place + 1]), seat.SERVICES)
        self.fit_heaps(place)

    def fit_heaps(self, place: int) -> None:
        """Heaps of twice the rows of the server, which may have grown; entries stay."""
        agent, needed = self.agents[place], 2 * int(self.simulators[place].record.capacity)
        if agent.heap_capacity >= needed:
            return
        heaps = [self._arena.take(needed, tables.ENTRY) for _ in range(2)]
        for new, old in zip(heaps, self._heaps[place], strict=False):
            new[: len(old)] = old
        self._heaps[place] = heaps
        agent.ages, agent.keys = (address_of(heap) for heap in heaps)
        agent.heap_capacity = needed
        for name in ("ages", "keys", "heap_capacity"):
            self._blank[name][place] = self.agents[name][place]

    def begin(self, place: int, rng: np.random.Generator) -> None:
        """A new episode on one server, up to its first decision; its steps get no reward."""
        episode: Episode = self.episodes.draw(rng)
        self.drawn[place], self.episode_of[place] = episode.drawn, episode
        self.simulators[place].restart(episode.profile, episode.looks_seed)
        self.agents[place] = self._blank[place]
        self.simulators[place].feed(episode.requests)
        self.agents["command"][place] = Command.GO_ON
        if act(self.agents[place : place + 1]):
            self._attend(place, place + 1)

    def act(self) -> None:
        """Step every server by its `command`: 0 .. A - 1, or a Command."""
        if act(self.agents):
            self._attend(0, len(self))

    def _attend(self, first: int, end: int) -> None:
        """Help those of these servers that ask for room or blocks, until every step is over."""
        agents = self.agents[first:end]
        while True:
            outcomes, waiting = agents["outcome"], agents["command"] != Command.PASS_OVER
            waiting &= (outcomes > Outcome.HORIZON) & (outcomes != Outcome.DECISION)
            for place in np.flatnonzero(waiting).tolist():
                self.simulators[first + place].attend(Outcome(int(outcomes[place])))
                self.fit_heaps(first + place)
            agents["command"] = np.where(waiting, int(Command.GO_ON), int(Command.PASS_OVER))
            if not act(agents):
                return

    def waiting_rows(self, place: int) -> NDArray[np.int64]:
        """Rows of the waiting requests that a server shows, in order."""
        agent, oldest = self.agents[place], self.config.oldest
        shown = self._windows[place]
        return np.concatenate([shown[: agent.num_oldest], shown[oldest : oldest + agent.num_shortest]])

    def running_rows(self, place: int) -> NDArray[np.int64]:
        """Rows of the running requests that a server shows, the last admitted first."""
        return self._running[place, : self.agents[place].num_shown_running]


def _restored(config: EnvConfig, num: int, buffers: int, state: dict[str, Any]) -> Servers:
    servers = Servers(config, num, buffers)
    servers.restore(state)
    return servers
