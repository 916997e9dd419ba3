"""Examples worked by hand in unit rounds, MC-SF's inequality, and Dong and Cao's flow control slot for slot."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.look_ahead import holds_to_the_end
from baselines.registry import make_policy
from llmqgym.bounds import UnitRounds, optimum
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel import log, tables
from llmqgym.kernel.memory import address_of
from llmqgym.simulator import Simulator
from llmqgym.validation.check import Check, Measured
from llmqgym.validation.unit_server import Triples, completions, requests_of, simulator
from llmqgym.workload.workload import make_requests

GROUP = "unit-rounds"
EXAMPLES = "reference/policies.md 10"
#: Memory, and requests (arrival, s, o).
E1 = (9, [(0, 8, 1), (0, 1, 2), (0, 1, 2), (0, 1, 2)])
E2 = (9, [(0, 1, 7), (0, 8, 1), (0, 1, 1)])
E3 = (9, [(0, 1, 4), (0, 1, 2), (0, 2, 1), (0, 1, 3)])
E4 = (8, [(0, 2, 6), (0, 2, 2), (1, 2, 2), (2, 2, 2)])
#: Total latency of a policy on an example.
LATENCIES = {
    ("E1", "mc-sf"): 10, ("E1", "mc-sf-true"): 10, ("E1", "mc-benchmark"): 10, ("E1", "volume-sf"): 9,
    ("E2", "mc-benchmark"): 24, ("E2", "mc-benchmark:miss=skip"): 16, ("E2", "mc-sf"): 11, ("E2", "volume-sf"): 12,
    ("E3", "mc-sf"): 10, ("E3", "mc-benchmark"): 10, ("E4", "mc-sf"): 21, ("E4", "mc-benchmark"): 21,
    ("E4", "mc-benchmark:miss=skip"): 21, ("E4", "volume-sf"): 21,
}  # fmt: skip
OPTIMA = {"E1": 9, "E2": 11, "E3": 10, "E4": 15}
BY_NAME = {"E1": E1, "E2": E2, "E3": E3, "E4": E4}
#: Dong and Cao: memory, classes (s, o) and how many of each are admitted a round.
FLOW_MEMORY, FLOW_PROMPT, FLOW_OUTPUTS, FLOW_BUDGET = 16_492, 10, (20, 40, 60), 4


def latency(example: str, policy: str, quick: bool) -> Measured:
    """Sum of completions less arrivals."""
    memory, triples = BY_NAME[example]
    done = completions(memory, policy, triples)
    return Measured(sum(done) - sum(arrival for arrival, _, _ in triples), note=f"completions {done}")


def least_latency(example: str, quick: bool) -> Measured:
    """The same of the best schedule."""
    memory, triples = BY_NAME[example]
    arrival, s, o = zip(*triples, strict=True)
    found = optimum(UnitRounds.of(arrival, s, o, memory))
    return Measured(found.total_completion - sum(arrival), note=f"starts {found.starts.tolist()}")


def by_the_inequality(memory: int, triples: Triples, by_length: bool) -> list[int]:
    """MC-SF (or MC-Benchmark) round by round, from the paper's inequality: no code is shared."""
    done: dict[int, int] = {}
    started: dict[int, int] = {}
    t = 0
    while len(done) < len(triples):
        waiting = [i for i, (arrival, _, _) in enumerate(triples) if arrival <= t and i not in started]
        for i in sorted(waiting, key=lambda i: (triples[i][2] if by_length else 0, i)):
            trial = {j: p for j, p in started.items() if done[j] > t} | {i: t}
            ends = [p + triples[j][2] for j, p in trial.items()]
            held = [sum(triples[j][1] + end - p for j, p in trial.items() if triples[j][2] >= end - p) for end in ends]
            if max(held) > memory:
                break
            started[i], done[i] = t, t + triples[i][2]
        t += 1
    return [done[i] for i in range(len(triples))]


def differing_instances(policy: str, quick: bool) -> Measured:
    """Random instances on which the policy is not the paper's inequality."""
    rng = np.random.default_rng(5)
    num_instances, differing = 200 if quick else 2000, 0
    for _ in range(num_instances):
        memory, num = int(rng.integers(12, 40)), int(rng.integers(2, 30))
        arrival = np.sort(rng.integers(0, 20, num) * rng.integers(0, 2))
        s = rng.integers(1, 6, num)
        triples = [(int(a), int(b), int(rng.integers(1, memory - b + 1))) for a, b in zip(arrival, s, strict=True)]
        differing += completions(memory, policy, triples) != by_the_inequality(memory, triples, policy == "mc-sf")
    return Measured(differing, note=f"{num_instances:,} instances of up to 29 requests")


