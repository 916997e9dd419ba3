"""Rounds of a token budget: who is stable where, after Dai, Deng, Li and Peng (arXiv 2504.07347).

A round of b tokens takes 11.28 + 35.47 ceil(b / 128) ms (CodeLlama-34B on one GPU); memory is no limit. The paper's d
decode tokens are d + 1 output tokens here: the end of the prompt yields the first.
"""

from __future__ import annotations

import numpy as np
import pytest

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel import log, tables
from llmqgym.kernel.jit import COMPILED
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests

PS_PER_MS = tables.PS_PER_S // 1000
simulated = pytest.mark.skipif(not COMPILED, reason="so many rounds take hours in plain Python")


def run(policy: str, server: ServerConfig, requests: np.ndarray, until_ms: float, **how: bool) -> Simulator:
    """A run to `until_ms`."""
    profile = load_profile("staircase").to_integers(16)
    sim = Simulator(server, profile, make_policy(policy), until_ps=int(until_ms * PS_PER_MS), **how)
    sim.run(iter([requests]))
    return sim


def in_system(rows: np.ndarray, requests: np.ndarray, *at_ms: float) -> list[int]:
    """Requests that have arrived and not finished at those times."""
    finish = rows["finish_ps"][rows["status"] == tables.Status.FINISHED]
    times = [at * PS_PER_MS for at in at_ms]
    return [int((requests["arrival_ps"] <= time).sum() - (finish <= time).sum()) for time in times]


# Work-conserving policies are stable up to (512 / 153.16 ms) / 200 tokens = 16.715 requests a second

TOKENS_PER_S = 512 / 0.15316
CRITICAL_PER_S = TOKENS_PER_S / 200
SPAN_MS = 1.8e6


def poisson(load: float) -> np.ndarray:
    """Half an hour of requests of 100 + 100 tokens."""
    num = int(load * CRITICAL_PER_S * SPAN_MS / 1000)
    gaps = np.random.default_rng(3).exponential(1.0, num)
    return make_requests(
        arrival_s=np.cumsum(gaps / gaps.sum()) * SPAN_MS / 1000,
        prompt_tokens=np.full(num, 100),
        output_tokens=np.full(num, 101),
    )


def run_at(policy: str, load: float) -> tuple[int, int, int]:
    """Requests in the system after half an hour's arrivals and after the half of it, and the tokens that are left."""
    server = ServerConfig(num_kv_blocks=2**40, max_running=2**40, max_batched_tokens=512)
    requests = poisson(load)
    sim = run(policy, server, requests, SPAN_MS)
    tokens = 200 * len(requests) - sim.totals().processed_tokens
    half, whole = in_system(sim.departures(), requests, SPAN_MS / 2, SPAN_MS)
    return half, whole, tokens


def test_the_critical_rate() -> None:
    assert pytest.approx(16.715, abs=0.001) == CRITICAL_PER_S
    assert load_profile("staircase").to_integers(16).iteration_ps(512, 0, 0, 0) == round(153.16 * PS_PER_MS)


@simulated
@pytest.mark.parametrize("policy", ["vllm", "sarathi", "orca_dai"])
def test_work_conserving_policies_are_stable_up_to_the_critical_rate(policy: str) -> None:
    half, whole, _ = run_at(policy, 0.9)
    assert max(half, whole) < 700
    half, whole, tokens = run_at(policy, 1.1)
    assert whole > 1.6 * half
    assert tokens == pytest.approx(0.1 * TOKENS_PER_S * SPAN_MS / 1000, rel=0.05)


@simulated
@pytest.mark.parametrize("policy", ["prefill-first", "ft_dai", "vllm-v0"])
def test_who_does_not_mix_is_unstable_below_it(policy: str) -> None:
    half, whole, tokens = run_at(policy, 0.9)
    assert whole > 1.4 * half > 1000
    assert tokens > 0.05 * TOKENS_PER_S * SPAN_MS / 1000


# A corner of the region that a limit of 100 running requests leaves: (290, 990) tokens every 467.5 ms

EVERY_MS = 467.5


def corner(num: int) -> np.ndarray:
    """Deterministic arrivals."""
    return make_requests(
        arrival_ps=np.arange(num) * int(EVERY_MS * PS_PER_MS),
        prompt_tokens=np.full(num, 290),
        output_tokens=np.full(num, 991),
    )


def corner_server(budget: int, chunked: bool = True) -> ServerConfig:
    """At most 100 running."""
    return ServerConfig(num_kv_blocks=2**40, max_running=100, max_batched_tokens=budget, chunked_prefill=chunked)


@simulated
def test_sarathi_locks_into_29_and_99_tokens() -> None:
    requests = corner(1000)
    span_ms = len(requests) * EVERY_MS
    sim = run("sarathi", corner_server(128), requests, span_ms - 1, log=True)
    batches = [sorted(batch) for batch in split(sim.log_triples())]
    assert len(batches) == 10_000
    assert all(batch == [1] * 99 + [29] for batch in batches[2000:])
    assert in_system(sim.departures(), requests, span_ms - 1) == [100]


def split(triples: np.ndarray) -> list[list[int]]:
    """The tokens that each request of a batch was given, batch by batch."""
    batches: list[list[int]] = []
    for what, _, tokens in triples.tolist():
        if what == log.ITERATION:
            batches.append([])
        elif what in (log.SCHEDULED, log.SCHEDULED_PART):
            batches[-1].append(tokens)
    return batches


@simulated
@pytest.mark.parametrize(("policy", "budget"), [("orca", 128), ("sarathi", 1024)])
def test_others_diverge_at_the_corner(policy: str, budget: int) -> None:
    requests = corner(12_000)
    span_ms = len(requests) * EVERY_MS
    sim = run(policy, corner_server(budget), requests, span_ms)
    half, whole = in_system(sim.departures(), requests, span_ms / 2, span_ms)
    assert whole > 1.7 * half > 300


@pytest.mark.parametrize("policy", ["ft-rounds", "prefill-first"])
def test_whole_prompts_never_form_a_batch(policy: str) -> None:
    """290 tokens do not fit into 128: nobody is ever served."""
    sim = run(policy, corner_server(128, chunked=False), corner(50), 50 * EVERY_MS)
    assert sim.totals().num_iterations == 0
    assert sim.totals().outcome == "stalled"


# Five requests batch by batch: figure 8 of the paper, with the budgets under which its rows come out. A, B and C have
# done their prompts (in round 0 here) and decode for 2, 4 and 3 rounds; D and E, of one prompt and one decode token,
# arrive during round 1. "d" after a name is a decode, "p" a prompt.

ROUNDS = {
    ("prefill-first", 4): "AdBdCd DpEp AdBdCdDd BdCdEd Bd",
    ("orca", 5): "AdBdCd AdBdCdDpEp BdCdDdEd Bd",
    ("ft-rounds", 4): "AdBdCd AdBdCd BdCd Bd DpEp DdEd",
    ("sarathi", 4): "AdBdCd AdBdCdDp BdCdDdEp BdEd",
    ("vllm", 4): "AdBdCd AdBdCdDp BdCdDdEp BdEd",
}


@pytest.mark.parametrize(("policy", "budget"), ROUNDS)
def test_five_requests_batch_by_batch(policy: str, budget: int) -> None:
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
    assert " ".join("".join(sorted(batch)) for batch in rounds) == "ApBpCp " + ROUNDS[policy, budget]
