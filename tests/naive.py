"""The naive twin: the server of `docs/model.md` again, slow and obvious, as the oracle for the compiled kernel.

Times are Python ints in picoseconds; every list is sorted afresh whenever its order matters; nothing is cached.
Numbers in comments (2, 3, ...) are the steps of "The loop" in `docs/model.md`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field

HORIZON = 100 * 86_400 * 10**12
MODES = ("recompute", "restart", "swap", "hold")
MIXES = ("mixed", "prefill_first", "prefill_first_mixed", "batch_to_completion")


@dataclass(eq=False)
class Request:
    """One request: what it is (first block), then what has happened to it so far."""

    id: int
    arrival_ps: int
    prompt_tokens: int
    output_tokens: int
    max_output_tokens: int = 0
    predicted_output_tokens: float = math.nan
    priority: float = 0
    tenant: int = 0
    predicted_lower_tokens: float = math.nan
    predicted_upper_tokens: float = math.nan
    ttft_limit_ps: int = -1
    tpot_limit_ps: int = -1
    prefix_group: int = -1
    prefix_tokens: int = 0
    cached_tokens: int = 0  # that it would find in the cache, for policies that rekey
    initial_predicted_output_tokens: float = math.nan  # as of the arrival

    computed_tokens: int = 0
    generated_tokens: int = 0
    prefill_target: int = 0
    kv_blocks: int = 0
    host_blocks: int = 0
    status: str = "waiting"  # waiting, running, finished, rejected
    admit_seq: int = -1  # number of its last admission
    hold_seq: int = -1  # number of its last preemption by hold
    key: float = 0.0
    first_scheduled_ps: int = -1  # start of its first pass
    first_token_ps: int = -1
    finish_ps: int = -1
    last_scheduled_ps: int = -1  # start of its latest pass
    last_preempted_ps: int = -1
    num_preemptions: list[int] = field(default_factory=lambda: [0, 0, 0, 0])  # in the order of MODES
    lost_tokens: int = 0
    swapped_blocks: int = 0  # out + in
    notes: list[float] = field(default_factory=lambda: [0.0] * 4)  # the policy's own

    @property
    def num_tokens(self) -> int:
        return self.prompt_tokens + self.generated_tokens

    @property
    def in_prefill(self) -> bool:
        return self.computed_tokens < self.prefill_target


@dataclass
class Server:
    """Settings of a server."""

    num_kv_blocks: int
    block_size: int = 16
    max_running: int = 256
    max_batched_tokens: int = 2048
    chunked_prefill: bool = True
    long_prefill_token_threshold: int = 0
    watermark: float = 0.0
    reserve_full_isl: bool = True
    host_kv_blocks: int = 0
    swap_block_ps: int = 0
    swap_overlap: bool = False
    idle_step_ps: int = 10**12

    @property
    def watermark_blocks(self) -> int:
        return int(self.watermark * (self.num_kv_blocks + 1))

    def blocks(self, tokens: int) -> int:
        return -(-tokens // self.block_size)


@dataclass
class Profile:
    """Iteration time; every coefficient an integer in ps, but `root`, a float64."""

    base: int = 0
    token: int = 0
    decode_base: int = 0
    decode: int = 0
    kv: int = 0
    prefill_base: int = 0
    root: float = 0.0
    square: int = 0
    tile: int = 1
    table: list[int] = field(default_factory=lambda: [0])
    tail: int = 0

    def iteration_time(self, chunks: list[tuple[int, int]], B: int, S: int) -> int:
        """Duration of a pass with prefill chunks (p tokens, k computed before) and B decodes that hold S tokens."""
        tokens = sum(p for p, _ in chunks) + B
        two_f = sum(p * (2 * k + p) for p, k in chunks)
        t = self.base + self.table_at(tokens) + self.token * tokens + self.decode * B + self.kv * S
        if B > 0:
            t += self.decode_base
        if chunks:
            t += self.prefill_base + round(float(self.root) * math.sqrt(two_f * 0.5)) + self.square * two_f
        return max(t, 1)

    def table_at(self, tokens: int) -> int:
        i = -(-tokens // self.tile)
        if i < len(self.table):
            return self.table[i]
        return self.table[-1] + (i - len(self.table) + 1) * self.tail


@dataclass
class Policy:
    """The hooks of a policy; the default is vLLM's FCFS."""

    order: Callable[[Request, Simulator], float] = lambda request, sim: 0.0
    fit: Callable[[Request, Simulator], bool] | None = None
    miss: str = "stop"
    mix: str = "mixed"
    mix_key: Callable[[Request, Simulator], float] | None = None
    victim: Callable[[Request, Request, Simulator], float] | None = None  # (running request, requester, sim)
    victim_mode: str = "recompute"
    preempt: Callable[[Request, Request, Simulator], float] | None = None  # (running request, candidate, sim)
    preempt_mode: str = "recompute"
    rekey: bool = False
    arrive: Callable[[Request, Simulator], None] | None = None
    admitted: Callable[[Request, Simulator], None] | None = None
    preempted: Callable[[Request, Simulator], None] | None = None
    finished: Callable[[Request, Simulator], None] | None = None
    begin: Callable[[Simulator], None] | None = None


