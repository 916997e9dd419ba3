"""Rounds of a token budget: who is stable where, after Dai, Deng, Li and Peng (arXiv 2504.07347).

A round of b tokens takes 11.28 + 35.47 ceil(b / 128) ms (CodeLlama-34B on one GPU); memory is no limit. The paper's d
decode tokens are d + 1 output tokens here: the end of the prompt yields the first.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel import log, tables
from llmqgym.simulator import Simulator
from llmqgym.theory import token_bound
from llmqgym.validation.check import Check, Measured, Sense
from llmqgym.workload.workload import make_requests

GROUP = "token-rounds"
SOURCE = "arXiv 2504.07347, reference/queueing.md 6.1"
PS_PER_MS = tables.PS_PER_S // 1000
UNBOUNDED = 2**40
#: Budget, and prompt and decode tokens, of the critical rate; how long it is watched.
BUDGET, PROMPT, DECODES, SPAN_MS = 512, 100, 100, 1.8e6
#: A corner of the region that 100 slots leave: (290, 990) tokens at this interval.
CORNER_PROMPT, CORNER_DECODES, CORNER_SLOTS, CORNER_EVERY_MS = 290, 990, 100, 467.5

Requests = NDArray[np.void]


def run(policy: str, server: ServerConfig, requests: Requests, until_ms: float, **how: Any) -> Simulator:
    """A run to `until_ms`."""
    profile = load_profile("staircase").to_integers(16)
    sim = Simulator(server, profile, make_policy(policy), until_ps=int(until_ms * PS_PER_MS), **how)
    sim.run(iter([requests]))
    return sim


def in_system(rows: Requests, requests: Requests, *at_ms: float) -> list[int]:
    """Requests that have arrived and not finished at those times."""
    finish = rows["finish_ps"][rows["status"] == tables.Status.FINISHED]
    times = [at * PS_PER_MS for at in at_ms]
    return [int((requests["arrival_ps"] <= time).sum() - (finish <= time).sum()) for time in times]


def critical_per_s() -> float:
    """Requests a second that fill every round."""
    round_ps = load_profile("staircase").to_integers(16).iteration_ps(BUDGET, 0, 0, 0)
    return token_bound(BUDGET, round_ps / tables.PS_PER_S, PROMPT + DECODES)


def critical_rate(quick: bool) -> Measured:
    """The same, as a check."""
    return Measured(critical_per_s())


def poisson(load: float) -> Requests:
    """Half an hour of requests at a share of the critical rate."""
    num = int(load * critical_per_s() * SPAN_MS / 1000)
    gaps = np.random.default_rng(3).exponential(1.0, num)
    return make_requests(
        arrival_s=np.cumsum(gaps / gaps.sum()) * SPAN_MS / 1000,
        prompt_tokens=np.full(num, PROMPT),
        output_tokens=np.full(num, DECODES + 1),
    )


def backlog_growth(policy: str, load: float, quick: bool) -> Measured:
    """Tokens left after half an hour, as a share of what the server could have processed."""
    server = ServerConfig(num_kv_blocks=UNBOUNDED, max_running=UNBOUNDED, max_batched_tokens=BUDGET)
    requests = poisson(load)
    sim = run(policy, server, requests, SPAN_MS)
    tokens = (PROMPT + DECODES) * len(requests) - sim.totals().processed_tokens
    half, whole = in_system(sim.departures(), requests, SPAN_MS / 2, SPAN_MS)
    could = critical_per_s() * (PROMPT + DECODES) * SPAN_MS / 1000
    return Measured(tokens / could, note=f"{half:,} requests in the system after 15 minutes, {whole:,} after 30")


def corner(num: int) -> Requests:
    """Requests of the corner, evenly spaced."""
    return make_requests(
        arrival_ps=np.arange(num) * int(CORNER_EVERY_MS * PS_PER_MS),
        prompt_tokens=np.full(num, CORNER_PROMPT),
        output_tokens=np.full(num, CORNER_DECODES + 1),
    )


def corner_server(budget: int, chunked: bool = True) -> ServerConfig:
    """Nothing is short but slots and tokens."""
    return ServerConfig(
        num_kv_blocks=UNBOUNDED, max_running=CORNER_SLOTS, max_batched_tokens=budget, chunked_prefill=chunked
    )


def locked_in(quick: bool) -> Measured:
    """Share of Sarathi's batches, after the first 2,000, that are 99 decodes and 29 tokens of a prompt."""
    requests = corner(1000)
    span_ms = len(requests) * CORNER_EVERY_MS
    sim = run("sarathi", corner_server(128), requests, span_ms - 1, log=True)
    batches = [sorted(batch) for batch in split(sim.log_triples())][2000:]
    locked = sum(batch == [1] * 99 + [29] for batch in batches)
    running = in_system(sim.departures(), requests, span_ms - 1)
    return Measured(locked / len(batches), note=f"{len(batches):,} batches; {running[0]} requests in the system")


def split(triples: NDArray[np.int64]) -> list[list[int]]:
    """The tokens that each request of a batch was given, batch by batch."""
    batches: list[list[int]] = []
    for what, _, tokens in triples.tolist():
        if what == log.ITERATION:
            batches.append([])
        elif what in (log.SCHEDULED, log.SCHEDULED_PART):
            batches[-1].append(tokens)
    return batches


