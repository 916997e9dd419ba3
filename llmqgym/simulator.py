"""The border of the kernel: owns the tables of one simulated server, feeds it arrivals, collects departures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import numpy as np

from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware.integers import IntegerProfile
from llmqgym.kernel import prefix_cache, refreshing, tables
from llmqgym.kernel.compile import address_of_hook
from llmqgym.kernel.iteration_time import MAX_JUMP
from llmqgym.kernel.memory import address_of, zeros
from llmqgym.kernel.step import advance, advance_inlining, advance_service, close, rebuild_buckets
from llmqgym.kernel.tables import HORIZON_PS, PS_PER_S, Outcome
from llmqgym.policy import MISSES, MIXES, MODES, Policy
from llmqgym.totals import Totals
from llmqgym.workload.predictors.predictor import Looks
from llmqgym.workload.source import PromptHashes

#: (rows, dtype) -> a zeroed table.
Allocate = Callable[[int, np.dtype], np.ndarray]

#: Compositions between two looks at the progress bar, some tens of milliseconds.
_EVENTS_A_CALL = 100_000
_DEPARTURES = 8192
#: More tokens than any pass has, for servers without a budget: the longest request that a workload may hold.
_LARGEST_PASS = 2 * 10**9
#: With prefix caching: blocks that there is room for at first, and the largest budget for which room can be made.
_FIRST_BLOCKS, _MOST_BUDGET = 1 << 12, 1 << 22
_ENDS = (Outcome.FINISHED, Outcome.STALLED, Outcome.HORIZON)


class Simulator:
    """One server with its policy.

    `step_by_step` advances iteration by iteration instead of from event to event, with the same result; a log and
    prefix caching need it and set it. `inline` compiles the kernel anew around the policy's hooks. Memory grows with
    the requests in the system. `hashes` say what is in the prompts, for prefix caching. `looks`: predictions are
    refreshed while requests run (kernel/refreshing.py). `departures`: room for all that will leave, in a table that
    stays; None: one that is handed out and replaced. `allocate` gives the first tables their memory, zeroed.
    """

    def __init__(
        self,
        server: ServerConfig,
        profile: IntegerProfile,
        policy: Policy,
        *,
        step_by_step: bool = False,
        until_ps: int = HORIZON_PS,
        log: bool = False,
        inline: bool = False,
        capacity: int = 1024,
        departures: int | None = None,
        allocate: Allocate = zeros,
        looks: Looks | None = None,
        hashes: PromptHashes | None = None,
    ) -> None:
        self._arrays: dict[str, np.ndarray] = {}
        self._allocate = allocate
        self._keeps_departures = departures is not None
        self._simulators = allocate(1, tables.SIMULATOR)
        self._empty = np.zeros(1, tables.SIMULATOR)  # the record of an empty server, with today's tables
        self._kernel = advance_inlining(policy.hooks()) if inline else advance
        self._departed: list[np.ndarray] = []
        self._on_departures: Callable[[np.ndarray], None] | None = None
        self._log_sink: list[np.ndarray] = []
        self._outcome = Outcome.PAUSED
        sim = self.record
        self._set_server(sim, server, profile)
        self._profile: IntegerProfile | None = profile
        self._set_policy(sim, policy, inline)
        sim.step_by_step = int(step_by_step or log or server.prefix_caching)
        sim.until_ps = until_ps
        if not inline:
            self._set_services(sim, {"advance_service": advance_service})
        for name in ("first_running", "last_running", "first_held", "last_held", "cursor"):
            setattr(sim, name, -1)
        if looks is not None:
            self._set_refreshing(sim, looks)
        if server.prefix_caching:
            self._set_prefix_caching(sim, server, hashes)
        self._place("cohort_phases", allocate(int(sim.block_size), np.dtype(np.int64)))
        self._place_profile(profile)
        self._empty[0] = sim
        if departures is not None:
            self._place("departures", allocate(departures, tables.DEPARTURE))
            self._note("departures_capacity", departures)
        self._grow(capacity)
        self._allocate = zeros
        if log:
            self._place("log", np.zeros(3 * 65_536, np.int64))
            self._note("log_capacity", len(self._arrays["log"]))

    def restart(self, profile: IntegerProfile | None = None, looks_seed: int | None = None) -> None:
        """Back to an empty server at time 0; tables that have grown stay as large. Another `profile` (of the same
        block size) takes the place of the old one, and with it its KV and host blocks where the server's settings
        leave them open; `looks_seed` is that of refreshed predictions."""
        if profile is not None and profile is not self._profile:
            self._set_server(self._empty[0], self._server, profile)
            self._place_profile(profile)
            self._profile = profile
        if looks_seed is not None:
            self._arrays["refreshing"]["seed"] = looks_seed
        self._simulators[0] = self._empty[0]
        rows = self._arrays["free_rows"]
        rows[:] = np.arange(len(rows) - 1, -1, -1)
        self.record.num_free_rows = len(rows)
        self._arrays["requests"]["status"] = tables.Status.FREE
        self._arrays["cohort_phases"][:] = 0
        if "buckets" in self._arrays:
            self._arrays["buckets"][:] = -1
        self._departed, self._log_sink, self._outcome = [], [], Outcome.PAUSED

    @property
    def record(self) -> Any:
        """The SIMULATOR record; its first fields are what hooks see as `server`."""
        return self._simulators[0]

    def state(self) -> dict[str, Any]:
        """Everything that the run so far has made of the server, copied: for `restore`."""
        arrays = {name: array.copy() for name, array in self._arrays.items()}
        departed = [rows.copy() for rows in self._departed]
        return {
            "record": self._simulators.copy(), "empty": self._empty.copy(), "arrays": arrays, "departed": departed,
            "log": list(self._log_sink), "outcome": self._outcome,
        }  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the `state` of a simulator of the same settings, of this process or another."""
        addresses = {name: self.record[name] for name in self._empty.dtype.names or () if _is_address(name)}
        self._simulators[0], self._empty[0] = state["record"][0], state["empty"][0]
        self._profile = None  # another than today's may be in these
        for name, address in addresses.items():
            self._note(name, address)
        for name in ("profile", "profile_table"):
            self._arrays.pop(name, None)  # which others share
        for name, array in state["arrays"].items():
            mine = self._arrays.get(name)
            if mine is None or mine.shape != array.shape:
                dtype = tables.ARRIVAL if name == "arrivals" else array.dtype if mine is None else mine.dtype
                mine = np.zeros(array.shape, dtype)
            mine[...] = array
            self._arrays[name] = mine
            if name != "profile_table":
                self._place(name, mine)
        self._arrays["profile"]["table"] = address_of(self._arrays["profile_table"])
        self._departed, self._log_sink = [rows.view(tables.DEPARTURE) for rows in state["departed"]], state["log"]
        self._outcome = Outcome(state["outcome"])

    @property
    def address(self) -> int:
        """Where the record is, for as long as the simulator lives."""
        return address_of(self._simulators)

    def seat_agent(self, address: int, services: dict[str, Any]) -> None:
        """Let the AGENT at an address decide in place of ORDER, MISS and PREEMPT (kernel/agent.py)."""
        self._note("agent", address)
        self._set_services(self._empty[0], services)
        self._set_services(self.record, services)

    def advance_by(self, kernel: Callable[[np.ndarray, int, int], int]) -> None:
        """Let `kernel` advance the run, in place of the one that asks the policy alone: it is called with the record in
        SIMULATOR[1], 0, and at most how many compositions (or decisions) to make, and answers an Outcome."""
        self._kernel = kernel

    def request(self, row: int) -> Any:
        """The REQUEST record in a row."""
        return self._arrays["requests"][row]

    def hidden(self, row: int) -> Any:
        """The HIDDEN record in a row: the truth, and the kernel's own notes."""
        return self._arrays["hidden"][row]

    def _set_server(self, sim: Any, server: ServerConfig, profile: IntegerProfile) -> None:
        self._server = server
        if profile.block_size != server.block_size:
            raise InputError(
                f"the profile was made for blocks of {profile.block_size} tokens, the server has blocks of "
                f"{server.block_size}: call to_integers({server.block_size})."
            )
        blocks = profile.num_kv_blocks if server.num_kv_blocks is None else server.num_kv_blocks
        host = profile.host_kv_blocks if server.host_kv_blocks is None else server.host_kv_blocks
        sim.num_kv_blocks = sim.free_kv_blocks = blocks
        sim.host_kv_blocks = sim.free_host_blocks = host
        sim.watermark_blocks = server.watermark_blocks(blocks)
        for name in ("block_size", "max_running", "max_batched_tokens", "long_prefill_token_threshold"):
            setattr(sim, name, getattr(server, name))
        power_of_two = server.block_size & (server.block_size - 1) == 0
        sim.block_bits = server.block_size.bit_length() if power_of_two else 0
        sim.chunked_prefill = int(server.chunked_prefill)
        sim.reserve_full_isl = int(server.reserve_full_isl)
        sim.swap_overlap = int(server.swap_overlap)
        sim.longest_tokens = _longest_tokens(server, profile, blocks)
        sim.idle_step_ps = round(server.idle_step_s * PS_PER_S)
        sim.swap_block_ps = profile.swap_block_ps

    def _set_policy(self, sim: Any, policy: Policy, inline: bool) -> None:
        self._policy = policy
        for kind, hook in policy.hooks().items():
            address = int(hook is not None) if inline else address_of_hook(kind, hook)
            setattr(sim, f"{kind}_hook", address)
        walks = policy.rekey or callable(policy.wake) or policy.fit is not None or policy.begin is not None
        sim.reads_running = int(policy.reads_running and walks)
        sim.mix, sim.skip_misses = MIXES[policy.mix], MISSES[policy.miss]
        sim.victim_mode, sim.preempt_mode = MODES[policy.victim_mode], MODES[policy.preempt_mode]
        sim.wake_passes = int(min(policy.wake_passes(), MAX_JUMP))
        sim.rekey, sim.oracle = int(policy.rekey), int(policy.oracle)
        sim.params[: len(policy.params)] = policy.params

    @staticmethod
    def _set_services(sim: Any, services: dict[str, Any]) -> None:
        for name, function in services.items():
            setattr(sim, name, address_of_hook("service", function))

    def _set_refreshing(self, sim: Any, looks: Looks) -> None:
        row = np.zeros(1, tables.REFRESHING)
        for name in tables.REFRESHING.names or ():
            row[name] = getattr(looks, name)
        self._place("refreshing", row)
        self._set_services(sim, refreshing.SERVICES)
        if self._policy.asks_between_events():
            sim.wake_passes = 1

    def _set_prefix_caching(self, sim: Any, server: ServerConfig, hashes: PromptHashes | None) -> None:
        if server.max_batched_tokens > _MOST_BUDGET:
            raise InputError(
                f"max_batched_tokens is {server.max_batched_tokens}: with prefix_caching give at most {_MOST_BUDGET}."
            )
        sim.prefix_caching = 1
        self._set_services(sim, prefix_cache.SERVICES)
        sim.first_empty = sim.first_free = sim.last_free = sim.free_node = -1
        self._place("buckets", np.full(1, -1, np.int64))
        sim.num_buckets = 1
        if hashes is not None and len(hashes.ids):
            self._place("hashes", hashes.ids)
            sim.hash_block_tokens = hashes.block_tokens
        self._grow_cache(_FIRST_BLOCKS)

    def _grow_cache(self, capacity: int) -> None:
        """Room for so many nodes, and for as many blocks, or all that there are."""
        sim = self.record
        self._enlarge("nodes", tables.NODE, capacity)
        blocks = min(capacity, int(sim.num_kv_blocks))
        if blocks > sim.blocks_capacity:
            self._enlarge("blocks", tables.BLOCK, blocks)
            old, num_old = self._arrays["buckets"], int(sim.num_buckets)
            self._note("num_buckets", 1 << (blocks - 1).bit_length())
            self._place("buckets", np.full(sim.num_buckets, -1, np.int64))
            rebuild_buckets(self._simulators, 0, address_of(old), num_old)

    def _enlarge(self, name: str, dtype: np.dtype, capacity: int) -> None:
        array = np.zeros(capacity, dtype)
        old = int(getattr(self.record, f"{name}_capacity"))
        if old:
            array[:old] = self._arrays[name]
        self._place(name, array)
        self._note(f"{name}_capacity", capacity)

    def _note(self, name: str, value: int) -> None:
        """A field that a restart does not change."""
        setattr(self.record, name, value)
        setattr(self._empty[0], name, value)

    def _place(self, name: str, array: np.ndarray) -> None:
        self._arrays[name] = array
        self._note(name, address_of(array))

    def _place_profile(self, profile: IntegerProfile) -> None:
        row, self._arrays["profile_table"] = _profile_tables(profile)
        self._place("profile", row)

    def _grow(self, capacity: int) -> None:
        """Room for `capacity` requests in the system; what is there stays in its rows."""
        sim = self.record
        old = int(sim.capacity)
        sizes = {
            "requests": tables.REQUEST,
            "hidden": tables.HIDDEN,
            "waiting": tables.ENTRY,
            "aside": tables.ENTRY,
            "mixing": tables.ENTRY,
            "cohort_ends": tables.ENTRY,
            "batch": tables.CHUNK,
            "free_rows": np.dtype(np.int64),
        }
        if sim.refreshing:
            sizes["estimates"] = tables.ESTIMATE
        for name, dtype in sizes.items():
            array = self._allocate(capacity, dtype)
            if old:
                array[:old] = self._arrays[name]
            self._place(name, array)
        rows = self._arrays["free_rows"]
        fresh = np.arange(capacity - 1, old - 1, -1)
        rows[sim.num_free_rows : sim.num_free_rows + len(fresh)] = fresh
        sim.num_free_rows += len(fresh)
        self._note("capacity", capacity)
        if not self._keeps_departures:
            self._drain()
            self._place_departures(max(_DEPARTURES, 2 * capacity))

    def _place_departures(self, capacity: int) -> None:
        """A table that the kernel fills and that is handed out as it is: memory that is not touched costs nothing."""
        self._place("departures", np.empty(capacity, tables.DEPARTURE))
        self._note("departures_capacity", capacity)

    def _drain(self) -> None:
        sim = self.record
        if sim.num_departures:
            rows = self._arrays["departures"][: sim.num_departures]
            if self._on_departures is None:
                self._departed.append(rows)
                self._place_departures(max(_DEPARTURES, 2 * int(sim.capacity)))
            else:
                self._on_departures(rows)
            sim.num_departures = 0
        if sim.log_length:
            self._log_sink.append(self._arrays["log"][: sim.log_length].copy())
            sim.log_length = 0

    def _make_log_room(self) -> None:
        """The log holds an iteration's worth for the requests in the system; more of them, a larger log."""
        sim = self.record
        if sim.log and sim.log_capacity < 3 * (8 * sim.capacity + 1024):
            self._place("log", np.zeros(3 * (16 * int(sim.capacity) + 65_536), np.int64))
            self._note("log_capacity", len(self._arrays["log"]))

    def feed(self, requests: np.ndarray, last: bool = True) -> None:
        """The next chunk of the workload, ARRIVAL[n] in order of arrival; `last`: none follows."""
        if requests.dtype != tables.ARRIVAL:
            raise TypeError(f"requests have dtype {requests.dtype}: the kernel reads tables.ARRIVAL.")
        sim = self.record
        if len(requests) > _DEPARTURES and self._on_departures is None and not self._keeps_departures:
            self._drain()
            self._place_departures(len(requests) + 2 * int(sim.capacity))
        self._place("arrivals", requests if len(requests) else np.zeros(1, tables.ARRIVAL))
        sim.num_arrivals, sim.next_arrival, sim.last_chunk = len(requests), 0, int(last)

    def advance(self, max_events: int = _EVENTS_A_CALL) -> Outcome:
        """Run for at most `max_events` compositions or until something is missing; returns why it stopped.

        Raises InputError for arrivals that are not in order, within a chunk or from chunk to chunk, and for a request
        so long that an iteration could outlast the clock.
        """
        self.attend(Outcome(self._kernel(self._simulators, 0, max_events)))
        return self._outcome

    def attend(self, outcome: Outcome) -> None:
        """What the kernel asks for when it stops with `outcome`: room for requests, blocks or departures. Raises
        InputError for requests that it will not take."""
        self._outcome = outcome
        if outcome == Outcome.NEED_ROOM:
            self._grow(2 * int(self.record.capacity))
        elif outcome == Outcome.NEED_BLOCKS:
            self._grow_cache(2 * int(self.record.nodes_capacity))
        elif outcome == Outcome.NEED_DRAIN:
            self._drain()
            self._make_log_room()
        elif outcome in (Outcome.UNSORTED, Outcome.TOO_LONG):
            raise self._refusal()

    def _refusal(self) -> InputError:
        """What is wrong with the request that the kernel would not take."""
        sim = self.record
        request = self._arrays["arrivals"][sim.next_arrival]
        if self._outcome == Outcome.UNSORTED:
            return InputError(
                f"request {sim.next_id} arrives at {request['arrival_ps'] / PS_PER_S} s, before the one before it at "
                f"{sim.last_arrival_ps / PS_PER_S} s: sort the requests by arrival, from chunk to chunk too."
            )
        length = int(request["prompt_tokens"] + request["output_tokens"])
        return InputError(
            f"request {sim.next_id} has {length} tokens: beyond {sim.longest_tokens} an iteration of this server could "
            "outlast the 100 days of a run: lower max_batched_tokens, or shorten the request."
        )

    def run(
        self,
        chunks: Iterator[np.ndarray],
        on_progress: Callable[[Simulator], None] | None = None,
        on_departures: Callable[[np.ndarray], None] | None = None,
    ) -> Outcome:
        """Feed all chunks and run to the end; returns FINISHED, STALLED or HORIZON.

        `on_departures` is handed what `departures` returns otherwise, a few thousand rows at a time, the unfinished
        too. The kernel overwrites these rows with the next: copy what is to stay.
        """
        self._on_departures = on_departures
        try:
            outcome = self._run(chunks, on_progress)
            if on_departures is not None:
                self.departures()
        finally:
            self._on_departures = None
        return outcome

    def _run(self, chunks: Iterator[np.ndarray], on_progress: Callable[[Simulator], None] | None) -> Outcome:
        following = next(chunks, None)
        self.feed(_no_requests(), last=following is None)
        while True:
            outcome = self.advance()
            if outcome in _ENDS:
                return outcome
            if outcome == Outcome.NEED_ARRIVALS and following is not None:
                chunk, following = following, next(chunks, None)
                self.feed(chunk, last=following is None)
            if on_progress is not None:
                on_progress(self)

    def departed(self) -> np.ndarray:
        """DEPARTURE rows in the table at hand, which stay in it: a view, until the next step."""
        return self._arrays["departures"][: self.record.num_departures]

    def departures(self) -> np.ndarray:
        """DEPARTURE rows since the last call: those finished and rejected, in the order of leaving; at the end of a
        run also the unfinished, without a finish."""
        self._drain()
        if self._outcome in _ENDS:
            close(self._simulators, 0)
            self._drain()
        tables_filled, self._departed = self._departed, []
        if len(tables_filled) == 1:
            return tables_filled[0]
        return np.concatenate([np.zeros(0, tables.DEPARTURE), *tables_filled])

    def log_triples(self) -> np.ndarray:
        """The log so far, int64[n, 3] (kernel.log), in order."""
        self._drain()
        flat = np.concatenate(self._log_sink) if self._log_sink else np.zeros(0, np.int64)
        return flat.reshape(-1, 3)

    def totals(self) -> Totals:
        """Counters and integrals so far."""
        return Totals.of(self.record, self._outcome.name.lower())


