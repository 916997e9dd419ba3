"""Mooncake: one JSON object a line with `timestamp` (ms), `input_length`, `output_length`, `hash_ids`."""

from __future__ import annotations

from llmqgym.workload.traces.attribution import MOONCAKE
from llmqgym.workload.traces.cells import NUMBER, WHOLE_LIST, Columns
from llmqgym.workload.traces.format import TraceFormat
from llmqgym.workload.workload import RequestFields


def read(columns: Columns) -> RequestFields:
    """Times as they are, from milliseconds."""
    fields: RequestFields = {
        "arrival_s": columns["timestamp"] / 1000,
        "prompt_tokens": columns["input_length"],
        "output_tokens": columns["output_length"],
    }
    if "hash_ids" in columns:
        fields["hash_ids"] = columns["hash_ids"]
    return fields


FORMAT = TraceFormat(
    name="mooncake",
    attribution=MOONCAKE,
    layout="jsonl",
    arrival={"timestamp": NUMBER},
    lengths=("input_length", "output_length"),
    optional={"hash_ids": WHOLE_LIST},
    read=read,
)
