"""The request files of the vLLM reference logs: `arrival_iteration` (or `arrival_time`, ticks) and token counts."""

from __future__ import annotations

from llmqgym.kernel.tables import PS_PER_S
from llmqgym.workload.traces.attribution import VLLM
from llmqgym.workload.traces.cells import WHOLE, Columns
from llmqgym.workload.traces.format import TraceFormat
from llmqgym.workload.workload import RequestFields, times_to_ps


def read(columns: Columns) -> RequestFields:
    """One iteration, or one tick, is one second of simulated time."""
    arrival = "arrival_iteration" if "arrival_iteration" in columns else "arrival_time"
    fields: RequestFields = {
        "arrival_ps": times_to_ps(arrival, columns[arrival], PS_PER_S),
        "prompt_tokens": columns["prompt_tokens"],
        "output_tokens": columns["output_tokens"],
    }
    if "priority" in columns:
        fields["priority"] = columns["priority"]
    if "prefix_group" in columns and "prefix_tokens" in columns:
        fields["prefix_group"] = columns["prefix_group"]
        fields["prefix_tokens"] = columns["prefix_tokens"]
    return fields


FORMAT = TraceFormat(
    name="vllm_reference",
    attribution=VLLM,
    arrival={"arrival_iteration": WHOLE, "arrival_time": WHOLE},
    lengths=("prompt_tokens", "output_tokens"),
    optional={"priority": WHOLE, "prefix_group": WHOLE, "prefix_tokens": WHOLE},
    read=read,
)
