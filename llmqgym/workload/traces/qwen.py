"""Qwen Bailian usage traces: the keys of Mooncake, with `chat_id` beside them and `timestamp` in seconds."""

from __future__ import annotations

from llmqgym.workload.traces.attribution import QWEN
from llmqgym.workload.traces.cells import NUMBER, Columns
from llmqgym.workload.traces.format import TraceFormat
from llmqgym.workload.workload import RequestFields


def read(columns: Columns) -> RequestFields:
    """Times as they are."""
    return {
        "arrival_s": columns["timestamp"],
        "prompt_tokens": columns["input_length"],
        "output_tokens": columns["output_length"],
    }


FORMAT = TraceFormat(
    name="qwen",
    attribution=QWEN,
    layout="jsonl",
    arrival={"timestamp": NUMBER},
    lengths=("input_length", "output_length"),
    marks=("chat_id",),
    read=read,
)
