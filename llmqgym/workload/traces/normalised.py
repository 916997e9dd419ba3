"""The normalised form: `arrival_time_s,prompt_tokens,output_tokens` and optional columns named as in the glossary."""

from __future__ import annotations

from llmqgym.workload.traces.attribution import UNKNOWN
from llmqgym.workload.traces.cells import NUMBER, NUMBER_OR_EMPTY, WHOLE, WHOLE_LIST, Columns
from llmqgym.workload.traces.format import TraceFormat
from llmqgym.workload.workload import RequestFields


def read(columns: Columns) -> RequestFields:
    """Times as they are. `tenant` is read before `client`, which means the same."""
    fields: RequestFields = {
        "arrival_s": columns["arrival_time_s"],
        "prompt_tokens": columns["prompt_tokens"],
        "output_tokens": columns["output_tokens"],
    }
    if "client" in columns:
        fields["tenant"] = columns["client"]
    if "tenant" in columns:
        fields["tenant"] = columns["tenant"]
    if "priority" in columns:
        fields["priority"] = columns["priority"]
    if "max_output_tokens" in columns:
        fields["max_output_tokens"] = columns["max_output_tokens"]
    if "predicted_output_tokens" in columns:
        fields["predicted_output_tokens"] = columns["predicted_output_tokens"]
    if "predicted_lower_tokens" in columns and "predicted_upper_tokens" in columns:
        fields["predicted_lower_tokens"] = columns["predicted_lower_tokens"]
        fields["predicted_upper_tokens"] = columns["predicted_upper_tokens"]
    if "hash_ids" in columns:
        fields["hash_ids"] = columns["hash_ids"]
    if "prefix_group" in columns and "prefix_tokens" in columns:
        fields["prefix_group"] = columns["prefix_group"]
        fields["prefix_tokens"] = columns["prefix_tokens"]
    return fields


FORMAT = TraceFormat(
    name="normalised",
    attribution=UNKNOWN,
    arrival={"arrival_time_s": NUMBER},
    lengths=("prompt_tokens", "output_tokens"),
    optional={
        "client": WHOLE,
        "tenant": WHOLE,
        "priority": WHOLE,
        "max_output_tokens": WHOLE,
        "predicted_output_tokens": NUMBER_OR_EMPTY,
        "predicted_lower_tokens": NUMBER_OR_EMPTY,
        "predicted_upper_tokens": NUMBER_OR_EMPTY,
        "hash_ids": WHOLE_LIST,
        "prefix_group": WHOLE,
        "prefix_tokens": WHOLE,
    },
    dequantised_arrival="arrival_time_dequant_s",
    read=read,
)