def corner_growth(policy: str, budget: int, quick: bool) -> Measured:
    """Requests in the system at the end over those at half-time."""
    requests = corner(12_000)
    span_ms = len(requests) * CORNER_EVERY_MS
    sim = run(policy, corner_server(budget), requests, span_ms)
    half, whole = in_system(sim.departures(), requests, span_ms / 2, span_ms)
    return Measured(whole / half, note=f"{half:,} requests after 6,000 arrivals, {whole:,} after 12,000")


def corner_backlog(policy: str, quick: bool) -> Measured:
    """Tokens left a request after so many arrivals where whole prompts do not fit the budget."""
    requests = corner(50)
    sim = run(policy, corner_server(128, chunked=False), requests, len(requests) * CORNER_EVERY_MS)
    tokens = len(requests) * (CORNER_PROMPT + CORNER_DECODES) - sim.totals().processed_tokens
    return Measured(tokens / len(requests), note=f"{sim.totals().num_iterations} batches, {sim.totals().outcome}")


def differing_rounds(policy: str, budget: int, printed: str, quick: bool) -> Measured:
    """Rounds of figure 8 that are not as printed.

    A, B and C have done their prompts (in round 0 here) and decode for 2, 4 and 3 rounds; D and E, of one prompt and
    one decode token, arrive during round 1. "d" after a name is a decode, "p" a prompt.
    """
    requests = make_requests(
        arrival_s=[0, 0, 0, 1.25, 1.5], prompt_tokens=[1] * 5, output_tokens=[3, 5, 4, 2, 2], max_output_tokens=8
    )
    server = ServerConfig(num_kv_blocks=100, max_batched_tokens=budget)
    sim = Simulator(server, load_profile("iterations").to_integers(16), make_policy(policy), log=True)
    sim.run(iter([requests]))
    rounds: list[list[str]] = []
    seen: set[int] = set()
    for what, request, _ in sim.log_triples().tolist():
        if what == log.ITERATION:
            rounds.append([])
        elif what == log.SCHEDULED:
            rounds[-1].append("ABCDE"[request] + ("d" if request in seen else "p"))
            seen.add(request)
    ours, theirs = ["".join(sorted(batch)) for batch in rounds[1:]], printed.split()
    differing = sum(a != b for a, b in zip(ours, theirs, strict=False)) + abs(len(ours) - len(theirs))
    return Measured(differing, note=" ".join(ours))


#: Figure 8, with the budgets under which its rows come out.
ROUNDS = {
    ("prefill-first", 4): "DpEp AdBdCdDd BdCdEd Bd",
    ("orca", 5): "AdBdCdDpEp BdCdDdEd Bd",
    ("ft-rounds", 4): "AdBdCd BdCd Bd DpEp DdEd",
    ("sarathi", 4): "AdBdCdDp BdCdDdEp BdEd",
    ("vllm", 4): "AdBdCdDp BdCdDdEp BdEd",
}
#: Round 1, before anybody else has come, is the same everywhere.
FIRST_ROUND = "AdBdCd"


def _check(name: str, expected: float, tolerance: float, measure: Any, sense: Sense = Sense.EQUAL) -> Check:
    return Check(GROUP, name, SOURCE, expected, tolerance, measure, sense, quick_tolerance=tolerance, cost_s=2)


def _stability() -> list[Check]:
    checks = [_check("critical rate of (100, 100), budget 512, requests/s", 16.715, 1e-3, critical_rate)]
    for policy in ("vllm", "sarathi", "orca"):
        checks += [
            _check(f"{policy} at 0.9 of it: backlog over capacity", 0, 0.01, partial(backlog_growth, policy, 0.9)),
            _check(f"{policy} at 1.1 of it: backlog over capacity", 0.1, 0.005, partial(backlog_growth, policy, 1.1)),
        ]
    for policy in ("prefill-first", "ft-rounds"):
        growth = partial(backlog_growth, policy, 0.9)
        checks.append(
            _check(f"{policy}, which does not mix, at 0.9: backlog over capacity", 0.05, 0, growth, Sense.AT_LEAST)
        )
    return checks


def _corner() -> list[Check]:
    each = CORNER_PROMPT + CORNER_DECODES
    return [
        _check("corner C, sarathi 128: share of batches of 29 + 99 tokens", 1, 0, locked_in),
        *(
            _check(
                f"corner C, {policy} {budget} diverges: backlog at the end over half-time",
                1.7,
                0,
                partial(corner_growth, policy, budget),
                Sense.AT_LEAST,
            )
            for policy, budget in [("orca", 128), ("sarathi", 1024)]
        ),
        *(
            _check(f"corner C, {policy} 128: tokens left a request", each, 0, partial(corner_backlog, policy))
            for policy in ("ft-rounds", "prefill-first")
        ),
    ]


CHECKS = (
    *_stability(),
    *_corner(),
    *(
        _check(
            f"figure 8, {policy}, budget {budget}: rounds that differ",
            0,
            0,
            partial(differing_rounds, policy, budget, f"{FIRST_ROUND} {printed}"),
        )
        for (policy, budget), printed in ROUNDS.items()
    ),
)
