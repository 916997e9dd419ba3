"""What a request needs of the server in every schedule that finishes it: passes, tokens, KV reads, blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.bounds.hits import Hits, no_hits
from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware.integers import IntegerProfile

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Needs:
    """Needs of requests [n], in order of arrival, of prompt P and output O, of which a cache may hold h tokens.

    Why every schedule has to meet them. Look at the last run-up of a finished request, after its last restart. Its
    prompt goes through the server in chunks from context 0 to P, none of them lost; the last makes token 1. Token
    k + 1, k = 1 .. O - 1, is made at context c = P + k - 1 either by a decode, which reads c KV tokens, or, after a
    preemption by recompute, by the end of a prefill of c + 1 tokens that makes no other token. Swap and hold keep what
    is computed. These tokens are made one after the other, in passes of their own.

    With prefix caching, `hits.Hits` says what holds of the prompt: the tokens behind h = `earlier` are computed between
    arrival and token 1, perhaps by others, in `chunks` passes at least; those behind `shared` by the request itself, in
    `own_chunks` at least. In 2F a token at context q counts 2 q + 1, in whatever chunk. A prefill after a preemption
    has one token at least.
    """

    release_ps: Ints  #: arrival, from the first of them
    prompt: Ints  #: P
    new: Ints  #: P - h: prompt tokens that are computed for it
    decodes: Ints  #: O - 1
    chunks: Ints  #: the fewest passes in which these are computed
    own_chunks: Ints  #: the fewest passes for the prompt in which the request takes part; without caching the same
    context: Floats  #: sum of c over the decodes
    two_f: Floats  #: sum of p (2k + p) over the chunks, however they are cut: P^2 - h^2
    prefill_blocks: Floats  #: sum over its own chunks of the blocks held that are the request's own, at least
    decode_blocks: Floats  #: the same over the decodes, exactly
    block_share: Floats  #: P / block_size less the shared blocks: decode k holds k / block_size more, at least
    least_context: int  #: the least c of any decode
    caching: bool  #: a prefill after a preemption may find its tokens cached
    block_size: int  #: tokens in a block
    max_tokens: int  #: tokens in a pass, at most
    max_requests: int  #: requests in a pass, at most
    max_blocks: int  #: blocks held in a pass, at most

    def __len__(self) -> int:
        return len(self.prompt)


def measure(requests: NDArray[Any], profile: IntegerProfile, server: ServerConfig, hits: Hits | None = None) -> Needs:
    """The needs of those of ARRIVAL[R] that fit the KV cache; the server rejects the others.

    `hits`: of all R, see `hits.ideal_hits`; None: no prefix caching. Raises InputError where no request fits.
    """
    blocks = profile.num_kv_blocks if server.num_kv_blocks is None else server.num_kv_blocks
    size = server.block_size
    fits = -(-(requests["prompt_tokens"] + requests["output_tokens"] - 1) // size) <= blocks
    if not fits.any():
        raise InputError(f"none of {len(requests)} requests fits {blocks} KV blocks: there is nothing to bound.")
    kept = requests[fits]
    prompt, decodes = kept["prompt_tokens"].astype(np.int64), kept["output_tokens"].astype(np.int64) - 1
    caching = hits is not None
    hits = no_hits(len(requests)) if hits is None else hits
    earlier, shared, blocks_shared = (found[fits] for found in (hits.earlier, hits.shared, hits.shared_blocks))
    chunks, own_chunks = (-(-(prompt - found) // server.max_batched_tokens) for found in (earlier, shared))
    return Needs(
        release_ps=(kept["arrival_ps"] - kept["arrival_ps"][0]).astype(np.int64),
        prompt=prompt,
        new=prompt - earlier,
        decodes=decodes,
        chunks=chunks,
        own_chunks=own_chunks,
        context=decodes * prompt + decodes * (decodes - 1.0) / 2,
        two_f=prompt.astype(np.float64) ** 2 - earlier.astype(np.float64) ** 2,
        prefill_blocks=_prefill_blocks(prompt, own_chunks, blocks_shared, server),
        decode_blocks=(_block_sum(prompt + decodes, size) - _block_sum(prompt, size) - decodes * blocks_shared),
        block_share=prompt / size - blocks_shared,
        least_context=int(prompt[decodes > 0].min()) if (decodes > 0).any() else 1,
        caching=caching,
        block_size=size,
        max_tokens=server.max_batched_tokens,
        max_requests=int(min(server.max_running, server.max_batched_tokens, len(kept))),
        max_blocks=blocks,
    )


def _block_sum(tokens: Ints, size: int) -> Floats:
    """Sum of ceil(t / size) over t = 1 .. tokens."""
    whole, rest = np.divmod(tokens, size)
    return np.asarray(size * whole * (whole + 1.0) / 2 + rest * (whole + 1.0))


def _prefill_blocks(prompt: Ints, chunks: Ints, shared: Ints, server: ServerConfig) -> Floats:
    """The k-th chunk from the end ends at P - k T or later, T tokens being the largest chunk."""
    size, earlier = server.block_size, chunks - 1.0
    ends = earlier * prompt - server.max_batched_tokens * earlier * (earlier + 1) / 2
    return np.asarray(-(-prompt // size) - shared + ends / size - earlier * shared)
