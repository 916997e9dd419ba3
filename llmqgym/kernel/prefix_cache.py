"""Blocks with an identity: what is in them can be found again, by the request that filled them or by another.

As vLLM keeps them. A block has a reference count and, once all its tokens are known, a content: the hash that a trace
gives for that part of the prompt, or the prefix group that shares it, or else the request itself. Blocks without a
reference are free; those with a content wait in a queue, least recently used first, and can be taken back from there;
those without one are used again first. A request's blocks are a stack of nodes, its last block on top.
"""

from __future__ import annotations

from typing import Any

from llmqgym.kernel.division import quotient
from llmqgym.kernel.hashing import random_bits
from llmqgym.kernel.jit import helper
from llmqgym.kernel.memory import block_at, hidden_at, node_at, peek, poke, request_at
from llmqgym.kernel.tables import Mode

#: Above any id of a request: restarts count in the digits beyond.
_RESTART = 1 << 44
#: Above any prefix group, twice.
_HASHED = 1 << 50


@helper
def _owner(sim: Any, request: Any, index: int) -> int:
    """Whose content block `index` of a request has: a hash's, its group's if all its tokens are shared, or its own.
    Tokens that are generated anew after a restart are others."""
    end = (index + 1) * sim.block_size
    if sim.hashes != 0 and request.first_hash >= 0 and end <= request.prompt_tokens:
        place = quotient(end - 1, sim.hash_block_tokens)
        if place < request.num_hashes and place * sim.hash_block_tokens <= index * sim.block_size:
            return _HASHED + 2 * peek(sim.hashes, request.first_hash + place)
    if request.prefix_group >= 0 and end <= min(request.prefix_tokens, request.prompt_tokens):
        return 2 * request.prefix_group
    own = 2 * request.id + 1
    return own if end <= request.prompt_tokens else own + _RESTART * request.num_preemptions[Mode.RESTART]


@helper
def _bucket(sim: Any, owner: int, index: int) -> int:
    return random_bits(0, owner, index) & (sim.num_buckets - 1)


@helper
def _find(sim: Any, owner: int, index: int) -> int:
    """The block with this content that was filled first, or -1."""
    number = peek(sim.buckets, _bucket(sim, owner, index))
    while number >= 0:
        block = block_at(sim.blocks, number)
        if block.owner == owner and block.index == index:
            return number
        number = block.same_bucket
    return -1


@helper
def _append_to_bucket(sim: Any, number: int) -> None:
    block = block_at(sim.blocks, number)
    block.same_bucket = -1
    bucket = _bucket(sim, block.owner, block.index)
    last = peek(sim.buckets, bucket)
    if last < 0:
        poke(sim.buckets, bucket, number)
        return
    while block_at(sim.blocks, last).same_bucket >= 0:
        last = block_at(sim.blocks, last).same_bucket
    block_at(sim.blocks, last).same_bucket = number


@helper
def _forget(sim: Any, number: int) -> None:
    """A block loses its content."""
    block = block_at(sim.blocks, number)
    bucket = _bucket(sim, block.owner, block.index)
    other = peek(sim.buckets, bucket)
    if other == number:
        poke(sim.buckets, bucket, block.same_bucket)
    else:
        while block_at(sim.blocks, other).same_bucket != number:
            other = block_at(sim.blocks, other).same_bucket
        block_at(sim.blocks, other).same_bucket = block.same_bucket
    block.owner = -1


@helper
def _leave_free_queue(sim: Any, number: int) -> None:
    block = block_at(sim.blocks, number)
    if block.previous >= 0:
        block_at(sim.blocks, block.previous).next = block.next
    else:
        sim.first_free = block.next
    if block.next >= 0:
        block_at(sim.blocks, block.next).previous = block.previous
    else:
        sim.last_free = block.previous


@helper
def _take_block(sim: Any) -> int:
    """A block to be filled: one freed without content, one never used, else the least recently used."""
    number = sim.first_empty
    if number >= 0:
        sim.first_empty = block_at(sim.blocks, number).next
    elif sim.num_blocks_used < sim.num_kv_blocks:
        number = sim.num_blocks_used
        sim.num_blocks_used += 1
    else:
        number = sim.first_free
        _leave_free_queue(sim, number)
        _forget(sim, number)
    block = block_at(sim.blocks, number)
    block.refs = 1
    block.owner = -1
    return number


@helper
def _push(sim: Any, hidden: Any, number: int) -> None:
    """The next block of a request."""
    node = sim.free_node
    if node >= 0:
        sim.free_node = node_at(sim.nodes, node).below
    else:
        node = sim.num_nodes_used
        sim.num_nodes_used += 1
    entry = node_at(sim.nodes, node)
    entry.block, entry.below = number, hidden.top_node
    hidden.top_node = node
    sim.num_nodes += 1


@helper
def _grow(sim: Any, row: int, blocks: int) -> None:
    """Fill up a request's stack by so many new blocks, which are free."""
    hidden = hidden_at(sim.hidden, row)
    for _ in range(blocks):
        _push(sim, hidden, _take_block(sim))


