"""Azure LLM inference traces, 2023 and 2024: `TIMESTAMP,ContextTokens,GeneratedTokens`."""

from __future__ import annotations

from llmqgym.workload.traces.attribution import AZURE
from llmqgym.workload.traces.cells import TIMESTAMP_NS, Columns
from llmqgym.workload.traces.format import TraceFormat
from llmqgym.workload.workload import RequestFields, times_to_ps


def read(columns: Columns) -> RequestFields:
    """Time 0 is the first row. Timestamps have 100 ns steps (2023) or 1 us steps (2024) and are kept exactly."""
    return {
        "arrival_ps": times_to_ps("TIMESTAMP", columns["TIMESTAMP"], 1000),
        "prompt_tokens": columns["ContextTokens"],
        "output_tokens": columns["GeneratedTokens"],
    }


FORMAT = TraceFormat(
    name="azure",
    attribution=AZURE,
    arrival={"TIMESTAMP": TIMESTAMP_NS},
    lengths=("ContextTokens", "GeneratedTokens"),
    units_since_long_ago=10**9,
    read=read,
)