@lru_cache(maxsize=64)
def _profile_tables(profile: IntegerProfile) -> tuple[np.ndarray, np.ndarray]:
    """PROFILE[1] and its table of tokens, shared by all servers on this hardware: in the cache once."""
    table = np.array(profile.table, np.int64)
    row = np.zeros(1, tables.PROFILE)
    for name in tables.PROFILE.names or ():
        if name.endswith("_ps"):
            row[name] = getattr(profile, name.removesuffix("_ps"))
    row["tile_tokens"] = profile.tile
    row["table"], row["table_len"] = address_of(table), len(table)
    return row, table


def _is_address(name: str) -> bool:
    """Of code, or of an agent: what a process, and whoever sits there, has for itself."""
    return name == "agent" or name.endswith(("_hook", "_service"))


def _longest_tokens(server: ServerConfig, profile: IntegerProfile, num_kv_blocks: int) -> int:
    """The longest request, prompt and output, with which no iteration can last longer than a run may: then no sum of
    the kernel's overflows."""
    tokens = min(server.max_batched_tokens, _LARGEST_PASS)
    running = min(server.max_running, tokens)

    def fits(longest: int) -> bool:
        held = min(running * longest, num_kv_blocks * server.block_size)
        return profile.iteration_ps(tokens, 2 * tokens * longest, running, held) <= HORIZON_PS

    below, above = 0, _LARGEST_PASS + 1
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (middle, above) if fits(middle) else (below, middle)
    return below


def load_kernel() -> None:
    """Have the kernel ready: from its cache in 0.3 s, or compiled, which takes some 15 s the first time."""
    profile = IntegerProfile(
        base=1, token=0, decode_base=0, decode=0, kv=0, prefill_base=0, root=0, square=0, tile=1, table=(0,), tail=0,
        block_size=16, swap_block_ps=0, num_kv_blocks=1, host_kv_blocks=0,
    )  # fmt: skip
    empty = Simulator(ServerConfig(), profile, Policy("none"), capacity=1)
    empty.run(iter([]))
    empty.departures()


def _no_requests() -> np.ndarray:
    return np.zeros(0, tables.ARRIVAL)
