"""The paged KV cache behind four functions: look up, allocate, release, count free.

Nothing above this file knows how blocks are kept. Today they are counted; reference counts and hashes for prefix
caching go in here.
"""

from __future__ import annotations

from typing import Any

from llmqgym.kernel.division import quotient
from llmqgym.kernel.jit import helper


@helper
def blocks_for(sim: Any, tokens: int) -> int:
    """Blocks that `tokens` tokens fill."""
    return quotient(tokens + sim.block_size - 1, sim.block_size)


@helper
def lookup_tokens(sim: Any, request: Any) -> int:
    """Tokens of a request that need not be computed when it is admitted: what it kept through hold or swap."""
    return request.computed_tokens


@helper
def allocate(sim: Any, request: Any, tokens: int) -> None:
    """Give a request the blocks for its first `tokens` tokens; the caller has made sure that they are free."""
    blocks = blocks_for(sim, tokens)
    sim.free_kv_blocks -= blocks - request.kv_blocks
    request.kv_blocks = blocks


@helper
def release(sim: Any, request: Any, tokens: int) -> None:
    """Take back a request's blocks but those for its first `tokens` tokens."""
    blocks = blocks_for(sim, tokens)
    if blocks < request.kv_blocks:
        sim.free_kv_blocks += request.kv_blocks - blocks
        request.kv_blocks = blocks


@helper
def release_all(sim: Any, request: Any) -> None:
    """Take back all blocks of a request."""
    sim.free_kv_blocks += request.kv_blocks
    request.kv_blocks = 0


@helper
def count_free(sim: Any) -> int:
    """Blocks that are free now."""
    return sim.free_kv_blocks
