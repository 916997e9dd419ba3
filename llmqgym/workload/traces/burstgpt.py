"""BurstGPT, all releases: `Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type`."""

from __future__ import annotations

from llmqgym.workload.traces.attribution import BURSTGPT
from llmqgym.workload.traces.cells import NUMBER, Columns
from llmqgym.workload.traces.format import TraceFormat
from llmqgym.workload.workload import RequestFields


def read(columns: Columns) -> RequestFields:
    """Time 0 is the first row: the clock runs on from file to file, and BurstGPT_3 starts on day 225.

    Requests that failed have 0 response tokens; they stay, as requests of one output token, and are counted.
    """
    return {
        "arrival_s": columns["Timestamp"],
        "prompt_tokens": columns["Request tokens"],
        "output_tokens": columns["Response tokens"],
    }


FORMAT = TraceFormat(
    name="burstgpt",
    attribution=BURSTGPT,
    arrival={"Timestamp": NUMBER},
    lengths=("Request tokens", "Response tokens"),
    units_since_long_ago=1,
    read=read,
)
