"""A hardware profile as the kernel sees it: integers in picoseconds, and the formula of docs/model.md on them."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Stands for "no limit" in a count of blocks; far from the end of an int64, also times a block size.
UNLIMITED_BLOCKS = 2**40


@dataclass(frozen=True, slots=True)
class IntegerProfile:
    """The coefficients of one iteration's time in integer picoseconds (docs/model.md, 'Iteration time').

    `N` is the number of tokens of the pass, `B` its decodes, `S` the KV tokens they hold before it,
    `2F = sum p (2k + p)` over its prefill chunks of p tokens with k tokens computed before.
    """

    base: int  #: ps per iteration, LM head and engine overhead included
    token: int  #: ps per token of N
    decode_base: int  #: ps once, if B > 0
    decode: int  #: ps per decode of B
    kv: int  #: ps per KV token of S
    prefill_base: int  #: ps once, if there is a prefill chunk
    root: int  #: ps per sqrt(F)
    square: int  #: ps per unit of 2F: half of F's coefficient
    tile: int  #: tokens per entry of the table
    table: tuple[int, ...]  #: [ceil(N / tile)] ps; (0,) is an empty table
    tail: int  #: ps per tile beyond the table
    block_size: int  #: tokens per KV block that the three fields below are for
    swap_block_ps: int  #: ps to move one block over the host link, one way
    num_kv_blocks: int  #: usable KV blocks, UNLIMITED_BLOCKS where there is no limit
    host_kv_blocks: int  #: blocks of host memory for swapped KV

    def table_ps(self, num_tokens: int) -> int:
        """Time of everything but attention for `num_tokens` tokens, looked up at the next multiple of `tile`."""
        index = -(-num_tokens // self.tile)
        last = len(self.table) - 1
        if index <= last:
            return self.table[index]
        return self.table[last] + (index - last) * self.tail

    def prefill_ps(self, two_f: int) -> int:
        """What the attention of the prefill chunks adds, given 2F > 0 (an integer)."""
        return self.prefill_base + round(self.root * math.sqrt(two_f * 0.5)) + self.square * two_f

    def iteration_ps(self, prefill_tokens: int, two_f: int, decode_batch: int, decode_kv_tokens: int) -> int:
        """Duration in ps of a pass with `prefill_tokens` in chunks of sum p (2k + p) = `two_f`, and `decode_batch`
        decodes that hold `decode_kv_tokens` KV tokens.

        >>> from llmqgym.hardware import load_profile
        >>> load_profile("linear:base_ms=1,token_ms=0.5").to_integers(16).iteration_ps(3, 9, 1, 100)
        3000000000
        """
        num_tokens = prefill_tokens + decode_batch
        time = self.base + self.table_ps(num_tokens) + self.token * num_tokens
        time += self.decode * decode_batch + self.kv * decode_kv_tokens
        if decode_batch > 0:
            time += self.decode_base
        if prefill_tokens > 0:
            time += self.prefill_ps(two_f)
        return max(time, 1)
