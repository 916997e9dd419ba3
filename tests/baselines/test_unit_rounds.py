"""Unit rounds: every iteration takes one unit of time, blocks hold one token, nothing but memory is short.

The model of MC-SF (arXiv 2502.07115), of flow control (arXiv 2604.11001) and of the eviction cycle (arXiv 2606.15555).
Their request (s, o) is ours of s + 1 prompt tokens and o output tokens; started at t it is done at t + o.
"""

from __future__ import annotations

import numpy as np
import pytest

from baselines.look_ahead import holds_to_the_end
from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel import log, tables
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.memory import address_of
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests

PS = tables.PS_PER_S
simulated = pytest.mark.skipif(not COMPILED, reason="so many rounds take hours in plain Python")


def unit_server(num_kv_blocks: int) -> ServerConfig:
    """Memory of so many tokens, and no other limit."""
    return ServerConfig(num_kv_blocks=num_kv_blocks, block_size=1, max_running=2**40, max_batched_tokens=2**40)


def simulator(memory: int, policy: str, **how: int) -> Simulator:
    """A server of unit rounds."""
    return Simulator(unit_server(memory), load_profile("iterations").to_integers(1), make_policy(policy), **how)


def requests_of(triples: list[tuple[int, int, int]], **columns: object) -> np.ndarray:
    """(arrival, s, o) in the words of the papers; predictions are perfect."""
    arrival, s, o = np.array(triples).T
    return make_requests(
        arrival_ps=arrival * PS,
        prompt_tokens=s + 1,
        output_tokens=o,
        predicted_output_tokens=o.astype(float),
        **columns,
    )


