"""The roofline: operator times from public specifications, each bound by memory or by arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from llmqgym.hardware.gpus import Gpu
from llmqgym.hardware.models import BF16_BYTES, BYTES, Model
from llmqgym.hardware.shard import Array, Attention, Shard

#: Shares of the peak that operators reach, and fixed costs in ms a layer. One set for all GPUs: the rounded least
#: squares fit, in the logarithm, to the 7,001 composed samples of A100 and H100 behind the shipped profiles.
GEMM_EFFICIENCY = 0.70  # of the FLOP/s
MEMORY_EFFICIENCY = 0.75  # of the memory bandwidth, for weights and activations
KV_EFFICIENCY = 0.80  # of the memory bandwidth, for the KV cache in decode attention
ATTENTION_EFFICIENCY = 0.50  # of the BF16 FLOP/s, in prefill attention
PEER_EFFICIENCY = 0.80  # of the bandwidth between GPUs
LAYER_MS, DECODE_LAYER_MS, PREFILL_LAYER_MS = 0.009, 0.033, 0.054
#: Latency of an all-reduce: that of the samples, whose stack is of 2023, and today's in CUDA graphs, where
#: AIConfigurator measures 4 to 8 us and a launch comes on top.
ALL_REDUCE_2023_MS, ALL_REDUCE_MS = 0.060, 0.010
#: Tokens are multiplied in tiles of so many rows, few tokens in smaller ones: arithmetic is paid for whole tiles.
LEAST_TILE, TILE = 16, 128
#: Share of the memory bandwidth at which the LM head is read; assumed, as in AIConfigurator.
LM_HEAD_EFFICIENCY = 0.8
MAX_TOKENS = 32_768


class Roofline(NamedTuple):
    """Operators of a shard on a GPU."""

    gpu: Gpu
    shard: Shard
    max_tokens: int = MAX_TOKENS
    all_reduce_latency_ms: float = ALL_REDUCE_MS

    def layer_ms(self) -> float:
        """Launches and gaps of a layer."""
        return LAYER_MS

    def gemm_ms(self, tokens: Array, outputs: int, inputs: int) -> Array:
        """The longer of reading weights and activations, and multiplying whole tiles."""
        moved = outputs * inputs * BYTES[self.shard.weight_precision] + tokens * (outputs + inputs) * BF16_BYTES
        tile = np.clip(2.0 ** np.ceil(np.log2(tokens)), LEAST_TILE, TILE)
        flops = 2.0 * outputs * inputs * tile * np.ceil(tokens / tile)
        rate = self.gpu.fp8_flops if self.shard.weight_precision == "fp8" else None
        arithmetic_ms = flops / (GEMM_EFFICIENCY * (rate or self.gpu.bf16_flops)) * 1e3
        times: Array = np.maximum(self.elementwise_ms(moved), arithmetic_ms)
        return times

    def elementwise_ms(self, num_bytes: Array) -> Array:
        """Bytes over bandwidth."""
        return num_bytes / (MEMORY_EFFICIENCY * self.gpu.memory_bytes_per_s) * 1e3

    def all_reduce_ms(self, num_bytes: Array) -> Array:
        """A ring: every GPU sends 2 (tp - 1) / tp of the bytes."""
        ways = self.shard.tensor_parallel
        links = ways - 1 if self.gpu.peer_is_mesh else 1
        sent = 2 * (ways - 1) / ways * num_bytes
        return self.all_reduce_latency_ms + sent / (PEER_EFFICIENCY * links * self.gpu.peer_bytes_per_s) * 1e3

    def attention(self, rest_ms: Callable[[Array], Array]) -> Attention:
        """Decodes read the KV cache once; prefills multiply 4 x head_dim FLOPs a head for each pair of tokens."""
        shard, gpu = self.shard, self.gpu
        kv_bytes = 2 * shard.kv_heads * shard.model.head_dim * BYTES[shard.kv_precision]
        pair_flops = 4 * shard.heads * shard.model.head_dim
        return Attention(
            decode_base_ms=DECODE_LAYER_MS,
            decode_ms=0.0,
            kv_ms=kv_bytes / (KV_EFFICIENCY * gpu.memory_bytes_per_s) * 1e3,
            prefill_base_ms=PREFILL_LAYER_MS,
            root_ms=0.0,
            square_ms=pair_flops / (ATTENTION_EFFICIENCY * gpu.bf16_flops) * 1e3,
        )


def lm_head_ms(gpu: Gpu, model: Model, tensor_parallel: int) -> float:
    """Time to read the LM head once an iteration: a few rows of logits are bound by memory."""
    return model.lm_head_bytes(tensor_parallel) / (LM_HEAD_EFFICIENCY * gpu.memory_bytes_per_s) * 1e3
