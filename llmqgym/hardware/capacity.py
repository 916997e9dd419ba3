"""How many KV tokens fit beside a model's weights, and the least tensor parallelism at which any do."""

from __future__ import annotations

import math

from llmqgym.errors import InputError
from llmqgym.hardware.gpus import Gpu
from llmqgym.hardware.models import BF16_BYTES
from llmqgym.hardware.shard import Shard, possible_ways

#: The largest pass that memory is kept free for: so many tokens in a layer, and logits in FP32 of so many requests.
RESERVED_TOKENS, RESERVED_REQUESTS = 8192, 256
_FP32_BYTES = 4


def kv_token_capacity(gpu: Gpu, shard: Shard, memory_utilisation: float) -> int:
    """KV tokens that fit: (memory x utilisation x tp - weights - activations) / KV bytes per token.

    `memory_utilisation` is the share of the memory that the engine may use, in (0, 1].
    Raises InputError when the weights leave no room, naming the least tp that does.
    """
    if not (math.isfinite(memory_utilisation) and 0 < memory_utilisation <= 1):
        raise InputError(f"memory_utilisation is {memory_utilisation}, it must lie in (0, 1]: 0.9 is vLLM's default.")
    left = _bytes_left(gpu, shard, memory_utilisation)
    tokens = int(left // shard.model.kv_bytes_per_token(shard.kv_precision, shard.tensor_parallel))
    if tokens < 1:
        raise _does_not_fit(gpu, shard, memory_utilisation)
    return tokens


def activation_bytes(shard: Shard) -> int:
    """Memory of the largest pass on one GPU: a layer's intermediate results and the logits."""
    qkv, gate_up = shard.gemms()[0][0], shard.gemms()[2][0]
    layer = RESERVED_TOKENS * (2 * shard.model.hidden + qkv + 3 * gate_up // 2) * BF16_BYTES
    return layer + RESERVED_REQUESTS * shard.model.vocabulary * _FP32_BYTES


def _bytes_left(gpu: Gpu, shard: Shard, memory_utilisation: float) -> float:
    usable = gpu.memory_bytes * memory_utilisation - activation_bytes(shard)
    return usable * shard.tensor_parallel - shard.model.weight_bytes(shard.weight_precision)


def _does_not_fit(gpu: Gpu, shard: Shard, memory_utilisation: float) -> InputError:
    weights = shard.model.weight_bytes(shard.weight_precision) / 1e9
    usable = gpu.memory_bytes * memory_utilisation * shard.tensor_parallel / 1e9
    shards = [shard._replace(tensor_parallel=ways) for ways in possible_ways(shard.model)]
    fitting = [other.tensor_parallel for other in shards if _bytes_left(gpu, other, memory_utilisation) > 0]
    lighter = " or weights in fp8" if shard.weight_precision == "bf16" else ""
    remedy = f"tp {fitting[0]} is the least that fits" if fitting else f"no tp fits, take a larger GPU{lighter}"
    return InputError(
        f"{shard.model.name} does not fit {shard.tensor_parallel} x {gpu.name}: {weights:.0f} GB of weights and the "
        f"activations leave no KV cache in {usable:.0f} GB: {remedy}."
    )
