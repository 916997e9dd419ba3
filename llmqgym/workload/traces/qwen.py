"""Qwen Bailian usage traces: the keys of Mooncake, with `chat_id` beside them and `timestamp` in seconds."""

from __future__ import annotations

from llmqgym.workload.traces.attribution import QWEN
from llmqgym.workload.traces.cells import NUMBER, WHOLE_LIST, Columns
from llmqgym.workload.traces.format import TraceFormat
from llmqgym.workload.workload import RequestFields


def read(columns: Columns) -> RequestFields:
    """Times as they are."""
    fields: RequestFields = {
        "arrival_s": columns["timestamp"],
        "prompt_tokens": columns["input_length"],
        "output_tokens": columns["output_length"],
    }
    if "hash_ids" in columns:
        fields |= {"hash_ids": columns["hash_ids"], "hash_block_tokens": HASH_BLOCK_TOKENS}
    return fields


#: Tokens that one hash stands for.
HASH_BLOCK_TOKENS = 16


FORMAT = TraceFormat(
    name="qwen",
    attribution=QWEN,
    layout="jsonl",
    arrival={"timestamp": NUMBER},
    lengths=("input_length", "output_length"),
    optional={"hash_ids": WHOLE_LIST},
    marks=("chat_id",),
    read=read,
)
