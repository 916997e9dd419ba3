"""What one GPU of a tensor-parallel replica computes of a model, and the profile's table summed from its operators."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from llmqgym.errors import InputError
from llmqgym.hardware.documents import Document
from llmqgym.hardware.models import BF16_BYTES, Model

Array = npt.NDArray[np.float64]

#: GPUs of one server; the links beyond are not modelled.
MAX_TENSOR_PARALLEL = 8
#: Knots of the token table: (first token, last token, step). GEMM tiles make a staircase, finest where it matters.
_KNOTS = ((8, 1024, 8), (1040, 2048, 16), (2080, 4096, 32), (4160, 8192, 64), (8320, 16384, 128), (16640, 32768, 256))


class Shard(NamedTuple):
    """One GPU's share of a model cut `tensor_parallel` ways; precisions are keys of models.BYTES."""

    model: Model
    tensor_parallel: int
    weight_precision: str
    kv_precision: str

    @property
    def heads(self) -> int:
        """Query heads on this GPU."""
        return self.model.heads // self.tensor_parallel

    @property
    def kv_heads(self) -> int:
        """KV heads on this GPU, at least one."""
        return max(1, self.model.kv_heads // self.tensor_parallel)

    def gemms(self) -> tuple[tuple[int, int], ...]:
        """(outputs n, inputs k) of a layer's matrices: qkv, attention out, gate and up, down."""
        hidden, ffn = self.model.hidden, self.model.ffn // self.tensor_parallel
        attended = self.heads * self.model.head_dim
        qkv = attended + 2 * self.kv_heads * self.model.head_dim
        return (qkv, hidden), (hidden, attended), (2 * ffn, hidden), (hidden, ffn)

    def elementwise_bytes(self) -> int:
        """Bytes a token moves in a layer outside the matrices: two norms with residuals, rotary, gated activation."""
        qkv, gate_up = self.gemms()[0][0], self.gemms()[2][0]
        return (8 * self.model.hidden + 2 * qkv + 3 * gate_up // 2) * BF16_BYTES


class Attention(NamedTuple):
    """What a layer's attention costs on one GPU in ms, term by term as in HardwareProfile, and how well that fits."""

    decode_base_ms: float
    decode_ms: float
    kv_ms: float
    prefill_base_ms: float
    root_ms: float
    square_ms: float
    fit: str = ""


class Operators(Protocol):
    """Times of a layer's operators on one GPU, in ms; arrays of shape [K], one entry for each number of tokens."""

    @property
    def max_tokens(self) -> int:
        """Largest number of tokens that the times are good for."""

    def layer_ms(self) -> float:
        """What every layer costs once, whatever its size."""

    def gemm_ms(self, tokens: Array, outputs: int, inputs: int) -> Array:
        """tokens x inputs times inputs x outputs."""

    def elementwise_ms(self, num_bytes: Array) -> Array:
        """Reading and writing so many bytes of memory."""

    def all_reduce_ms(self, num_bytes: Array) -> Array:
        """Summing so many bytes over the GPUs of the replica."""

    def attention(self, rest_ms: Callable[[Array], Array]) -> Attention:
        """The six terms of the attention; `rest_ms` is what else a layer costs at so many tokens."""


def possible_ways(model: Model) -> list[int]:
    """The tensor parallelisms into which a model can be cut on one server."""
    return [ways for ways in range(1, MAX_TENSOR_PARALLEL + 1) if _divides(model, ways)]


def check_ways(model: Model, tensor_parallel: int) -> None:
    """Raises InputError unless the model can be cut so many ways on one server."""
    allowed = possible_ways(model)
    if tensor_parallel not in allowed:
        raise InputError(
            f"tp is {tensor_parallel}: {model.name} has {model.heads} heads and {model.kv_heads} KV heads, and a "
            f"server {MAX_TENSOR_PARALLEL} GPUs: choose tp among {', '.join(map(str, allowed))}."
        )


def knots(max_tokens: int) -> list[int]:
    """Numbers of tokens at which a made table is evaluated.

    >>> knots(32)
    [1, 2, 4, 8, 16, 24, 32]
    """
    regular = [token for first, last, step in _KNOTS for token in range(first, last + 1, step)]
    return [token for token in (1, 2, 4, *regular) if token <= max_tokens]


def token_table(shard: Shard, operators: Operators) -> tuple[Document, str]:
    """The `token_table` block of a profile, all layers summed at every knot, and how well the attention's terms fit."""
    tokens, layers = np.array(knots(operators.max_tokens), dtype=np.float64), shard.model.layers
    attention = operators.attention(partial(layer_ms, shard, operators))
    terms = {name: value for name, value in attention._asdict().items() if name != "fit"}
    block = {
        **{name: float(f"{layers * value:.6g}") for name, value in terms.items()},
        "knots_tokens": [int(token) for token in tokens],
        "knots_ms": [round(float(time_ms), 4) for time_ms in layers * layer_ms(shard, operators, tokens)],
    }
    return block, attention.fit


def layer_ms(shard: Shard, operators: Operators, tokens: Array) -> Array:
    """Everything but attention in one layer, in ms, for each number of tokens."""
    time = operators.layer_ms() + operators.elementwise_ms(tokens * shard.elementwise_bytes())
    for outputs, inputs in shard.gemms():
        time = time + operators.gemm_ms(tokens, outputs, inputs)
    if shard.tensor_parallel > 1:
        time = time + 2 * operators.all_reduce_ms(tokens * shard.model.hidden * BF16_BYTES)
    return time


def _divides(model: Model, ways: int) -> bool:
    kv = model.kv_heads
    return model.heads % ways == 0 and (kv % ways == 0 or ways % kv == 0) and model.ffn % ways == 0
