"""Mooncake: one JSON object a line with `timestamp` (ms), `input_length`, `output_length`, `hash_ids` (unused)."""

from __future__ import annotations

from llmqgym.workload.traces.attribution import MOONCAKE
from llmqgym.workload.traces.cells import NUMBER, Columns
from llmqgym.workload.traces.format import TraceFormat
from llmqgym.workload.workload import RequestFields


def read(columns: Columns) -> RequestFields:
    """Times as they are, from milliseconds."""
    return {
        "arrival_s": columns["timestamp"] / 1000,
        "prompt_tokens": columns["input_length"],
        "output_tokens": columns["output_length"],
    }


FORMAT = TraceFormat(
    name="mooncake",
    attribution=MOONCAKE,
    layout="jsonl",
    arrival={"timestamp": NUMBER},
    lengths=("input_length", "output_length"),
    read=read,
)
