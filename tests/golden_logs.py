"""The logs of the real vLLM scheduler in tests/golden, and how two logs are compared."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parent / "golden"
NAMES = sorted(p.name.removesuffix(".jsonl.gz") for p in GOLDEN.glob("*.jsonl.gz"))
#: The logs count iterations: one lasts a second of simulated time.
UNIT_PS = 10**12


@dataclass(frozen=True)
class GoldenLog:
    """One log: what was set, what was decided step by step, what came of it."""

    name: str
    header: dict[str, Any]
    steps: list[dict[str, Any]]
    footer: dict[str, Any]

    @property
    def params(self) -> dict[str, Any]:
        return self.header["params"]

    @property
    def server(self) -> dict[str, Any]:
        """The settings of the server under our names."""
        names = {
            "max_running": "max_num_seqs",
            "max_batched_tokens": "max_num_batched_tokens",
            "block_size": "block_size",
            "chunked_prefill": "chunked_prefill",
            "long_prefill_token_threshold": "long_prefill_token_threshold",
            "watermark": "watermark",
            "reserve_full_isl": "reserve_full_isl",
            "prefix_caching": "prefix_caching",
        }
        return {
            "num_kv_blocks": self.header["usable_blocks"],
            **{ours: self.params[vllm] for ours, vllm in names.items()},
        }


def read_log(name: str) -> GoldenLog:
    """Read tests/golden/NAME.jsonl.gz, which must be one without asynchronous scheduling."""
    with gzip.open(GOLDEN / f"{name}.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    log = GoldenLog(name, lines[0], lines[1:-1], lines[-1])
    assert not log.params["async_scheduling"]
    return log


def assert_same_steps(log: GoldenLog, ours: Iterable[dict[str, Any]]) -> None:
    """Fail at the first step that differs, showing both side by side."""
    for number, (theirs, mine) in enumerate(zip_longest(log.steps, ours)):
        assert theirs == mine, f"{log.name}, step {number}\nvLLM: {json.dumps(theirs)}\nours: {json.dumps(mine)}"
