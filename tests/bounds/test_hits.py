"""Bounds for servers with prefix caching: the hits that they allow are enough for every schedule that is one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adversary import Instance, check, run, search, sharing, taking_back_no_chunk
from cases import by_priority, last_come, more_urgent

from baselines.registry import make_policy
from llmqgym.bounds import ideal_hits, latency_bounds
from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware import load_profile
from llmqgym.kernel.jit import COMPILED
from llmqgym.policy import Policy
from llmqgym.simulator import Simulator
from llmqgym.workload.traces.open import read_trace
from llmqgym.workload.workload import make_requests

TRACE = Path(__file__).parents[3] / "shared" / "traces" / "dev" / "mooncake_conversation.csv.gz"


def attack(seed: int, num_instances: int, tries: int, most: int) -> list[dict[str, float]]:
    """Bound / mean, the largest found on each of so many instances."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(num_instances):
        instance = sharing(rng, int(rng.integers(2, most + 1)))
        hits = ideal_hits(instance.requests, instance.hashes, instance.server.block_size)
        bounds = latency_bounds(instance.requests, instance.profile, instance.server, hits)
        found.append(search(rng, instance, bounds, tries, taking_back_no_chunk(instance.server)))
    return found


def test_no_schedule_found_is_below_a_bound() -> None:
    attack(1, 150 if COMPILED else 4, 15, 8)


@pytest.mark.slow
def test_no_schedule_found_is_below_a_bound_on_thousands() -> None:
    attack(2, 3000, 40, 8)
    attack(3, 500, 40, 40)


def test_without_hits_the_search_is_below() -> None:
    """So it does find blocks again, and the hits are what makes the bounds true."""
    rng, beaten = np.random.default_rng(5), 0
    for _ in range(60 if COMPILED else 8):
        instance = sharing(rng, int(rng.integers(2, 9)))
        as_if = latency_bounds(instance.requests, instance.profile, replace(instance.server, prefix_caching=False))
        try:
            search(rng, instance, as_if, 10, taking_back_no_chunk(instance.server))
        except AssertionError:
            beaten += 1
    assert beaten > 0


def by_definition(blocks: list[list[Any]], prompts: list[int], size: int) -> tuple[list[int], list[int], list[int]]:
    """`Hits` from the contents of all full blocks [R, ..], None for what is the request's own."""
    earlier, shared, held = [0] * len(prompts), [0] * len(prompts), [0] * len(prompts)
    for i, own in enumerate(blocks):
        for k, content in enumerate(own):
            others = [j for j in range(len(blocks)) if j != i and k < len(blocks[j]) and blocks[j][k] == content]
            if content is None or not others:
                continue
            held[i] = k + 1
            if (k + 1) * size < prompts[i]:
                shared[i] = (k + 1) * size
                if min(others) < i or any((k + 1) * size == prompts[j] for j in others):
                    earlier[i] = (k + 1) * size
    return earlier, shared, held


def contents(instance: Instance) -> list[list[Any]]:
    """Of all full blocks, as docs/model.md has them."""
    size, hashes, blocks = instance.server.block_size, instance.hashes, []
    for request in instance.requests:
        own: list[Any] = []
        for end in range(size, int(request["prompt_tokens"]) + 1, size):
            content = ("group", int(request["prefix_group"])) if end <= request["prefix_tokens"] else None
            if hashes is not None:
                part = (end - 1) // hashes.block_tokens
                if part < request["num_hashes"] and part * hashes.block_tokens <= end - size:
                    content = ("hash", int(hashes.ids[request["first_hash"] + part]))
            own.append(content)
        blocks.append(own)
    return blocks


def test_the_hits_are_at_least_what_the_contents_say() -> None:
    rng = np.random.default_rng(7)
    exact = 0
    for _ in range(400):
        instance = sharing(rng, int(rng.integers(1, 9)))
        size, requests = instance.server.block_size, instance.requests
        wanted = by_definition(contents(instance), requests["prompt_tokens"].tolist(), size)
        found = ideal_hits(requests, instance.hashes, size)
        got = (found.earlier, found.shared, found.shared_blocks)
        assert all((np.array(least) <= hits).all() for least, hits in zip(wanted, got, strict=True))
        assert (found.shared < requests["prompt_tokens"]).all()
        exact += all((np.array(least) == hits).all() for least, hits in zip(wanted, got, strict=True))
    assert exact > 200


