"""Operators from NVIDIA AIConfigurator's silicon tables (vLLM): the parquet files of its package, read as they are.

Only the folder of `aiconfigurator_core` is used, none of its code: the package `aiconfigurator` around it brings two
plotting libraries and a monitoring client along, the tables need none of that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from llmqgym.errors import InputError
from llmqgym.hardware.models import BF16_BYTES
from llmqgym.hardware.roofline import Roofline
from llmqgym.hardware.shard import Array, Attention, Shard

PACKAGE, DISTRIBUTION = "aiconfigurator_core", "aiconfigurator-core"
HOW_TO_INSTALL = "pip install 'llmqgym[profiles]'"
#: The tables' names of the precisions in models.BYTES.
_DTYPES = {"bf16": "bfloat16", "fp8": "fp8"}
#: The family and the file of each table.
_FILES = {
    "gemm": ("gemm", "gemm"),
    "comm": ("comm", "custom_allreduce"),
    "generation": ("attention", "generation_attention"),
    "context": ("attention", "context_attention"),
}
#: Largest decode batch that the attention's terms are fitted to.
_MAX_BATCH = 1024

Table = dict[str, Any]
Terms = tuple[float, float, float]


class NotInTables(InputError):
    """AIConfigurator's tables lack something; the message says what."""


class MeasuredOperators:
    """Operators of a shard from the tables of its GPU; what is not measured there comes from the roofline.

    Raises NotInTables when the package is not installed or the GPU, the precision, the heads or tp are not in it.
    """

    def __init__(self, roofline: Roofline) -> None:
        shard = roofline.shard
        self._roofline = roofline
        self._gemms = _gemms(_table(roofline, "gemm"), _DTYPES[shard.weight_precision])
        self._all_reduce = _all_reduce(_table(roofline, "comm"), shard) if shard.tensor_parallel > 1 else None
        self._decode = _of_shard(_table(roofline, "generation"), shard)
        self._prefill = _of_shard(_table(roofline, "context"), shard)
        self.max_tokens = int(min(self._gemms["m"].max(), roofline.max_tokens))

    def layer_ms(self) -> float:
        """Nothing: the tables hold what kernels take, one after the other."""
        return 0.0

    def elementwise_ms(self, num_bytes: Array) -> Array:
        """From the roofline: the tables have no norms and activations."""
        return self._roofline.elementwise_ms(num_bytes)

    def gemm_ms(self, tokens: Array, outputs: int, inputs: int) -> Array:
        """Measured over roofline at the four nearest measured shapes, blended in the logarithms, times the roofline."""
        ratio, total = np.zeros_like(tokens), 0.0
        for n, n_share in _neighbours(self._gemms["n"], outputs):
            for k, k_share in _neighbours(self._gemms["k"], inputs):
                share, rows = n_share * k_share, (self._gemms["n"] == n) & (self._gemms["k"] == k)
                if share > 0 and rows.any():
                    measured = _interpolate(tokens, self._gemms["m"][rows], self._gemms["latency"][rows])
                    ratio += share * measured / self._roofline.gemm_ms(tokens, int(n), int(k))
                    total += share
        if total == 0:
            raise NotInTables(f"no measured matrix near {outputs} x {inputs}")
        return ratio / total * self._roofline.gemm_ms(tokens, outputs, inputs)

    def all_reduce_ms(self, num_bytes: Array) -> Array:
        """Linear between the measured sizes."""
        if self._all_reduce is None:
            return np.zeros_like(num_bytes)
        return _interpolate(num_bytes, *self._all_reduce)

    def attention(self, rest_ms: Callable[[Array], Array]) -> Attention:
        """The six terms, fitted by non-negative least squares of errors relative to the iteration they are part of."""
        decode, decode_text = self._decode_terms(rest_ms)
        prefill, prefill_text = self._prefill_terms(rest_ms)
        text = f"Its attention terms, as a share of the iteration: decode {decode_text}; prefill {prefill_text}."
        return Attention(*decode, *prefill, text)

    def _decode_terms(self, rest_ms: Callable[[Array], Array]) -> tuple[Terms, str]:
        table, fold = self._decode
        batch, context = table["batch_size"] / fold, table["step"].astype(np.float64)
        kept = (batch >= 1) & (batch <= _MAX_BATCH) & (context <= self._roofline.shard.model.max_context_tokens)
        batch, held, times = batch[kept], (batch * context)[kept], table["latency"][kept]
        return _fit([np.ones_like(batch), batch, held], times, rest_ms(batch))

    def _prefill_terms(self, rest_ms: Callable[[Array], Array]) -> tuple[Terms, str]:
        table, fold = self._prefill
        batch, prompt = table["batch_size"] / fold, table["isl"].astype(np.float64)
        kept = (batch >= 1) & (prompt <= self._roofline.shard.model.max_context_tokens)
        kept &= batch * prompt <= self.max_tokens
        tokens, times = (batch * prompt)[kept], table["latency"][kept]
        pairs = tokens * prompt[kept] / 2
        return _fit([np.ones_like(pairs), np.sqrt(pairs), pairs], times, rest_ms(tokens))


