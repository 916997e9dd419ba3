"""An opponent of the bounds: random servers and requests, and a local search for schedules that might be below them.

A schedule is an order, instants before which requests are not admitted, and one of a family of policies: all presets
and modes, preemption by urgency, running requests that sit out. Used by `test_server_bounds`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import cases
import numpy as np

from llmqgym.bounds.server import LatencyBounds
from llmqgym.config import ServerConfig
from llmqgym.hardware import load_profile
from llmqgym.hardware.integers import IntegerProfile
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.policy import Policy
from llmqgym.simulator import Simulator
from llmqgym.workload.source import PromptHashes
from llmqgym.workload.workload import make_requests, make_workload

SPECS = (
    "linear:base_ms=10,token_ms=0.3,decode_ms=0.5,kv_ms=0.02,square_ms=0.001",
    "linear:base_ms=1,token_ms=2,decode_ms=0,kv_ms=0.5",  # a prefill may be cheaper than the KV reads of a decode
    "linear:base_ms=0,token_ms=1,decode_ms=0.1,kv_ms=0,square_ms=0.01",
    "linear:base_ms=0,token_ms=0,decode_ms=1,kv_ms=0.1,square_ms=0.01",
    "linear:base_ms=5,token_ms=0,decode_ms=2,kv_ms=0.3",
    "linear:base_ms=1,token_ms=0.1",
    "constant:iteration_ms=7",
    "staircase:base_ms=3,step_ms=5,tile_tokens=4",
    "staircase:base_ms=3,step_ms=5,tile_tokens=16",
    "a100-llama-3-8b",
    "a100-llama-2-70b-tp4:kind=linear",
)


def not_before(request: Any, server: Any) -> bool:
    """Waiting on purpose: the instant is where the search has put it."""
    return float(server.clock_ps) >= request.predicted_output_tokens


FAMILY = [
    Policy(
        f"{order.__name__}-{fit is not None}-{preempt is not None}-{mode}-{mix}-{miss}-{mix_key is not None}",
        order=order, fit=fit, preempt=preempt, preempt_mode=mode, victim_mode="recompute" if mode == "hold" else mode,
        mix=mix, miss=miss, mix_key=mix_key,
    )
    for order, preempt in ((cases.by_priority, cases.more_urgent), (cases.by_priority, None))
    for mode in ("recompute", "restart", "swap", "hold")
    for mix in ("mixed", "prefill_first", "prefill_first_mixed", "batch_to_completion")
    for miss in ("stop", "skip")
    for fit in (None, not_before)
    for mix_key in (None, cases.decodes_first, cases.shuffled_mix)
    if (preempt is not None or mode != "hold") and (mix_key is None or mix == "mixed")
]  # fmt: skip


@dataclass(frozen=True)
class Instance:
    """Requests that a server of this profile is kept busy by."""

    requests: Any
    server: ServerConfig
    profile: IntegerProfile
    hashes: PromptHashes | None = None

    @property
    def serial_ps(self) -> int:
        """About what they take one after the other."""
        tokens, made = (int(self.requests[name].sum()) for name in ("prompt_tokens", "output_tokens"))
        one = self.profile.iteration_ps(1, 1, 0, 0) + self.profile.iteration_ps(0, 0, 1, tokens)
        return one * (made + len(self.requests)) + self.profile.iteration_ps(tokens, tokens, 0, 0)


def run(instance: Instance, requests: Any, policy: Policy) -> Any:
    """The departures of a run that may end before all have left: a policy may thrash."""
    until = int(requests["arrival_ps"][-1]) + 10 * instance.serial_ps
    simulator = Simulator(
        instance.server, instance.profile, policy, until_ps=until, capacity=16, hashes=instance.hashes
    )
    simulator.run(iter([requests]))
    return simulator.departures()


def ratios(bounds: LatencyBounds, rows: Any) -> dict[str, float] | None:
    """Bound / mean of a run, by name ("ttft " before those on TTFT); None if it did not finish all that fit."""
    done = rows[rows["finish_ps"] >= 0]
    if len(done) != bounds.num_requests:
        return None
    e2e_s, ttft_s = (
        float((done[name] - done["arrival_ps"]).mean()) / PS_PER_S for name in ("finish_ps", "first_token_ps")
    )
    return {
        **{name: bound / e2e_s for name, bound in bounds.e2e_s.items()},
        **{f"ttft {name}": bound / ttft_s for name, bound in bounds.ttft_s.items()},
    }


def check(bounds: LatencyBounds, rows: Any) -> dict[str, float] | None:
    """No bound above what a run has come to; returns `ratios`."""
    found = ratios(bounds, rows)
    for name, ratio in (found or {}).items():
        assert ratio <= 1, (name, ratio, bounds)
    return found


def some_profile(rng: np.random.Generator, size: int) -> IntegerProfile:
    """One of `SPECS`, or one in which any term may be there or not."""
    if rng.random() < 0.6:
        return load_profile(str(rng.choice(SPECS))).to_integers(size)
    some = {name: int(rng.integers(10**9) * rng.choice([0, 0, 1, 20])) for name in _TERMS}
    if some["base"] + some["token"] == 0:
        some["base"] = 10**8  # passes of a ps would let a policy that thrashes run for ever
    table = tuple(int(t) for t in np.cumsum(rng.integers(0, 10**10, rng.integers(1, 6))) * rng.integers(2))
    return cases._profile(
        **some,
        kv=int(rng.integers(10**8) * rng.integers(2)),
        square=int(rng.integers(10**7) * rng.integers(2)),
        tile=int(rng.choice([1, 4, 8])),
        table=table,
        block_size=size,
    )


_TERMS = ("base", "token", "decode_base", "decode", "prefill_base", "root", "tail", "swap_block_ps")


def few(rng: np.random.Generator, num: int) -> Instance:
    """A few requests and a server that they fill."""
    prompts, outputs = rng.integers(1, rng.choice([3, 12, 40]), num), rng.integers(1, rng.choice([3, 12, 40]), num)
    gaps = rng.exponential(rng.choice([0.0, 0.02, 0.2]), num)
    return _instance(rng, np.cumsum(gaps), prompts, outputs)


def crowd(rng: np.random.Generator, num: int) -> Instance:
    """Requests that arrive steadily for many times as long as one takes, some of them in every pass."""
    prompts, outputs = rng.integers(1, rng.choice([3, 12, 60]), num), rng.integers(1, rng.choice([2, 12, 40]), num)
    made = _instance(rng, np.zeros(num), prompts, outputs)
    alone = made.profile.iteration_ps(int(prompts.mean()) + 1, int(prompts.mean() ** 2), 0, 0)
    alone += int(outputs.mean()) * made.profile.iteration_ps(0, 0, 1, int(prompts.mean()))
    gap = alone / PS_PER_S / rng.choice([1.0, 2.0, 5.0, 20.0])
    gaps = rng.exponential(gap, num) if rng.random() < 0.5 else np.full(num, gap)
    made.requests["arrival_ps"] = (np.cumsum(gaps) * PS_PER_S).astype(np.int64)
    return made


def sharing(rng: np.random.Generator, num: int) -> Instance:
    """Few requests or many, with prefixes in common: by groups, by hashes, or as turns of conversations."""
    made = few(rng, num) if rng.random() < 0.7 else crowd(rng, num)
    made = replace(made, server=replace(made.server, prefix_caching=True))
    prompts, kind = made.requests["prompt_tokens"], rng.random()
    if kind < 0.5:
        group = rng.integers(-1, 3, num)
        tokens = np.minimum(np.stack([prompts, prompts // 2, np.full(num, 16)])[int(rng.integers(3))], prompts)
        made.requests["prefix_group"], made.requests["prefix_tokens"] = group, np.where(group >= 0, tokens, 0)
        if kind < 0.4:
            return made
    part = int(rng.choice([1, 4, 6, 16]))
    ids = [_turn(rng, i, -(-int(prompt) // part)) for i, prompt in enumerate(prompts)]
    hashed = make_workload(
        "hashed", {}, arrival_ps=made.requests["arrival_ps"], prompt_tokens=prompts,
        output_tokens=made.requests["output_tokens"], hash_ids=ids, hash_block_tokens=part,
        prefix_group=made.requests["prefix_group"], prefix_tokens=made.requests["prefix_tokens"],
    )  # fmt: skip
    return replace(made, requests=hashed.requests, hashes=hashed.hashes)


def _turn(rng: np.random.Generator, i: int, num_parts: int) -> list[int]:
    """Hashes of a prompt that leaves one of three conversations somewhere."""
    conversation, leaves = int(rng.integers(3)), int(rng.choice([1, 3, 8, 100]))
    return [100 * conversation + k if k < leaves else 1000 + 100 * i + k for k in range(num_parts)]


def taking_back_no_chunk(server: ServerConfig) -> list[Policy]:
    """Those of the family that preempt nobody whose prompt is under way in the composition that has scheduled it: with
    chunks that are whole prompts, all that leave the order of the running pass alone."""
    whole = server.max_batched_tokens >= 2048 and not server.long_prefill_token_threshold
    return [
        policy
        for policy in FAMILY
        if policy.mix_key is None and (whole or (policy.preempt is None and policy.mix != "prefill_first_mixed"))
    ]


def _instance(rng: np.random.Generator, arrival_s: Any, prompts: Any, outputs: Any) -> Instance:
    size = int(rng.choice([1, 4, 16]))
    server = ServerConfig(
        num_kv_blocks=int(-(-(prompts + outputs).max() // size) * rng.choice([1, 1, 2, 5, 50])) + 1,
        block_size=size,
        max_running=int(rng.choice([1, 2, 4, 64, 64])),
        max_batched_tokens=int(rng.choice([4, 16, 64, 2048])),
        long_prefill_token_threshold=int(rng.choice([0, 0, 5])),
        reserve_full_isl=bool(rng.integers(2)),
        host_kv_blocks=int(rng.choice([0, 1000])),
    )
    requests = make_requests(arrival_s=arrival_s, prompt_tokens=prompts, output_tokens=outputs)
    made = Instance(requests, server, some_profile(rng, size))
    return replace(made, server=replace(server, idle_step_s=max(made.serial_ps / PS_PER_S / 2000, 1e-9)))


def search(
    rng: np.random.Generator, instance: Instance, bounds: LatencyBounds, tries: int, family: list[Policy] | None = None
) -> dict[str, float]:
    """The largest bound / mean of each bound that a local search against one of them comes to; fails above 1."""
    family = FAMILY if family is None else family
    requests = instance.requests.copy()
    aim = str(rng.choice([*bounds.e2e_s, *bounds.ttft_s, "crowding", "crowding"]))
    best: dict[str, float] = {}
    at, reached = _first_schedule(rng, requests), 0.0
    for _ in range(tries):
        tried = _neighbour(rng, at, instance)
        requests["priority"], requests["predicted_output_tokens"] = tried[0], tried[1] + requests["arrival_ps"]
        found = check(bounds, run(instance, requests, family[tried[2] % len(family)]))
        if found is None:
            continue
        best = {name: max(ratio, best.get(name, 0.0)) for name, ratio in found.items()}
        if found[aim] >= reached:
            at, reached = tried, found[aim]
    return best


Schedule = tuple[Any, Any, int]  # priorities [n], waits on purpose in ps [n], index into FAMILY


def _first_schedule(rng: np.random.Generator, requests: Any) -> Schedule:
    keys = (
        requests["output_tokens"],
        requests["prompt_tokens"],
        requests["output_tokens"] * (2 * requests["prompt_tokens"] + requests["output_tokens"]),
        requests["arrival_ps"],
    )
    order = np.argsort(np.argsort(keys[int(rng.integers(len(keys)))], kind="stable"))
    return order, np.zeros(len(requests)), int(rng.integers(len(FAMILY)))


def _neighbour(rng: np.random.Generator, at: Schedule, instance: Instance) -> Schedule:
    """Two requests swapped, one moved, a wait on purpose set or ended, or another policy."""
    order, waits, policy = at[0].copy(), at[1].copy(), at[2]
    num = len(order)
    kind = rng.random()
    if kind < 0.4 and num > 1:
        i, j = rng.permutation(num)[:2]
        order[[i, j]] = order[[j, i]]
    elif kind < 0.5:
        order[int(rng.integers(num))] = int(rng.integers(-1, num + 1))
    elif kind < 0.75:
        waits[int(rng.integers(num))] = instance.serial_ps * 10 ** rng.uniform(-3, 0) * rng.integers(2)
    else:
        policy = int(rng.integers(len(FAMILY)))
    return order, waits, policy