def test_a_prompt_that_ends_with_a_shared_block_is_computed_by_its_request() -> None:
    """The second to come computes its only block itself if it is the first to run: then the first need not."""
    requests = make_requests(
        arrival_s=[0, 0], prompt_tokens=[32, 16], output_tokens=[1, 1], prefix_group=[0, 0], prefix_tokens=[32, 16]
    )
    hits = ideal_hits(requests, None, 16)
    assert (hits.earlier.tolist(), hits.shared_blocks.tolist()) == ([16, 0], [1, 1])
    server, profile = ServerConfig(prefix_caching=True), load_profile("linear:base_ms=0,token_ms=1").to_integers(16)
    rows = run(Instance(requests, server, profile), requests, Policy("last-first", order=last_come))
    assert rows["finish_ps"].max() == 32 * 10**9


def test_a_chunk_that_is_taken_back_is_found_though_nobody_has_computed_it() -> None:
    """The exception that `Hits` states. If this fails the model has got rid of it, and the exception can go."""
    requests = make_requests(arrival_s=[0, 0.001], prompt_tokens=[3000, 1], output_tokens=[1, 1], priority=[1, 0])
    server, profile = ServerConfig(prefix_caching=True, max_running=1), load_profile("linear:base_ms=1,token_ms=1")
    instance = Instance(requests, server, profile.to_integers(16))
    rows = run(instance, requests, Policy("urgent", order=by_priority, preempt=more_urgent))
    assert rows["prefix_hit_tokens"].max() == 2992  # of which 2048 were computed
    bounds = latency_bounds(requests, instance.profile, server, ideal_hits(requests, None, 16))
    assert (rows["finish_ps"] - rows["arrival_ps"]).max() < 2.1e12 < 3e12 <= 2 * bounds.best_e2e_s * 1e12


@pytest.mark.skipif(not TRACE.is_file(), reason="needs the trace in ../shared/traces/dev")
@pytest.mark.skipif(not COMPILED, reason="thousands of requests take minutes in plain Python")
def test_the_conversations_of_mooncake() -> None:
    trace = read_trace(TRACE)
    profile = load_profile("a100-llama-3-8b").to_integers(16)
    server = ServerConfig(prefix_caching=True, num_kv_blocks=10**6)
    hits = ideal_hits(trace.requests, trace.hashes, 16)
    # In order of arrival and with nothing forgotten so many are found (tests/test_prefix_cache.py).
    assert hits.earlier.sum() >= 54_097_440
    assert hits.earlier.sum() < 1.01 * 54_097_440
    first = replace(trace, requests=trace.requests[:1000])
    bounds = latency_bounds(first.requests, profile, server, ideal_hits(first.requests, first.hashes, 16))
    for policy in ("vllm", "sjf"):
        simulator = Simulator(server, profile, make_policy(policy), hashes=first.hashes)
        simulator.run(first.chunks())
        assert check(bounds, simulator.departures()) is not None


def test_hits_are_asked_for_and_lower_the_bounds() -> None:
    requests = make_requests(
        arrival_s=[0, 0, 1], prompt_tokens=[40, 40, 40], output_tokens=[9, 9, 9], prefix_group=0, prefix_tokens=36
    )
    profile, server = load_profile("a100-llama-3-8b").to_integers(16), ServerConfig(prefix_caching=True)
    with pytest.raises(InputError, match="give hits"):
        latency_bounds(requests, profile, server)
    whole = latency_bounds(requests, profile, replace(server, prefix_caching=False))
    hit = latency_bounds(requests, profile, server, ideal_hits(requests, None, 16))
    assert hit.best_e2e_s <= whole.best_e2e_s
    assert hit.best_ttft_s < whole.best_ttft_s
