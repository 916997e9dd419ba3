"""Settings of a server: frozen, typed, checked; MODEL names and vLLM's meanings (docs/model.md, "Settings")."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from llmqgym.checks import check_count, check_real
from llmqgym.errors import InputError, unknown

#: Bounds of the whole-number settings: (least, largest).
_LIMITS = {
    "num_kv_blocks": (1, 2**40),
    "block_size": (1, 2**20),
    "max_running": (1, 2**40),
    "max_batched_tokens": (1, 2**40),
    "long_prefill_token_threshold": (0, 2**40),
    "host_kv_blocks": (0, 2**40),
}


@dataclass(frozen=True)
class ServerConfig:
    """One server. `None` means: what the hardware profile says.

    Raises InputError for a value out of its bounds.

    >>> ServerConfig(num_kv_blocks=10).watermark_blocks(10)
    0
    """

    num_kv_blocks: int | None = None  # usable KV blocks (vLLM's num_gpu_blocks less one)
    block_size: int = 16  # tokens
    max_running: int = 256  # batch slots
    max_batched_tokens: int = 2048  # token budget of an iteration
    chunked_prefill: bool = True
    long_prefill_token_threshold: int = 0  # largest chunk in tokens, 0: no limit
    watermark: float = 0.0  # share of the raw blocks kept free at admission
    reserve_full_isl: bool = True  # all of prompt + generated must fit at admission
    host_kv_blocks: int | None = None  # host memory for swapped KV
    prefix_caching: bool = False  # blocks with the same content are computed once
    swap_overlap: bool = False  # transfers overlap the pass instead of preceding it
    idle_step_s: float = 1.0  # how far an idle server with requests waiting moves at most

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name in _LIMITS and not (value is None and field.default is None):
                least, most = _LIMITS[field.name]
                check_count(f"server setting {field.name}", value, most, least)
            elif isinstance(field.default, bool) and not isinstance(value, bool):
                raise InputError(f"server setting {field.name} is {value!r}: give true or false.")
        check_real("server setting watermark", self.watermark, 0.0, 1.0)
        check_real("server setting idle_step_s", self.idle_step_s, 1e-9, 86_400.0)

    def watermark_blocks(self, num_kv_blocks: int) -> int:
        """vLLM's watermark counts raw blocks: one more than are usable."""
        return int(self.watermark * (num_kv_blocks + 1))

    @classmethod
    def from_pairs(cls, pairs: dict[str, Any]) -> ServerConfig:
        """From k=v pairs; an unknown key is an error that names the nearest."""
        names = [field.name for field in dataclasses.fields(cls)]
        for key in pairs:
            if key not in names:
                raise unknown("server setting", key, names)
        return cls(**pairs)