def largest(requests: list[Request], value: Callable[[Request], float]) -> tuple[Request, float]:
    """The request of the largest value and that value: nan counts as -inf, ties go to the later id."""
    valued = [(r, float(value(r))) for r in requests]
    valued = [(r, -math.inf if math.isnan(v) else v) for r, v in valued]
    return max(valued, key=lambda pair: (pair[1], pair[0].id))


class Simulator:
    """One server, one policy, one list of requests (copied: the caller's stay as they are)."""

    def __init__(
        self, requests: list[Request], server: Server, profile: Profile, policy: Policy,
        until_ps: int = HORIZON, log: bool = False, unit_ps: int = 10**12,
    ) -> None:  # fmt: skip
        assert policy.mix in MIXES
        assert policy.miss in ("stop", "skip")
        assert policy.victim_mode in ("recompute", "restart", "swap")
        assert policy.preempt_mode in MODES
        assert policy.mix_key is None or policy.mix == "mixed"
        assert server.idle_step_ps > 0
        self.server, self.profile, self.policy = server, profile, policy
        self.until_ps, self.log, self.unit_ps = until_ps, log, unit_ps
        self.requests = [copy.deepcopy(r) for r in requests]
        for request in self.requests:
            request.initial_predicted_output_tokens = request.predicted_output_tokens
        assert [r.id for r in self.requests] == list(range(len(requests)))
        assert all(a.arrival_ps <= b.arrival_ps for a, b in zip(self.requests, self.requests[1:], strict=False))
        self.coming = list(self.requests)
        self.waiting: list[Request] = []
        self.running: list[Request] = []  # in admission order
        self.clock = 0
        self.status = "running"
        self.free_blocks = server.num_kv_blocks
        self.free_host_blocks = server.host_kv_blocks
        self.door = False
        self.seq = 0
        self.transfer_ps = 0  # caused and not yet part of a pass
        self.num_iterations = self.processed_tokens = self.lost_tokens = 0
        self.preemptions = [0, 0, 0, 0]  # in the order of MODES
        self.num_held_dropped = self.num_rejected = self.swapped_blocks = 0
        self.integral_requests_ps = self.integral_running_ps = self.integral_blocks_ps = 0
        self.finished_order: list[int] = []
        self.left: list[int] = []  # ids preempted since the last pass, for the log
        self.hits: list[list[int]] = []  # [id, tokens] found in the cache since then
        self.steps: list[dict] = []
        self.notes = [0.0] * 1024  # the policy's own

    def run(self) -> Simulator:
        while self.status == "running":
            self.iterate()
        self.check_end()
        return self

    def iterate(self) -> None:
        """Steps 0 to 5, once; a return without a move of the clock is the text's "back to 2"."""
        self.take_arrivals()
        if self.clock > self.until_ps:
            self.status = "horizon"
            return
        if not self.running and not self.waiting:  # 1
            if self.coming:
                self.move_clock(self.coming[0].arrival_ps)
            else:
                self.status = "finished"
            return
        if self.policy.rekey:
            for request in self.waiting:
                request.cached_tokens = self.findable_tokens(request)
        if self.policy.begin is not None:
            self.policy.begin(self)
        if self.policy.rekey:  # 2
            for request in self.waiting:
                self.take_key(request)
        self.compose()  # 3
        if self.scheduled:
            self.forward_pass()  # 5
        elif not self.shortage:
            self.nothing_scheduled()  # 4
        self.check_blocks()

    # 0, 2: arrivals and keys

    def take_arrivals(self) -> None:
        while self.coming and self.coming[0].arrival_ps <= self.clock:
            request = self.coming.pop(0)
            if self.can_never_fit(request):
                request.status = "rejected"
                self.num_rejected += 1
            else:
                self.enter(request)

    def enter(self, request: Request) -> None:
        """A request arrives."""
        if self.policy.arrive is not None:
            self.policy.arrive(request, self)
        self.join_waiting(request)

    def can_never_fit(self, request: Request) -> bool:
        return self.server.blocks(request.prompt_tokens + request.output_tokens - 1) > self.server.num_kv_blocks

    def join_waiting(self, request: Request) -> None:
        request.status = "waiting"
        self.waiting.append(request)
        self.take_key(request)

    def take_key(self, request: Request) -> None:
        key = float(self.policy.order(request, self))
        request.key = math.inf if math.isnan(key) else key

    # 3: composition

    def compose(self) -> None:
        self.budget = self.server.max_batched_tokens
        self.reserved_blocks = 0  # kept from newcomers
        self.lone = len(self.running) + len(self.waiting) == 1
        self.shortage = False  # "preempted" in the text
        self.scheduled: dict[Request, int] = {}  # tokens of each request, in scheduling order
        self.admitted: list[Request] = []
        mix = self.policy.mix
        before, after = self.running_groups()
        if not self.running:
            self.door = True
        self.running_pass(before)
        if mix == "batch_to_completion":
            if self.door:
                self.door = self.waiting_pass([]) if not self.shortage else False
        elif not self.shortage:
            self.waiting_pass(after if mix == "prefill_first_mixed" else [])
        if mix in ("mixed", "prefill_first_mixed") or not self.scheduled:
            self.running_pass(after)

    def running_groups(self) -> tuple[list[Request], list[Request]]:
        """The running requests that get tokens before, and after, the waiting pass."""
        if self.policy.mix_key is not None:
            keyed = [(float(self.policy.mix_key(r, self)), r) for r in self.running]
            keyed = sorted(((k, r) for k, r in keyed if k < math.inf), key=lambda pair: (pair[0], pair[1].admit_seq))
            return [r for k, r in keyed if k < 1], [r for k, r in keyed if k >= 1]
        if self.policy.mix == "mixed":
            return list(self.running), []
        return [r for r in self.running if r.in_prefill], [r for r in self.running if not r.in_prefill]

    def wanted_tokens(self, request: Request) -> int:
        """Tokens that a request wants in this iteration, whatever the budget."""
        n = request.num_tokens - request.computed_tokens
        if self.server.long_prefill_token_threshold > 0 and not self.lone:
            n = min(n, self.server.long_prefill_token_threshold)
        return n

    def need(self, request: Request, n: int) -> int:
        """Blocks to be taken before n more tokens can be computed."""
        return self.server.blocks(request.computed_tokens + n) - request.kv_blocks

    def schedule(self, request: Request, n: int) -> None:
        need = self.need(request, n)
        assert n > 0
        assert 0 <= need <= self.free_blocks
        assert n <= self.budget
        assert request not in self.scheduled
        request.kv_blocks += need
        self.free_blocks -= need
        self.budget -= n
        self.scheduled[request] = n

    def running_pass(self, group: list[Request]) -> None:
        for request in group:
            if self.budget == 0:
                break
            if request.status != "running":  # it left as a victim of this iteration
                continue
            n = min(self.wanted_tokens(request), self.budget)
            while request.status == "running" and self.need(request, n) > self.free_blocks:
                self.relieve_shortage(request)
            if request.status == "running":
                self.schedule(request, n)

    def relieve_shortage(self, requester: Request) -> None:
        if self.drop_last_held():
            return
        self.shortage = True
        if self.policy.victim is None:
            victim = self.running[-1]
        else:
            victim, _ = largest(self.running, lambda r: self.policy.victim(r, requester, self))
        self.preempt(victim, self.policy.victim_mode)

    def waiting_pass(self, decodes: list[Request]) -> bool:
        """Admit in order, leaving free what the decodes need next; True when it was the token budget that ended it."""
        tried: set[Request] = set()
        while self.budget > 0:
            untried = sorted((r for r in self.waiting if r not in tried), key=lambda r: (r.key, r.id))
            if not untried:
                break
            if len(self.running) >= self.server.max_running and self.policy.preempt is None:
                return False
            candidate = untried[0]
            candidate.cached_tokens = self.findable_tokens(candidate)
            n = self.wanted_tokens(candidate)
            over_budget = not self.server.chunked_prefill and n > self.budget
            n = min(n, self.budget)
            if not over_budget:
                lack = self.lacking_blocks(candidate, n, decodes)
                fits = lack == 0 and (self.policy.fit is None or bool(self.policy.fit(candidate, self)))
                if fits and len(self.running) < self.server.max_running:
                    self.admit(candidate, n)
                    continue
                helps = fits or self.policy.preempt_mode != "hold"  # hold makes a slot free, no blocks
                leaver = self.voluntary_leaver(candidate, lack) if helps else None
                if leaver is not None:
                    self.preempt(leaver, self.policy.preempt_mode)
                    tried.add(leaver)
                    continue
            if self.policy.miss == "stop":
                return over_budget and self.budget < self.server.max_batched_tokens
            tried.add(candidate)
        return self.budget == 0 and len(self.waiting) > 0 and len(self.running) < self.server.max_running

    def lacking_blocks(self, request: Request, n: int, decodes: list[Request]) -> int:
        """Blocks lacking for n tokens of a waiting request and, where no FIT hook replaces it, for the gate."""
        needed = self.need(request, n)
        if self.policy.fit is None:
            tokens = request.num_tokens if self.server.reserve_full_isl else request.computed_tokens + n
            margin = self.server.watermark_blocks if self.running else 0
            needed = max(needed, self.server.blocks(tokens) - request.kv_blocks + margin)
        self.reserved_blocks = sum(self.need(r, 1) for r in decodes if r.status == "running")
        return max(needed - (self.free_blocks - self.reserved_blocks), 0)

    def admit(self, request: Request, n: int) -> None:
        self.waiting.remove(request)
        self.running.append(request)
        self.admitted.append(request)
        request.status = "running"
        self.seq += 1
        request.admit_seq = self.seq
        if request.computed_tokens < request.num_tokens - 1 or request.generated_tokens == 0:
            request.prefill_target = request.num_tokens
        self.use_cache(request)
        self.schedule(request, n)
        self.transfer(request, request.host_blocks)
        self.free_host_blocks += request.host_blocks
        request.host_blocks = 0
        if self.policy.admitted is not None:
            self.policy.admitted(request, self)

    def use_cache(self, request: Request) -> None:
        """Without prefix caching there is nothing to be found."""

    def findable_tokens(self, request: Request) -> int:
        """Tokens in the cache that a waiting request could use."""
        return 0

    def voluntary_leaver(self, candidate: Request, lack: int) -> Request | None:
        """Of those whose value is above 0 the one of the largest, if all of them together hold what is lacking."""
        if self.policy.preempt is None:
            return None
        old = [r for r in self.running if r not in self.admitted]
        eligible = [r for r in old if self.policy.preempt(r, candidate, self) > 0]
        if not eligible or sum(r.kv_blocks for r in eligible) < lack:
            return None
        return largest(eligible, lambda r: self.policy.preempt(r, candidate, self))[0]

    # Preemption

    def preempt(self, request: Request, mode: str) -> None:
        """Take a running request back to the waiting queue."""
        self.budget += self.scheduled.pop(request, 0)
        self.release_blocks(request, request.kv_blocks - self.server.blocks(request.computed_tokens))
        self.running.remove(request)
        if self.policy.preempted is not None:
            self.policy.preempted(request, self)
        if mode == "swap" and request.kv_blocks > self.free_host_blocks:
            mode = "recompute"
        if mode == "hold":
            self.seq += 1
            request.hold_seq = self.seq
        elif mode == "swap":
            request.host_blocks = request.kv_blocks
            self.free_host_blocks -= request.kv_blocks
            self.transfer(request, request.kv_blocks)
            self.release_blocks(request, request.kv_blocks)
        else:
            self.lose_tokens(request)
            if mode == "restart":
                request.generated_tokens = 0
                request.first_token_ps = -1
        request.num_preemptions[MODES.index(mode)] += 1
        self.preemptions[MODES.index(mode)] += 1
        request.last_preempted_ps = self.clock
        self.left.append(request.id)
        self.join_waiting(request)

    def drop_last_held(self) -> bool:
        """The waiting request that was held last loses its blocks; False when nobody holds any."""
        held = [r for r in self.waiting if r.kv_blocks > 0]
        if not held:
            return False
        self.lose_tokens(max(held, key=lambda r: r.hold_seq))
        self.num_held_dropped += 1
        return True

    def lose_tokens(self, request: Request) -> None:
        self.release_blocks(request, request.kv_blocks)
        request.lost_tokens += request.computed_tokens
        self.lost_tokens += request.computed_tokens
        request.computed_tokens = 0

    def release_blocks(self, request: Request, blocks: int) -> None:
        request.kv_blocks -= blocks
        self.free_blocks += blocks

    def transfer(self, request: Request, blocks: int) -> None:
        request.swapped_blocks += blocks
        self.swapped_blocks += blocks
        self.transfer_ps += blocks * self.server.swap_block_ps

    # 4, 5: idle moves and passes

    def nothing_scheduled(self) -> None:
        if not self.running and self.drop_last_held():
            return
        if not self.running and not self.coming:
            self.status = "stalled"
            return
        to = self.clock + self.server.idle_step_ps
        self.move_clock(min(to, self.coming[0].arrival_ps) if self.coming else to)

    def forward_pass(self) -> None:
        start, free_before = self.clock, self.free_blocks
        chunks = [(n, r.computed_tokens) for r, n in self.scheduled.items() if r.in_prefill]
        decodes = [r for r in self.scheduled if not r.in_prefill]
        assert all(self.scheduled[r] == 1 for r in decodes)
        duration = self.profile.iteration_time(chunks, len(decodes), sum(r.computed_tokens for r in decodes))
        if self.server.swap_overlap:
            duration = max(duration, self.transfer_ps)
        else:
            duration += self.transfer_ps
        self.transfer_ps = 0
        self.move_clock(start + duration)
        self.num_iterations += 1
        partial, finished = [], []
        for request, n in self.scheduled.items():
            if not self.advance(request, n, start):
                partial.append(request.id)
            elif request.status == "finished":
                finished.append(request.id)
        self.processed_tokens += sum(self.scheduled.values())
        self.finished_order += finished
        if self.log:
            self.write_step(start, free_before, partial, finished)
        self.left, self.hits = [], []

    def advance(self, request: Request, n: int, start: int) -> bool:
        """What a pass of n tokens, over at the present clock, does to a request; True when it yields a token."""
        if request.first_scheduled_ps < 0:
            request.first_scheduled_ps = start
        request.last_scheduled_ps = start
        request.computed_tokens += n
        assert request.computed_tokens <= request.num_tokens
        if request.computed_tokens < request.num_tokens:
            return False
        request.generated_tokens += 1
        if request.first_token_ps < 0:
            request.first_token_ps = self.clock
        if request.generated_tokens == request.output_tokens:
            request.status = "finished"
            request.finish_ps = self.clock
            self.running.remove(request)
            self.release_blocks(request, request.kv_blocks)
            if self.policy.finished is not None:
                self.policy.finished(request, self)
        return True

    def write_step(self, start: int, free_before: int, partial: list[int], finished: list[int]) -> None:
        """One line in the format of the vLLM logs: c, p, h and f only where they are not empty."""
        step: dict = {"i": start // self.unit_ps, "s": [[r.id, n] for r, n in self.scheduled.items()]}
        step |= {name: ids for name, ids in (("c", partial), ("p", self.left), ("h", self.hits)) if ids}
        step["b"] = free_before
        if finished:
            step["f"] = finished
        self.steps.append(step | {"e": self.free_blocks, "r": len(self.running), "w": len(self.waiting)})

    def move_clock(self, to: int) -> None:
        """Let time pass, count the integrals, and end the run beyond the limit."""
        assert to > self.clock
        dt = to - self.clock
        self.integral_requests_ps += (len(self.running) + len(self.waiting)) * dt
        self.integral_requests_ps += sum(to - r.arrival_ps for r in self.unnoticed(to))
        self.integral_running_ps += len(self.running) * dt
        self.integral_blocks_ps += (self.server.num_kv_blocks - self.free_blocks) * dt
        self.clock = to

    def unnoticed(self, until: int) -> list[Request]:
        """Arrivals up to a time that have not joined the queue yet and will not be rejected."""
        return [r for r in self.coming if r.arrival_ps <= until and not self.can_never_fit(r)]

    # Laws (section 9 of MODEL.md)

    def check_blocks(self) -> None:
        """At the end of every iteration: held + free = capacity, in the server and on the host."""
        here = self.running + self.waiting
        assert sum(r.kv_blocks for r in here) + self.free_blocks == self.server.num_kv_blocks
        self.check_shape()

    def check_shape(self) -> None:
        """What holds however blocks are kept."""
        server, here = self.server, self.running + self.waiting
        assert self.free_blocks >= 0
        assert sum(r.host_blocks for r in here) + self.free_host_blocks == server.host_kv_blocks
        assert self.free_host_blocks >= 0
        assert len(self.running) <= server.max_running
        assert all(r.kv_blocks == server.blocks(r.computed_tokens) for r in self.running)
        assert all(r.kv_blocks + r.host_blocks == server.blocks(r.computed_tokens) for r in here)
        assert all(not (r.kv_blocks and r.host_blocks) for r in here)
        assert [r.admit_seq for r in self.running] == sorted(r.admit_seq for r in self.running)

    def computed_by_passes(self) -> int:
        """Tokens in the cache, or there when their request finished."""
        return sum(r.computed_tokens for r in self.requests if r.status in ("finished", "running", "waiting"))

    def check_end(self) -> None:
        """At the end of the run: tokens, times, counts and the integral of the number of requests."""
        finished = [r for r in self.requests if r.status == "finished"]
        here = self.running + self.waiting
        assert len(finished) + len(here) + len(self.coming) + self.num_rejected == len(self.requests)
        assert sorted(self.finished_order) == [r.id for r in finished]
        assert all(r.computed_tokens == r.prompt_tokens + r.output_tokens - 1 for r in finished)
        assert self.processed_tokens - self.lost_tokens == self.computed_by_passes()
        in_system = sum(r.finish_ps - r.arrival_ps for r in finished)
        in_system += sum(self.clock - r.arrival_ps for r in here + self.unnoticed(self.clock))
        assert self.integral_requests_ps == in_system
        for r in finished:
            assert r.arrival_ps <= r.first_scheduled_ps <= r.first_token_ps <= r.finish_ps
        for i in range(len(MODES)):
            assert self.preemptions[i] == sum(r.num_preemptions[i] for r in self.requests)
        assert self.lost_tokens == sum(r.lost_tokens for r in self.requests)
        assert self.swapped_blocks == sum(r.swapped_blocks for r in self.requests)