def completions(memory: int, policy: str, triples: list[tuple[int, int, int]]) -> list[int]:
    """Rounds at the ends of which the requests are done; nobody is preempted on the way."""
    sim = simulator(memory, policy)
    sim.run(iter([requests_of(triples)]))
    rows = np.sort(sim.departures(), order="id")
    assert rows["num_preemptions"].sum() == 0
    return [int(each) for each in rows["finish_ps"] // PS]


E1 = [(0, 8, 1), (0, 1, 2), (0, 1, 2), (0, 1, 2)]
E2 = [(0, 1, 7), (0, 8, 1), (0, 1, 1)]
E3 = [(0, 1, 4), (0, 1, 2), (0, 2, 1), (0, 1, 3)]
E4 = [(0, 2, 6), (0, 2, 2), (1, 2, 2), (2, 2, 2)]


@pytest.mark.parametrize(
    ("policy", "memory", "triples", "expected"),
    [
        ("mc-sf", 9, E1, [1, 3, 3, 3]),
        ("mc-sf-true", 9, E1, [1, 3, 3, 3]),
        ("mc-benchmark", 9, E1, [1, 3, 3, 3]),
        ("volume-sf", 9, E1, [3, 2, 2, 2]),
        ("mc-benchmark", 9, E2, [7, 8, 9]),
        ("mc-benchmark:miss=skip", 9, E2, [7, 8, 1]),
        ("mc-sf", 9, E2, [8, 1, 2]),
        ("mc-sf", 9, E3, [4, 2, 1, 3]),
        ("mc-benchmark", 9, E3, [4, 2, 1, 3]),
    ],
)
def test_examples_worked_by_hand(
    policy: str, memory: int, triples: list[tuple[int, int, int]], expected: list[int]
) -> None:
    assert completions(memory, policy, triples) == expected


@pytest.mark.parametrize(("policy", "total"), [("volume-sf", 12), ("mc-sf", 11)])
def test_total_latency_of_the_second_example(policy: str, total: int) -> None:
    assert sum(completions(9, policy, E2)) == total


@pytest.mark.parametrize("policy", ["mc-sf", "mc-benchmark", "mc-benchmark:miss=skip", "volume-sf"])
def test_who_does_not_know_the_future_starts_the_long_one(policy: str) -> None:
    assert sum(done - arrival for done, (arrival, _, _) in zip(completions(8, policy, E4), E4, strict=True)) == 21


def mc_sf_by_its_formula(memory: int, triples: list[tuple[int, int, int]], by_length: bool) -> list[int]:
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


@pytest.mark.parametrize("policy", ["mc-sf", "mc-benchmark"])
def test_look_ahead_is_the_inequality_of_the_paper(policy: str) -> None:
    rng = np.random.default_rng(5)
    for _ in range(200 if COMPILED else 10):
        memory, num = int(rng.integers(12, 40)), int(rng.integers(2, 30))
        arrival = np.sort(rng.integers(0, 20, num) * rng.integers(0, 2))
        s = rng.integers(1, 6, num)
        triples = [(int(a), int(b), int(rng.integers(1, memory - b + 1))) for a, b in zip(arrival, s, strict=True)]
        assert completions(memory, policy, triples) == mc_sf_by_its_formula(memory, triples, policy == "mc-sf")


def test_peak_of_a_running_batch_and_a_candidate() -> None:
    """Resident tokens and tokens to go: (5, 1) and (3, 4) run, (2, 6) asks; the peak is 13."""
    rows = np.zeros(3, tables.REQUEST)
    rows["true_output_tokens"] = -1
    for row, (resident, left) in zip(rows, [(5, 1), (3, 4), (2, 6)], strict=True):
        row["prompt_tokens"], row["predicted_output_tokens"], row["next"] = resident + 1, left, -1
    rows[0]["next"] = 1
    server = np.zeros(1, tables.SERVER)
    server["requests"], server["block_size"], server["num_running"] = address_of(rows), 1, 2
    for memory, fits in ((12, False), (13, True)):
        server["num_kv_blocks"] = memory
        assert holds_to_the_end(rows[2], server[0]) == fits


@pytest.mark.parametrize(
    ("policy", "expected", "processed"), [("vllm", [6, 10], 32), ("reserve:by=declared", [6, 12], 24)]
)
def test_repairing_against_reserving(policy: str, expected: list[int], processed: int) -> None:
    """Two requests of 7 + 6 tokens in 5 blocks of 4: the second is recomputed, or waits."""
    server = ServerConfig(num_kv_blocks=5, block_size=4)
    sim = Simulator(server, load_profile("iterations").to_integers(4), make_policy(policy))
    columns = {"arrival_ps": [0, 0], "prompt_tokens": [7, 7], "output_tokens": [6, 6], "max_output_tokens": 6}
    sim.run(iter([make_requests(**columns)]))
    assert (np.sort(sim.departures(), order="id")["finish_ps"] // PS).tolist() == expected
    assert sim.totals().processed_tokens == processed


# Flow control


def flow(arrivals: np.ndarray, rounds: int) -> tuple[int, np.ndarray]:
    """Classes (10, 20), (10, 40), (10, 60), four of each admitted a round; `arrivals[t, class]`. Returns the largest
    number of tokens held, and how many wait after each round."""
    times, classes = np.repeat(np.argwhere(arrivals >= 0), arrivals.ravel(), axis=0).T
    requests = requests_of(
        [(int(t), 10, 20 * (int(k) + 1)) for t, k in zip(times, classes, strict=True)], tenant=classes
    )
    sim = simulator(16_492, "flow-control:budget=4", log=True, until_ps=(rounds - 1) * PS)
    sim.run(iter([requests]))
    what, a, b = sim.log_triples().T
    assert sim.totals().num_preemptions == (0, 0, 0, 0)
    return 16_492 - int(a[what == log.FREE_BEFORE].min()), b[what == log.QUEUES]


@simulated
def test_flow_control_holds_16240_tokens() -> None:
    backlog = np.zeros((1, 3), int) + 2000
    assert flow(backlog, 400)[0] == 16_240


@simulated
def test_flow_control_is_three_queues_of_four_servers_a_round() -> None:
    arrivals = np.random.default_rng(2).poisson(3.6, (500, 3))
    queue, expected = np.zeros(3, int), []
    for new in arrivals:
        queue = np.maximum(queue + new - 4, 0)
        expected.append(int(queue.sum()))
    peak, waiting = flow(arrivals, 500)
    assert peak <= 16_240
    assert waiting.tolist() == expected
    assert max(expected) > 20


# The eviction cycle: identical requests, always more of them

#: (s, o), memory: share of the bound on the throughput that each policy reaches.
SHARES = {
    (10, 60, 16_492): {"reserve": 0.577, "mc-sf": 0.59, "evict-restart": 0.60, "paced:share=0.99": 0.99},
    (100, 100, 10_000): {"reserve": 0.75, "mc-sf": 0.75, "evict-restart": 0.75, "paced:share=0.99": 0.99},
    (512, 128, 65_536): {"reserve": 0.90, "mc-sf": 0.92, "evict-restart": 0.92, "paced:share=0.99": 0.99},
}


def share_of_bound(s: int, o: int, memory: int, policy: str) -> tuple[float, int]:
    """Requests a round over the bound memory / (s o + o (o + 1) / 2), after a warm-up; evictions."""
    bound = memory / (s * o + o * (o + 1) / 2)
    rounds, warm_up = 30 * o, 10 * o
    num = int(bound * rounds * 1.1)
    sim = simulator(memory, policy, until_ps=rounds * PS)
    sim.run(iter([requests_of([(0, s, o)] * num)]))
    finish = sim.departures()["finish_ps"] // PS
    num_finished = int(((finish > warm_up) & (finish <= rounds)).sum())
    return num_finished / (rounds - warm_up) / bound, sum(sim.totals().num_preemptions)


@simulated
@pytest.mark.parametrize("case", SHARES, ids=str)
def test_greedy_admission_locks_into_a_cycle(case: tuple[int, int, int]) -> None:
    """Who enters together leaves together, and memory stands empty after; pacing avoids it, and so does recompute,
    which keeps what was generated. The printed shares are of another simulator, over another stretch of the cycle."""
    for policy, expected in SHARES[case].items():
        share, preempted = share_of_bound(*case, policy)
        assert share == pytest.approx(expected, abs=0.004 if policy.startswith(("reserve", "paced")) else 0.025)
        assert (preempted > 0) == (policy == "evict-restart")
    assert share_of_bound(*case, "vllm")[0] > 0.97
