"""What a request needs of the server in every schedule that finishes it: passes, tokens, KV reads, blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware.integers import IntegerProfile
from llmqgym.kernel.tables import PS_PER_S

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Needs:
    """Needs of requests [n], in order of arrival, of prompt P, output O and ideal hits h.

    Why every schedule has to meet them. Look at the last run-up of a finished request, after its last restart. Its
    prompt goes through the server once, in chunks from context h or less to P; the last chunk makes token 1. Token
    k + 1, k = 1 .. O - 1, is made at context c = P + k - 1 either by a decode, which reads c KV tokens, or, after a
    preemption by recompute, by the end of a prefill of c + 1 tokens that makes no other token. Swap and hold keep what
    is computed. These tokens are made one after the other, in passes of their own. With prefix caching every prompt
    token behind h is computed at least once before token 1, and a prefill after a preemption has one token at least.
    """

    release_s: Floats  #: arrival, from the first of them
    prompt: Ints  #: P
    hits: Ints  #: h, tokens of the prompt that a cache may hold; < P
    new: Ints  #: P - h: prompt tokens that are computed
    decodes: Ints  #: O - 1
    chunks: Ints  #: the fewest passes for the prompt
    context: Floats  #: sum of c over the decodes
    two_f: Floats  #: sum of p (2k + p) over the chunks, however they are cut: P^2 - h^2
    prefill_blocks: Floats  #: sum over the chunks of the blocks held that are the request's own, at least
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


def measure(
    requests: NDArray[Any], profile: IntegerProfile, server: ServerConfig, hit_tokens: Ints | None = None
) -> Needs:
    """The needs of those of ARRIVAL[R] that fit the KV cache; the server rejects the others.

    `hit_tokens` [R]: the tokens of each prompt that prefix caching could ever save, in whole blocks: the longest prefix
    that the request shares with any other request, later ones included, for a schedule may run these first. None: no
    prefix caching. Raises InputError for a hit of a whole prompt, or where no request fits.
    """
    blocks = profile.num_kv_blocks if server.num_kv_blocks is None else server.num_kv_blocks
    size = server.block_size
    fits = -(-(requests["prompt_tokens"] + requests["output_tokens"] - 1) // size) <= blocks
    if not fits.any():
        raise InputError(f"none of {len(requests)} requests fits {blocks} KV blocks: there is nothing to bound.")
    kept = requests[fits]
    prompt, decodes = kept["prompt_tokens"].astype(np.int64), kept["output_tokens"].astype(np.int64) - 1
    hits = np.zeros(len(kept), np.int64) if hit_tokens is None else np.asarray(hit_tokens, np.int64)[fits]
    if (hits < 0).any() or (hits >= prompt).any():
        raise InputError("hit_tokens must be at least 0 and below the prompt, whose last token is always computed.")
    new, shared = prompt - hits, hits // size
    chunks = -(-new // server.max_batched_tokens)
    return Needs(
        release_s=(kept["arrival_ps"] - kept["arrival_ps"][0]) / PS_PER_S,
        prompt=prompt,
        hits=hits,
        new=new,
        decodes=decodes,
        chunks=chunks,
        context=decodes * prompt + decodes * (decodes - 1.0) / 2,
        two_f=prompt.astype(np.float64) ** 2 - hits.astype(np.float64) ** 2,
        prefill_blocks=_prefill_blocks(prompt, chunks, shared, server),
        decode_blocks=(_block_sum(prompt + decodes, size) - _block_sum(prompt, size) - decodes * shared),
        block_share=prompt / size - shared,
        least_context=int(prompt[decodes > 0].min()) if (decodes > 0).any() else 1,
        caching=hit_tokens is not None,
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
