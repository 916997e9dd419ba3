"""Random cases for the kernel and its naive twin: the same workload, server, profile and policy, in both languages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import naive
import naive_cache
import naive_refreshing
import numpy as np
from hypothesis import strategies as st

from llmqgym.config import ServerConfig
from llmqgym.hardware.integers import IntegerProfile
from llmqgym.kernel import memory
from llmqgym.kernel.memory import entry_at, request_at
from llmqgym.kernel.tables import HORIZON_PS, MAX_PARAMS, PS_PER_S
from llmqgym.policy import Policy
from llmqgym.simulator import Simulator
from llmqgym.workload.predictors import Looks
from llmqgym.workload.workload import make_requests

# Hooks, written for the kernel's records. The twin calls them through `on_twin`, which shows it the same names.


def by_priority(request: Any, server: Any) -> float:
    return float(request.priority)


def by_prediction(request: Any, server: Any) -> float:
    return request.predicted_output_tokens - request.generated_tokens


def last_come(request: Any, server: Any) -> float:
    return -float(request.id)


def aging(request: Any, server: Any) -> float:
    return request.prompt_tokens - 3.0 * server.num_iterations * (1 + request.id % 3)


def moody_fit(request: Any, server: Any) -> bool:
    return (request.id + server.num_running) % 3 != 0


def fit_every_fourth(request: Any, server: Any) -> bool:
    return (server.num_iterations // 4) % 2 == 0 and request.prompt_tokens <= 16 * server.free_kv_blocks


def fit_by_batch(request: Any, server: Any) -> bool:
    """Walks the running batch."""
    total = 0
    row = server.first_running
    while row >= 0:
        other = request_at(server.requests, row)
        total += other.generated_tokens + other.kv_blocks
        row = other.next
    return total % 7 != 3


def decodes_first(request: Any, server: Any) -> float:
    return 0.0 if request.computed_tokens >= request.prefill_target_tokens else 0.5


def shuffled_mix(request: Any, server: Any) -> float:
    mood = (7 * request.id + 3 * server.num_iterations) % 11
    if mood == 0:
        return math.inf
    return mood / 6.0


def youngest(running: Any, requester: Any, server: Any) -> float:
    return -float(running.generated_tokens)


def least_urgent(running: Any, requester: Any, server: Any) -> float:
    return float(running.priority)


def not_me(running: Any, requester: Any, server: Any) -> float:
    return math.nan if running.id == requester.id else float(running.computed_tokens % 5)


def shorter_prediction(running: Any, candidate: Any, server: Any) -> float:
    mine = running.predicted_output_tokens - running.generated_tokens
    return mine - (candidate.predicted_output_tokens - candidate.generated_tokens)


def more_urgent(running: Any, candidate: Any, server: Any) -> float:
    return float(running.priority - candidate.priority)


def largest(running: Any, other: Any, server: Any) -> float:
    return float(running.kv_blocks - other.kv_blocks - 1)


def by_notes(request: Any, server: Any) -> float:
    return (request.notes[0] + 3.0 * request.notes[1] + request.notes[2] + request.notes[3] + server.notes[2]) % 11.0


def fit_by_notes(request: Any, server: Any) -> bool:
    return (server.notes[0] + server.notes[1] + server.notes[3] + request.notes[0] + request.id) % 3.0 != 0.0


def note_arrival(request: Any, server: Any) -> None:
    request.notes[0] = server.num_waiting + server.notes[3]
    server.notes[0] += 1.0


def note_admission(request: Any, server: Any) -> None:
    request.notes[1] += 1.0
    server.notes[1] += request.generated_tokens + server.num_running + server.budget_tokens


def note_preemption(request: Any, server: Any) -> None:
    row = server.first_running
    while row >= 0:
        other = request_at(server.requests, row)
        request.notes[2] += other.generated_tokens
        row = other.next
    request.notes[2] += request.generated_tokens + 7.0 * request.computed_tokens + 5.0 * request.kv_blocks


def note_finish(request: Any, server: Any) -> None:
    server.notes[2] += request.generated_tokens * (1.0 + request.notes[1]) + server.num_iterations


def note_beginning(server: Any) -> None:
    """Walks the running batch and the waiting queue."""
    total = server.num_iterations + server.processed_tokens
    row = server.first_running
    while row >= 0:
        other = request_at(server.requests, row)
        total += other.generated_tokens + other.kv_blocks
        row = other.next
    for place in range(server.num_queued):
        other = request_at(server.requests, entry_at(server.waiting, place).row)
        other.notes[3] = server.num_iterations % 5
        total += 13 * (other.id % 3) + other.generated_tokens
    server.notes[3] = total % 7


def every(server: Any) -> float:
    return 1.0


def to_next_fourth(server: Any) -> float:
    return 4.0 - server.num_iterations % 4


ORDERS = (None, by_priority, by_prediction, last_come)
FITS = (
    (None, math.inf),
    (None, math.inf),
    (moody_fit, math.inf),
    (moody_fit, None),
    (fit_every_fourth, to_next_fourth),
    (fit_by_batch, None),
)
MIX_KEYS = (None, None, None, None, None, decodes_first, shuffled_mix)
VICTIMS = (None, youngest, least_urgent, not_me, largest)
PREEMPTS = (None, None, shorter_prediction, more_urgent, largest)


class _TwinRequest:
    """A twin's request under the kernel's field names; the truth only for an oracle."""

    def __init__(self, request: naive.Request, oracle: bool) -> None:
        self._request, self._oracle = request, oracle

    def __getattr__(self, name: str) -> Any:
        if name == "true_output_tokens":
            return self._request.output_tokens if self._oracle else -1
        assert self._oracle or name != "output_tokens"
        return getattr(self._request, "prefill_target" if name == "prefill_target_tokens" else name)


class _TwinTable(list[Any]):
    """Requests, or entries of the waiting queue, as the table that hooks reach by its address in plain Python."""

    def __init__(self, rows: Iterable[Any]) -> None:
        super().__init__(rows)
        memory._ARRAYS[id(self)] = self  # type: ignore[assignment]


@dataclass
class _TwinEntry:
    row: int


class _TwinServer:
    """A twin's server under the kernel's field names; its requests are the running ones, then those that wait."""

    def __init__(self, sim: naive.Simulator, policy: Policy) -> None:
        server, num_running = sim.server, len(sim.running)
        self._table = _TwinTable(_TwinRequest(request, policy.oracle) for request in sim.running + sim.waiting)
        for row, request in enumerate(self._table[:num_running]):
            request.next = row + 1 if row + 1 < num_running else -1
            request.previous = row - 1
        self._entries = _TwinTable(_TwinEntry(row) for row in range(num_running, len(self._table)))
        self.first_running = 0 if num_running else -1
        self.last_running = num_running - 1
        self.requests, self.waiting = id(self._table), id(self._entries)
        self.num_queued = self.num_waiting = len(sim.waiting)
        self.num_running = num_running
        self.num_decoding = sum(not request.in_prefill for request in sim.running)
        self.clock_ps, self.num_iterations = sim.clock, sim.num_iterations
        self.processed_tokens, self.budget_tokens = sim.processed_tokens, getattr(sim, "budget", 0)
        self.free_kv_blocks, self.reserved_kv_blocks = sim.free_blocks, getattr(sim, "reserved_blocks", 0)
        self.params = [*policy.params, *[0.0] * (MAX_PARAMS - len(policy.params))]
        self.notes = sim.notes
        for name in ("num_kv_blocks", "block_size", "watermark_blocks", "max_running", "max_batched_tokens"):
            setattr(self, name, getattr(server, name))


def on_twin(hook: Callable[..., Any] | None, policy: Policy) -> Callable[..., Any] | None:
    """The same hook for the twin, whose hooks take (requests..., simulator)."""
    if hook is None:
        return None

    def ask(*arguments: Any) -> Any:
        requests = (_TwinRequest(request, policy.oracle) for request in arguments[:-1])
        return hook(*requests, _TwinServer(arguments[-1], policy))

    return ask


class _Both(naive_refreshing.Simulator, naive_cache.Simulator):
    """Predictions that are refreshed, and blocks that are found again."""


#: By whether predictions are refreshed, and whether prefixes are cached.
_TWINS: dict[tuple[bool, bool], Any] = {
    (False, False): naive.Simulator,
    (True, False): naive_refreshing.Simulator,
    (False, True): naive_cache.Simulator,
    (True, True): _Both,
}


@dataclass(frozen=True)
class Case:
    """A workload (columns), a server, a profile and a policy."""

    arrivals: tuple[int, ...]
    prompts: tuple[int, ...]
    outputs: tuple[int, ...]
    predictions: tuple[float, ...]
    priorities: tuple[int, ...]
    server: ServerConfig
    profile: IntegerProfile
    policy: Policy
    until_ps: int = HORIZON_PS
    looks: Looks | None = None
    shared: tuple[tuple[int, int], ...] | None = None  # prefix group and tokens, where blocks are found again
    more: dict[str, tuple[Any, ...]] = field(default_factory=dict)  # further columns of the workload

    def kernel(self, **how: Any) -> Simulator:
        """Run by the kernel, in tables that must grow on the way."""
        requests = make_requests(
            arrival_ps=list(self.arrivals),
            prompt_tokens=list(self.prompts),
            output_tokens=list(self.outputs),
            predicted_output_tokens=list(self.predictions),
            priority=list(self.priorities),
            **self._prefixes(),
            **self.more,
        )
        sim = Simulator(
            self.server, self.profile, self.policy, until_ps=self.until_ps, capacity=4, looks=self.looks, **how
        )
        half = len(requests) // 2
        sim.run(iter([requests[:half], requests[half:]]))
        return sim

    def twin(self) -> naive.Simulator:
        """Run by the naive twin."""
        columns = zip(self.arrivals, self.prompts, self.outputs, self.predictions, self.priorities, strict=True)
        requests = [
            naive_cache.Request(i, arrival, prompt, output, predicted_output_tokens=predicted, priority=priority)
            for i, (arrival, prompt, output, predicted, priority) in enumerate(columns)
        ]
        for name, column in self.more.items():
            for request, value in zip(requests, column, strict=True):
                setattr(request, name, value)
        for request, (group, tokens) in zip(requests, self.shared or (), strict=False):
            request.prefix_group, request.prefix_tokens = group, min(tokens, request.prompt_tokens)
        settings = (requests, self._twin_server(), self._twin_profile(), self._twin_policy(), self.until_ps)
        kind = _TWINS[self.looks is not None, self.shared is not None]
        return kind(*settings, **({} if self.looks is None else {"looks": self.looks})).run()

    def _prefixes(self) -> dict[str, Any]:
        if self.shared is None:
            return {}
        groups, tokens = zip(*self.shared, strict=True)
        shared = [min(*pair) for pair in zip(tokens, self.prompts, strict=True)]
        return {"prefix_group": list(groups), "prefix_tokens": shared}

    def _twin_server(self) -> naive.Server:
        s, p = self.server, self.profile
        assert s.num_kv_blocks is not None
        assert s.host_kv_blocks is not None
        return naive.Server(
            s.num_kv_blocks, s.block_size, s.max_running, s.max_batched_tokens, s.chunked_prefill,
            s.long_prefill_token_threshold, s.watermark, s.reserve_full_isl, s.host_kv_blocks, p.swap_block_ps,
            s.swap_overlap, round(s.idle_step_s * PS_PER_S),
        )  # fmt: skip

    def _twin_profile(self) -> naive.Profile:
        p = self.profile
        return naive.Profile(
            p.base, p.token, p.decode_base, p.decode, p.kv, p.prefill_base, float(p.root), p.square, p.tile,
            list(p.table), p.tail,
        )  # fmt: skip

    def _twin_policy(self) -> naive.Policy:
        p = self.policy
        return naive.Policy(
            order=on_twin(p.order, p) or (lambda request, sim: 0.0),
            fit=on_twin(p.fit, p),
            miss=p.miss,
            mix=p.mix,
            mix_key=on_twin(p.mix_key, p),
            victim=on_twin(p.victim, p),
            victim_mode=p.victim_mode,
            preempt=on_twin(p.preempt, p),
            preempt_mode=p.preempt_mode,
            rekey=p.rekey,
            arrive=on_twin(p.arrive, p),
            admitted=on_twin(p.admitted, p),
            preempted=on_twin(p.preempted, p),
            finished=on_twin(p.finished, p),
            begin=on_twin(p.begin, p),
        )


#: Every hook that is told of something, and those that answer by what was noted.
NOTING: dict[str, Any] = {
    "arrive": note_arrival, "admitted": note_admission, "preempted": note_preemption, "finished": note_finish,
    "begin": note_beginning, "order": by_notes, "fit": fit_by_notes, "wake": None,
}  # fmt: skip


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    """Any combination of hooks, presets and modes that a policy may have."""
    fit, wake = draw(st.sampled_from(FITS))
    mix_key = draw(st.sampled_from(MIX_KEYS))
    preempt = draw(st.sampled_from(PREEMPTS))
    rekey = draw(st.integers(0, 4)) == 0
    mix = (
        "mixed"
        if mix_key
        else draw(st.sampled_from(["mixed", "mixed", "prefill_first", "prefill_first_mixed", "batch_to_completion"]))
    )
    policy = Policy(
        "random",
        order=aging if rekey else draw(st.sampled_from(ORDERS)),
        fit=fit,
        mix_key=mix_key,
        victim=draw(st.sampled_from(VICTIMS)),
        preempt=preempt,
        wake=draw(st.sampled_from([None, every])) if rekey or mix_key or preempt is largest else wake,
        mix=mix,
        miss=draw(st.sampled_from(["stop", "stop", "skip"])),
        victim_mode=draw(st.sampled_from(["recompute", "recompute", "restart", "swap"])),
        preempt_mode=draw(st.sampled_from(["recompute", "restart", "swap", "hold", "hold"])),
        rekey=rekey,
    )
    return replace(policy, **NOTING) if draw(st.integers(0, 4)) == 0 else policy


@st.composite
def servers(draw: st.DrawFn, most_tokens: int) -> ServerConfig:
    """Small servers, so that tokens, slots and blocks run short; most hold the largest request, of `most_tokens`."""
    block_size = draw(st.sampled_from([1, 3, 4, 16]))
    enough = -(-most_tokens // block_size)
    blocks = draw(st.integers(2, 40)) if draw(st.integers(0, 7)) == 0 else enough + draw(st.integers(0, enough))
    return ServerConfig(
        num_kv_blocks=blocks,
        block_size=block_size,
        max_running=draw(st.sampled_from([1, 2, 4, 8, 64])),
        max_batched_tokens=draw(st.sampled_from([3, 8, 20, 64, 2048, 2048])),
        chunked_prefill=draw(st.integers(0, 5)) > 0,
        long_prefill_token_threshold=draw(st.sampled_from([0, 0, 0, 5])),
        watermark=draw(st.sampled_from([0.0, 0.0, 0.1, 0.3])),
        reserve_full_isl=draw(st.booleans()),
        host_kv_blocks=draw(st.sampled_from([0, 4, 1000])),
        swap_overlap=draw(st.booleans()),
        idle_step_s=0.5,
    )


@st.composite
def profiles(draw: st.DrawFn) -> IntegerProfile:
    """All terms of the iteration time, or the constant profile of the vLLM logs."""
    if draw(st.integers(0, 2)) == 0:
        return _profile(base=PS_PER_S)
    some = st.integers(0, 10**9)
    return _profile(
        base=draw(st.integers(10**11, 10**12)),  # long enough for a policy that thrashes to meet the time limit
        token=draw(some),
        decode_base=draw(some),
        decode=draw(some),
        kv=draw(st.integers(0, 10**8)),
        prefill_base=draw(some),
        root=draw(some),
        square=draw(st.integers(0, 10**7)),
        tile=draw(st.sampled_from([1, 8])),
        table=tuple(draw(st.lists(some, min_size=1, max_size=5))),
        tail=draw(some),
        swap_block_ps=draw(some),
    )


def _profile(**given: Any) -> IntegerProfile:
    zero: dict[str, Any] = {
        "base": 0, "token": 0, "decode_base": 0, "decode": 0, "kv": 0, "prefill_base": 0, "root": 0, "square": 0,
        "tile": 1, "table": (0,), "tail": 0, "block_size": 16, "swap_block_ps": 0, "num_kv_blocks": 1,
        "host_kv_blocks": 0,
    }  # fmt: skip
    return IntegerProfile(**(zero | given))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A whole case."""
    num = draw(st.integers(1, 14))
    gaps = draw(
        st.lists(st.sampled_from([0, 0, 1, 10**9, 10**12, 5 * 10**12, 77 * 10**12]), min_size=num, max_size=num)
    )
    arrivals = [sum(gaps[: i + 1]) for i in range(num)]
    prompts = draw(st.lists(st.integers(1, 70), min_size=num, max_size=num))
    outputs = draw(st.lists(st.sampled_from([1, 2, 3, 9, 17, 40, 90]), min_size=num, max_size=num))
    predictions = draw(st.lists(st.sampled_from([math.nan, 0.0, 2.5, 17.0, 90.0]), min_size=num, max_size=num))
    priorities = draw(st.lists(st.integers(0, 3), min_size=num, max_size=num))
    # A policy may thrash for ever: every case ends by a limit.
    until = draw(st.sampled_from([arrivals[-1] + 10**12, arrivals[-1] + 300 * 10**12]))
    server = draw(servers(max(map(sum, zip(prompts, outputs, strict=True))) - 1))
    profile = replace(draw(profiles()), block_size=server.block_size)
    prefixes = st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 5, 16, 33, 70])), min_size=num, max_size=num)
    shared = draw(st.none() | prefixes.map(tuple))
    return Case(
        tuple(arrivals), tuple(prompts), tuple(outputs), tuple(predictions), tuple(priorities),
        replace(server, prefix_caching=shared is not None), profile, draw(policies()), until,
        draw(st.none() | all_looks()), shared,
    )  # fmt: skip


