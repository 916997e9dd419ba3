"""Vidur's processed traces: `arrived_at,num_prefill_tokens,num_decode_tokens`, times in seconds."""

from __future__ import annotations

from llmqgym.workload.traces.attribution import VIDUR
from llmqgym.workload.traces.cells import NUMBER, Columns
from llmqgym.workload.traces.format import TraceFormat
from llmqgym.workload.workload import RequestFields


def read(columns: Columns) -> RequestFields:
    """Times as they are."""
    return {
        "arrival_s": columns["arrived_at"],
        "prompt_tokens": columns["num_prefill_tokens"],
        "output_tokens": columns["num_decode_tokens"],
    }


FORMAT = TraceFormat(
    name="vidur",
    attribution=VIDUR,
    arrival={"arrived_at": NUMBER},
    lengths=("num_prefill_tokens", "num_decode_tokens"),
    read=read,
)