def peak(quick: bool) -> Measured:
    """The least memory in which (2, 6) may join (5, 1) and (3, 4): resident tokens and tokens to go."""
    rows = np.zeros(3, tables.REQUEST)
    rows["true_output_tokens"] = -1
    for row, (resident, left) in zip(rows, [(5, 1), (3, 4), (2, 6)], strict=True):
        row["prompt_tokens"], row["predicted_output_tokens"], row["next"] = resident + 1, left, -1
    rows[0]["next"] = 1
    server = np.zeros(1, tables.SERVER)
    server["requests"], server["block_size"], server["num_running"] = address_of(rows), 1, 2
    for memory in range(1, 100):
        server["num_kv_blocks"] = memory
        if holds_to_the_end(rows[2], server[0]):
            return Measured(memory)
    return Measured(float("inf"))


def last_finish(policy: str, quick: bool) -> Measured:
    """Two requests of 7 + 6 tokens in 5 blocks of 4: the second is recomputed, or waits."""
    server = ServerConfig(num_kv_blocks=5, block_size=4)
    sim = Simulator(server, load_profile("iterations").to_integers(4), make_policy(policy))
    columns: dict[str, Any] = {"arrival_ps": [0, 0], "prompt_tokens": [7, 7], "output_tokens": [6, 6]}
    sim.run(iter([make_requests(**columns, max_output_tokens=6)]))
    finish = (np.sort(sim.departures(), order="id")["finish_ps"] // tables.PS_PER_S).tolist()
    return Measured(finish[1], note=f"completions {finish}, {sim.totals().processed_tokens} tokens processed")


def flow(arrivals: NDArray[np.int64], rounds: int) -> tuple[int, NDArray[np.int64]]:
    """Flow control under `arrivals[t, class]`: most tokens held, and how many wait after each round."""
    times, classes = np.repeat(np.argwhere(arrivals >= 0), arrivals.ravel(), axis=0).T
    triples = [(int(t), FLOW_PROMPT, FLOW_OUTPUTS[k]) for t, k in zip(times, classes, strict=True)]
    how = {"log": True, "until_ps": (rounds - 1) * tables.PS_PER_S}
    sim = simulator(FLOW_MEMORY, f"flow-control:budget={FLOW_BUDGET}", **how)
    sim.run(iter([requests_of(triples, tenant=classes)]))
    what, a, b = sim.log_triples().T
    return FLOW_MEMORY - int(a[what == log.FREE_BEFORE].min()), b[what == log.QUEUES]


def flow_peak(quick: bool) -> Measured:
    """Most tokens held with a backlog."""
    return Measured(flow(np.full((1, 3), 2000), 400)[0])


def differing_slots(quick: bool) -> Measured:
    """Rounds after which not max(Q + arrivals - budget, 0) wait of each class, summed."""
    arrivals = np.random.default_rng(2).poisson(3.6, (500, 3))
    queue, expected = np.zeros(3, np.int64), []
    for new in arrivals:
        queue = np.maximum(queue + new - FLOW_BUDGET, 0)
        expected.append(int(queue.sum()))
    most, waiting = flow(arrivals, 500)
    differing = int((waiting != np.array(expected)).sum()) if len(waiting) == len(expected) else len(expected)
    return Measured(differing, note=f"up to {max(expected)} wait; at most {most:,} tokens held")


def _check(name: str, source: str, expected: float, measure: Any) -> Check:
    return Check(GROUP, name, source, expected, 0, measure, quick_tolerance=0)


CHECKS = (
    *(
        _check(f"{example}, total latency of {policy}", EXAMPLES, value, partial(latency, example, policy))
        for (example, policy), value in LATENCIES.items()
    ),
    *(
        _check(f"{example}, least total latency", EXAMPLES, value, partial(least_latency, example))
        for example, value in OPTIMA.items()
    ),
    *(
        _check(
            f"instances where {policy} is not its inequality",
            "arXiv 2502.07115",
            0,
            partial(differing_instances, policy),
        )
        for policy in ("mc-sf", "mc-benchmark")
    ),
    _check("peak of (5, 1), (3, 4) and (2, 6)", EXAMPLES, 13, peak),
    _check("two requests in five blocks, vllm: last round", EXAMPLES, 10, partial(last_finish, "vllm")),
    _check(
        "two requests in five blocks, reserve: last round", EXAMPLES, 12, partial(last_finish, "reserve:by=declared")
    ),
    _check("flow control: peak of the KV cache, tokens", "arXiv 2604.11001", 16_240, flow_peak),
    _check("flow control: rounds whose queue is not three queues'", "arXiv 2604.11001", 0, differing_slots),
)
