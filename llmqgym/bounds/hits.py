"""What prefix caching may save, whatever the schedule: the tokens of each prompt that need not be computed anew."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.workload.source import PromptHashes

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Hits:
    """Ideal hits of requests [R]: at least what the statements below allow.

    Two requests *share* a block if it has the same place and content in both (docs/model.md, "Prefix caching"). Whoever
    needs a block computes it, or finds what somebody who shares it, or itself on an earlier attempt, has computed. A
    block that ends with the prompt is not found before the first token. Hence, in every schedule that takes back no
    chunk in the composition that has scheduled it (below):

    * `earlier`: each prompt token behind these is computed, by somebody, after the request has arrived and before its
      first token, as nobody who shares its block has arrived before; and it is behind the `earlier` of no other request
      that shares its block. So the pool of all requests has to do it once for each, in that time.
    * `shared`: behind these no block is shared with anybody: the request computes these tokens itself.
    * `shared_blocks`: behind these the request holds its blocks alone.

    Why the second half of the first: of those that share a block all but the first to arrive count it in `earlier`, and
    so does the first if it ends the prompt of another, who then computes it for itself.

    The exception: a block counts as filled from when it is allocated for the pass that fills it. If its request is
    preempted in that same composition the chunk is taken back, but the block keeps its content: it is found later
    though nobody has computed it. A schedule may be below the bounds by that, with answers that are wrong.
    """

    earlier: Ints  #: tokens, whole blocks, below the prompt
    shared: Ints  #: tokens, whole blocks, below the prompt, at least `earlier`
    shared_blocks: Ints  #: blocks, at most those that the prompt fills


def no_hits(num: int) -> Hits:
    """No block is shared."""
    nothing = np.zeros(num, np.int64)
    return Hits(nothing, nothing, nothing)


def ideal_hits(requests: NDArray[Any], hashes: PromptHashes | None, block_size: int) -> Hits:
    """The hits of ARRIVAL[R], by their prefix groups and by the hashes of their prompts, whichever are more.

    >>> from llmqgym.workload.workload import make_requests
    >>> three = make_requests(
    ...     arrival_s=[0, 1, 2], prompt_tokens=[64, 40, 9], output_tokens=[1, 1, 1],
    ...     prefix_group=[7, 7, 7], prefix_tokens=[50, 40, 9],
    ... )
    >>> hits = ideal_hits(three, None, 16)
    >>> hits.earlier.tolist(), hits.shared.tolist(), hits.shared_blocks.tolist()
    ([0, 32, 0], [32, 32, 0], [2, 2, 0])
    """
    full = requests["prompt_tokens"] // block_size
    earlier, shared = _by_group(requests, block_size)
    if hashes is not None and len(hashes.ids):
        by_hash = _by_hash(requests, hashes, block_size)
        earlier, shared = np.maximum(earlier, by_hash[0]), np.maximum(shared, by_hash[1])
    found = (requests["prompt_tokens"] - 1) // block_size
    earlier, shared = np.minimum(earlier, full), np.minimum(shared, full)
    return Hits(np.minimum(earlier, found) * block_size, np.minimum(shared, found) * block_size, shared)


def _by_group(requests: NDArray[Any], block_size: int) -> tuple[Ints, Ints]:
    """Blocks [R] up to the last that an earlier request of the group has too, and that any other has. In a group that
    has a prompt which ends with a shared block the two are taken to be the same."""
    earlier, shared = np.zeros((2, len(requests)), np.int64)
    rows = np.flatnonzero(requests["prefix_group"] >= 0)
    rows = rows[np.argsort(requests["prefix_group"][rows], kind="stable")]
    if not len(rows):
        return earlier, shared
    prompt = requests["prompt_tokens"][rows]
    blocks = np.minimum(requests["prefix_tokens"][rows], prompt) // block_size
    _, group, size = np.unique(requests["prefix_group"][rows], return_inverse=True, return_counts=True)
    most = int(blocks.max()) + 1
    so_far = np.maximum.accumulate(group * most + blocks) - group * most
    before, after = np.zeros((2, len(rows)), np.int64)
    inside = group[1:] == group[:-1]
    before[1:][inside] = so_far[:-1][inside]
    from_here = np.maximum.accumulate((group[::-1].max() - group[::-1]) * most + blocks[::-1])[::-1]
    after[:-1][inside] = (from_here - (group.max() - group) * most)[1:][inside]
    others = np.minimum(np.maximum(before, after), blocks)
    ending = np.bincount(group, (blocks > 0) & (blocks * block_size == prompt), len(size)) > 0
    earlier[rows] = np.where(ending[group], others, np.minimum(before, blocks))
    shared[rows] = others
    return earlier, shared


def _by_hash(requests: NDArray[Any], hashes: PromptHashes, block_size: int) -> tuple[Ints, Ints]:
    """The same by the parts of the prompts that have the same hash at the same place, all full blocks of them."""
    has = requests["first_hash"] >= 0
    lengths = np.where(has, requests["num_hashes"], 0)
    row = np.repeat(np.arange(len(requests)), lengths)
    part = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    content = hashes.ids[requests["first_hash"][row] + part]
    order = np.lexsort((row, content, part))
    row, part, content = row[order], part[order], content[order]
    again = np.zeros(len(row), np.bool_)
    again[1:] = (part[1:] == part[:-1]) & (content[1:] == content[:-1])
    several = again.copy()
    several[:-1] |= again[1:]
    end = np.minimum((part + 1) * hashes.block_tokens, requests["prompt_tokens"][row])
    same = np.cumsum(~again) - 1
    ending = (end == requests["prompt_tokens"][row]) & (end % block_size == 0)
    ended = np.bincount(same, ending, int(same[-1]) + 1 if len(same) else 0) > 0
    earlier, shared = np.zeros((2, len(requests)), np.int64)
    for found, mask in ((earlier, again | (several & ended[same])), (shared, several)):
        np.maximum.at(found, row[mask], end[mask] // block_size)
    return earlier, shared