@st.composite
def all_looks(draw: st.DrawFn) -> Looks:
    """Predictions refreshed often, as outputs are short."""
    return Looks(
        seed=draw(st.integers(0, 2**63 - 1)),
        every=draw(st.sampled_from([1, 2, 3, 8])),
        bins=draw(st.sampled_from([2, 10, 16])),
        width=draw(st.sampled_from([1.0, 6.4, 10.0])),
        scale=draw(st.sampled_from([0.0, 5.0, 40.0])),
        spread=draw(st.sampled_from([0.5, 4.0])),
        persistence=draw(st.sampled_from([0.0, 0.5, 1.0])),
    )


def labels(case: Case, rng: np.random.Generator) -> dict[str, tuple[Any, ...]]:
    """What the policies of the literature ask for beyond lengths: caps, intervals, tenants and limits, some of them
    absent."""
    num = len(case.arrivals)
    outputs = np.array(case.outputs)
    lower = np.where(rng.random(num) < 0.2, math.nan, outputs * rng.uniform(0.2, 1.0, num))
    upper = np.where(np.isnan(lower), math.nan, outputs * rng.uniform(1.0, 3.0, num))
    return {
        "max_output_tokens": tuple((outputs + rng.integers(0, 60, num)).tolist()),
        "predicted_lower_tokens": tuple(lower.tolist()),
        "predicted_upper_tokens": tuple(upper.tolist()),
        "tenant": tuple(rng.integers(0, 4, num).tolist()),
        "ttft_limit_ps": tuple(np.where(rng.random(num) < 0.3, -1, rng.integers(1, 60, num) * PS_PER_S).tolist()),
        "tpot_limit_ps": tuple(np.where(rng.random(num) < 0.3, -1, rng.integers(1, 9, num) * PS_PER_S).tolist()),
    }