@helper
def _shrink(sim: Any, row: int, blocks: int) -> int:
    """Give up the last blocks of a request, the very last first; returns how many have become free."""
    hidden = hidden_at(sim.hidden, row)
    freed = 0
    for _ in range(blocks):
        node = hidden.top_node
        entry = node_at(sim.nodes, node)
        hidden.top_node = entry.below
        number = entry.block
        entry.below = sim.free_node
        sim.free_node = node
        sim.num_nodes -= 1
        block = block_at(sim.blocks, number)
        block.refs -= 1
        if block.refs == 0:
            freed += 1
            _set_free(sim, number)
    return freed


@helper
def forget_beyond(sim: Any, row: int, blocks: int) -> None:
    """A request has given up all blocks but its first `blocks`."""
    hidden = hidden_at(sim.hidden, row)
    hidden.num_registered = min(hidden.num_registered, blocks)


@helper
def _set_free(sim: Any, number: int) -> None:
    block = block_at(sim.blocks, number)
    if block.owner < 0:
        block.next = sim.first_empty
        sim.first_empty = number
        return
    block.previous, block.next = sim.last_free, -1
    if sim.last_free >= 0:
        block_at(sim.blocks, sim.last_free).next = number
    else:
        sim.first_free = number
    sim.last_free = number


@helper
def _register(sim: Any, row: int, request: Any, tokens: int) -> None:
    """The blocks that `tokens` tokens fill have a content from now on."""
    hidden = hidden_at(sim.hidden, row)
    full = quotient(tokens, sim.block_size)
    index = request.kv_blocks - 1
    node = hidden.top_node
    while index >= hidden.num_registered:
        entry = node_at(sim.nodes, node)
        if index < full:
            block = block_at(sim.blocks, entry.block)
            block.owner, block.index = _owner(sim, request, index), index
            _append_to_bucket(sim, entry.block)
        node = entry.below
        index -= 1
    hidden.num_registered = max(full, hidden.num_registered)


@helper
def _look_up(sim: Any, request: Any) -> None:
    """Find the full blocks that a request about to enter could share: `found_blocks`, `found_free` of them free. Its
    last token is computed in any case."""
    sim.found_blocks = sim.found_free = 0
    if request.computed_tokens > 0:
        return
    most = quotient(request.prompt_tokens + request.generated_tokens - 1, sim.block_size)
    while sim.found_blocks < most:
        number = _find(sim, _owner(sim, request, sim.found_blocks), sim.found_blocks)
        if number < 0:
            return
        if block_at(sim.blocks, number).refs == 0:
            sim.found_free += 1
        sim.found_blocks += 1


@helper
def _take_found(sim: Any, row: int, request: Any) -> int:
    """Share the blocks just looked up; returns the tokens that need not be computed."""
    hidden = hidden_at(sim.hidden, row)
    for index in range(sim.found_blocks):
        number = _find(sim, _owner(sim, request, index), index)
        block = block_at(sim.blocks, number)
        if block.refs == 0:
            _leave_free_queue(sim, number)
        block.refs += 1
        _push(sim, hidden, number)
    request.kv_blocks = sim.found_blocks
    hidden.num_registered = sim.found_blocks
    sim.free_kv_blocks -= sim.found_free
    return sim.found_blocks * sim.block_size


def grow(sim: Any, row: int, blocks: int) -> int:
    """Service: new blocks for a request."""
    _grow(sim, row, blocks)
    return 0


def shrink(sim: Any, row: int, blocks: int) -> int:
    """Service: a request gives up its last blocks; returns how many have become free."""
    freed = _shrink(sim, row, blocks)
    forget_beyond(sim, row, request_at(sim.requests, row).kv_blocks - blocks)
    return freed


def register(sim: Any, row: int, tokens: int) -> int:
    """Service: the blocks that `tokens` tokens of a request fill have a content."""
    _register(sim, row, request_at(sim.requests, row), tokens)
    return 0


def look_up(sim: Any, row: int, number: int) -> int:
    """Service: find what a request could share."""
    _look_up(sim, request_at(sim.requests, row))
    return 0


def take_found(sim: Any, row: int, number: int) -> int:
    """Service: a request shares what was found; returns those tokens."""
    return _take_found(sim, row, request_at(sim.requests, row))


#: By the field of the simulator's record that holds the address.
SERVICES = {
    "grow_service": grow,
    "shrink_service": shrink,
    "register_service": register,
    "look_up_service": look_up,
    "take_found_service": take_found,
}


@helper
def rebuild(sim: Any, old_buckets: int, num_old: int) -> None:
    """After the table of buckets has grown: everything into its new bucket, in the old order."""
    for bucket in range(num_old):
        number = peek(old_buckets, bucket)
        while number >= 0:
            following = block_at(sim.blocks, number).same_bucket
            _append_to_bucket(sim, number)
            number = following
