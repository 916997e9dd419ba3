"""Prefix caching: what an infinite cache finds in a real trace, and that an empty one changes nothing."""

from __future__ import annotations

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.run import simulate
from llmqgym.validation.beside import beside
from llmqgym.validation.check import Check, Measured
from llmqgym.workload.generate import poisson_lognormal
from llmqgym.workload.traces.open import read_trace

GROUP = "prefix-cache"


def hits_of_an_hour(quick: bool) -> Measured:
    """Tokens found in Mooncake's conversations."""
    trace = read_trace(beside("traces", "dev", "mooncake_conversation.csv.gz"))
    server = ServerConfig(prefix_caching=True, num_kv_blocks=2**40)
    summary = simulate(trace, policy=make_policy("vllm"), server=server, seed=1).summary
    return Measured(summary["prefix_cache_hits"], note=f"{summary['prefix_cache_hit_rate']:.1%} of the prompts' tokens")


def bytes_that_differ(quick: bool) -> Measured:
    """Departures with caching and without, where no two prompts share anything."""
    workload = poisson_lognormal(3000, 7.0, 2)
    rows = [
        simulate(workload, policy=make_policy("vllm"), server=ServerConfig(prefix_caching=on), seed=1).departures
        for on in (False, True)
    ]
    plain, caching = (each.tobytes() for each in rows)
    differing = sum(a != b for a, b in zip(plain, caching, strict=False)) + abs(len(plain) - len(caching))
    return Measured(differing, note=f"{len(rows[0]):,} requests, {len(plain):,} bytes")


CHECKS = (
    Check(
        group=GROUP,
        name="hit tokens of mooncake_conversation, infinite cache, blocks of 16",
        source="sum over the trace of 16 floor(min(ideal_prefix_hit_tokens, prompt - 1) / 16)",
        expected=54_097_440,
        tolerance=0,
        quick_tolerance=0,
        measure=hits_of_an_hour,
        cost_s=15,
    ),
    Check(
        group=GROUP,
        name="bytes of the departures that caching changes where nothing is shared",
        source="hit rate 0 equals the run without cache, bit for bit",
        expected=0,
        tolerance=0,
        quick_tolerance=0,
        measure=bytes_that_differ,
    ),
)
