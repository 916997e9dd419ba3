"""What a sample of lengths says of a request: the passes it takes, the tokens it needs, the KV blocks it holds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmqgym.errors import InputError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Lengths:
    """The requests of a sample that can fit the KV cache, shape [n], and their means. P prompt, O output tokens."""

    prompt_tokens: Ints
    output_tokens: Ints
    block_size: int
    num_never_fit: int  #: left out: ceil((P + O - 1) / block_size) > num_kv_blocks, rejected on arrival
    fitting_share: float  #: of the sample, that fits
    mean_prompt: float  #: E[P]
    mean_decodes: float  #: E[O - 1], the decode passes of a request
    mean_square: float  #: E[P^2]: sum p (2k + p) over the chunks of a prompt, however it is cut
    mean_decode_kv: float  #: E[sum of the KV tokens held before each decode] = E[(O-1) P + (O-1)(O-2) / 2]
    mean_prompt_blocks: float  #: E[ceil(P / block_size)]
    mean_decode_blocks: float  #: E[sum over the decodes of ceil((P + j) / block_size)]
    prompt_values: Ints  #: the different P, ascending [u]
    prompt_shares: Floats  #: the share of each [u]

    @property
    def mean_cut_blocks(self) -> float:
        """Blocks held by a prompt that is cut at any of its tokens: E[P^2] / 2 E[P] tokens, and half a block."""
        return self.mean_square / (2 * self.mean_prompt * self.block_size) + 0.5

    def prefill_passes(self, chunk_tokens: int) -> float:
        """Mean passes of a prefill in chunks of `chunk_tokens`: E[ceil(P / chunk)]."""
        return float(self.prompt_shares @ -(-self.prompt_values // chunk_tokens))

    def prefill_blocks(self, chunk_tokens: int) -> float:
        """Mean of the blocks held, summed over the passes of a prefill in chunks of `chunk_tokens`."""
        passes = -(-self.prompt_values // chunk_tokens)
        chunks = np.arange(passes.max(), dtype=np.int64) * min(chunk_tokens, int(self.prompt_values[-1]))
        before = np.cumsum(-(-chunks // self.block_size))
        return float(self.prompt_shares @ (before[passes - 1] + -(-self.prompt_values // self.block_size)))


def measure(prompt_tokens: Ints, output_tokens: Ints, block_size: int, num_kv_blocks: int) -> Lengths:
    """The Lengths of a sample, prompts and outputs [n] in tokens.

    Raises InputError for an empty sample, two different shapes, lengths below 1, or when no request fits.
    """
    prompts, outputs = np.asarray(prompt_tokens, np.int64), np.asarray(output_tokens, np.int64)
    _check(prompts, outputs)
    fits_mask = -(-(prompts + outputs - 1) // block_size) <= num_kv_blocks
    if not fits_mask.any():
        raise InputError(
            f"none of the {len(prompts)} requests fits in {num_kv_blocks} blocks of {block_size} tokens: "
            "raise num_kv_blocks."
        )
    prompts, outputs = prompts[fits_mask], outputs[fits_mask]
    decodes = (outputs - 1).astype(np.float64)
    values, counts = np.unique(prompts, return_counts=True)
    held = decodes * prompts + decodes * (decodes - 1) / 2
    blocks = blocks_up_to(prompts + outputs - 1, block_size) - blocks_up_to(prompts, block_size)
    return Lengths(
        prompt_tokens=prompts,
        output_tokens=outputs,
        block_size=block_size,
        num_never_fit=int(np.count_nonzero(~fits_mask)),
        fitting_share=float(fits_mask.mean()),
        mean_prompt=float(prompts.mean()),
        mean_decodes=float(decodes.mean()),
        mean_square=float((prompts.astype(np.float64) ** 2).mean()),
        mean_decode_kv=float(held.mean()),
        mean_prompt_blocks=float((-(-prompts // block_size)).mean()),
        mean_decode_blocks=float(blocks.mean()),
        prompt_values=values,
        prompt_shares=counts / len(prompts),
    )


def blocks_up_to(tokens: Ints, block_size: int) -> Floats:
    """sum over i = 1 .. tokens of ceil(i / block_size).

    >>> blocks_up_to(np.array([0, 4, 5]), 4).tolist()
    [0.0, 4.0, 6.0]
    """
    blocks = -(-tokens // block_size)
    short = blocks * block_size - tokens  # what the last block lacks
    return block_size * (blocks * (blocks + 1.0) / 2) - short * blocks.astype(np.float64)


def _check(prompts: Ints, outputs: Ints) -> None:
    if prompts.ndim != 1 or prompts.shape != outputs.shape or not len(prompts):
        raise InputError(
            f"prompt_tokens has shape {list(prompts.shape)}, output_tokens {list(outputs.shape)}: give one of each a "
            "request, at least one request."
        )
    for name, values in (("prompt_tokens", prompts), ("output_tokens", outputs)):
        if values.min() < 1:
            raise InputError(f"the least of {name} is {values.min()}: every request has at least 1.")
