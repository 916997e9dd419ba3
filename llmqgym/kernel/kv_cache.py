"""The paged KV cache behind four functions: look up, allocate, release, count free.

Nothing above this file knows how blocks are kept: counted, or, with prefix caching, each with a content of its own
(prefix_cache.py).
"""

from __future__ import annotations

from typing import Any

from llmqgym.kernel.division import quotient, remainder
from llmqgym.kernel.hooks import call_service
from llmqgym.kernel.jit import helper


@helper
def whole_blocks(sim: Any, tokens: int) -> int:
    """Blocks that `tokens` tokens fill to the last place. Sizes are nearly always powers of two: no division."""
    return tokens >> (sim.block_bits - 1) if sim.block_bits > 0 else quotient(tokens, sim.block_size)


@helper
def beyond_blocks(sim: Any, tokens: int) -> int:
    """Tokens that these leave for a block that is not full."""
    return tokens & (sim.block_size - 1) if sim.block_bits > 0 else remainder(tokens, sim.block_size)


@helper
def blocks_for(sim: Any, tokens: int) -> int:
    """Blocks that `tokens` tokens need."""
    return whole_blocks(sim, tokens + sim.block_size - 1)


@helper
def look_up(sim: Any, row: int, request: Any) -> int:
    """Tokens of a request that need not be computed if it is admitted now: what it kept through hold or swap, or what
    it finds in the cache."""
    if sim.prefix_caching:
        call_service(sim.look_up_service, sim, row, 0)
    return request.computed_tokens + sim.found_blocks * sim.block_size


@helper
def blocks_lacking(sim: Any, request: Any, tokens: int) -> int:
    """Free blocks that a request just looked up takes for its first `tokens` tokens."""
    return blocks_for(sim, tokens) - request.kv_blocks - sim.found_blocks + sim.found_free


@helper
def take_found(sim: Any, row: int) -> int:
    """A request just looked up takes what it found; returns those tokens."""
    return call_service(sim.take_found_service, sim, row, 0) if sim.found_blocks > 0 else 0


@helper
def allocate(sim: Any, row: int, request: Any, tokens: int) -> None:
    """Give a request the blocks for its first `tokens` tokens; the caller has made sure that they are free."""
    blocks = blocks_for(sim, tokens)
    sim.free_kv_blocks -= blocks - request.kv_blocks
    if sim.prefix_caching:
        call_service(sim.grow_service, sim, row, blocks - request.kv_blocks)
    request.kv_blocks = blocks
    if sim.prefix_caching:
        call_service(sim.register_service, sim, row, tokens)


@helper
def release(sim: Any, row: int, request: Any, tokens: int) -> None:
    """Take back a request's blocks but those for its first `tokens` tokens."""
    blocks = blocks_for(sim, tokens)
    if blocks < request.kv_blocks:
        if sim.prefix_caching:
            sim.free_kv_blocks += call_service(sim.shrink_service, sim, row, request.kv_blocks - blocks)
        else:
            sim.free_kv_blocks += request.kv_blocks - blocks
        request.kv_blocks = blocks


@helper
def release_all(sim: Any, row: int, request: Any) -> None:
    """Take back all blocks of a request."""
    release(sim, row, request, 0)


@helper
def count_free(sim: Any) -> int:
    """Blocks that are free now, those included whose content is still there."""
    return sim.free_kv_blocks