def has_tables() -> bool:
    """Whether the tables are installed."""
    return find_spec(PACKAGE) is not None


def release() -> str:
    """The release of the tables."""
    return version(DISTRIBUTION)


def _gemms(table: Table, dtype: str) -> Table:
    rows = table["gemm_dtype"] == dtype
    if not rows.any():
        raise NotInTables(f"no {dtype} matrices of this GPU")
    return {name: table[name][rows] for name in ("m", "n", "k", "latency")}


def _all_reduce(table: Table, shard: Shard) -> tuple[Array, Array]:
    """Message bytes and ms, as run inside a CUDA graph; the table counts elements."""
    graph = np.array([str(source).endswith("graph") for source in table["kernel_source"]])
    rows = graph & (table["num_gpus"] == shard.tensor_parallel)
    if not rows.any():
        raise NotInTables(f"no all-reduce over {shard.tensor_parallel} GPUs")
    return table["message_size"][rows] * float(BF16_BYTES), table["latency"][rows]


def _of_shard(table: Table, shard: Shard) -> tuple[Table, int]:
    """The rows of the shard's heads, and how many times its batch enters as a batch of fewer heads.

    KV heads do not interact: 32 heads over 32 KV heads at batch 4 are the work of 8 over 8 at batch 16.
    """
    plain = (table["head_dim"] == shard.model.head_dim) & (table["kv_cache_dtype"] == _DTYPES[shard.kv_precision])
    plain &= table["attn_dtype"] == "bfloat16"
    if "window_size" in table:
        plain &= table["window_size"] == 0
    for fold in (1, 2, 4, 8):
        heads, kv_heads = shard.heads // fold, shard.kv_heads // fold
        whole = shard.heads % fold == 0 and shard.kv_heads % fold == 0
        rows = plain & (table["num_heads"] == heads) & (table["num_key_value_heads"] == kv_heads)
        if whole and rows.any():
            return {name: column[rows] for name, column in table.items()}, fold
    raise NotInTables(
        f"no attention of {shard.heads} heads over {shard.kv_heads} KV heads with a KV cache in {shard.kv_precision}"
    )


def _fit(columns: list[Array], times: Array, rest: Array) -> tuple[Terms, str]:
    """Non-negative coefficients with the least squares of errors over (times + rest), and those errors in words."""
    design, whole = np.stack(columns, axis=1), times + rest
    coefficients, _ = nnls(design / whole[:, None], times / whole)
    errors = np.abs(design @ coefficients - times) / whole
    first, second, third = map(float, coefficients)
    return (first, second, third), f"mean {errors.mean():.1%}, p95 {np.percentile(errors, 95):.0%}"


def _neighbours(measured: Array, wanted: int) -> list[tuple[float, float]]:
    """The two measured sizes around `wanted` and their shares, linear in the logarithm; outside, the nearest alone."""
    sizes = np.unique(measured)
    right = int(np.clip(np.searchsorted(sizes, wanted), 1, len(sizes) - 1))
    low, high = float(sizes[right - 1]), float(sizes[right])
    share = float(np.clip(np.log(wanted / low) / np.log(high / low), 0.0, 1.0))
    return [(low, 1.0 - share), (high, share)]


def _interpolate(wanted: Array, sizes: Array, times: Array) -> Array:
    """Linear between the sizes, constant below them, proportional above."""
    order = np.argsort(sizes)
    result: Array = np.interp(wanted, sizes[order], times[order]) * np.maximum(1.0, wanted / sizes[order][-1])
    return result


def _table(roofline: Roofline, operator: str) -> Table:
    gpu = roofline.gpu
    if not gpu.tables:
        raise NotInTables(f"AIConfigurator has no tables of {gpu.name}")
    return _read(gpu.tables, operator)


@cache
def _read(gpu: str, operator: str) -> Table:
    """The columns of a table of the newest vLLM that has it; `operator` is gemm, comm, generation or context."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise NotInTables(f"AIConfigurator's tables are not installed, get them by {HOW_TO_INSTALL}")
    family, name = _FILES[operator]
    folder = Path(spec.submodule_search_locations[0], "systems", "data", gpu, family, "vllm")
    files = sorted(folder.glob(f"*/{name}_perf.parquet"), key=lambda path: _version_key(path.parent.name))
    if not files:
        raise NotInTables(f"AIConfigurator has no {operator} table of {gpu}")
    table = import_module("pyarrow.parquet").read_table(files[-1])
    return {column: table.column(column).to_numpy() for column in table.column_names}


def _version_key(text: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", text)]
