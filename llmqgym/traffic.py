"""A scenario's traffic made into requests: drawn from a model, or read from a trace and cut to size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llmqgym.errors import InputError
from llmqgym.scenario import ScenarioConfig, TraceTraffic
from llmqgym.workload import transform
from llmqgym.workload.arrivals import make_arrivals
from llmqgym.workload.generate import GeneratedWorkload
from llmqgym.workload.source import RequestSource
from llmqgym.workload.traces.open import FORMATS, open_trace, read_lengths
from llmqgym.workload.traces.table import open_table
from llmqgym.workload.workload import make_workload


def build_workload(scenario: ScenarioConfig) -> RequestSource:
    """The scenario's traffic, generated or read and cut. Raises InputError."""
    if isinstance(scenario.workload, TraceTraffic):
        return _from_trace(scenario.workload, scenario.seed)
    traffic = scenario.workload
    rate = traffic.rate_per_s
    assert rate is not None
    return GeneratedWorkload(traffic.name, traffic.model, traffic.num_requests, rate, scenario.seed)


def _from_trace(traffic: TraceTraffic, seed: int) -> RequestSource:
    lengths_only = _holds_lengths_only(traffic.trace)
    if lengths_only and traffic.rate_per_s is not None:
        workload = _lengths_at_rate(traffic.trace, traffic.rate_per_s, seed)
    else:
        workload = open_trace(traffic.trace)
    if traffic.window_start_s != 0 or traffic.window_end_s is not None:
        end_s = np.inf if traffic.window_end_s is None else traffic.window_end_s
        workload = transform.window(workload, traffic.window_start_s, end_s)
    if traffic.thin_share is not None:
        workload = transform.thin(workload, traffic.thin_share, seed)
    if traffic.num_requests is not None:
        workload = transform.head(workload, traffic.num_requests)
    if traffic.time_scale is not None:
        workload = transform.scale_time(workload, traffic.time_scale)
    if traffic.rate_per_s is not None and not lengths_only:
        workload = transform.scale_to_rate(workload, traffic.rate_per_s)
    return workload


def _holds_lengths_only(path: str) -> bool:
    """Whether the file's columns are lengths without arrivals. False for a file that cannot be read."""
    try:
        with open_table(Path(path)) as table:
            formats = [fmt for fmt in FORMATS if fmt.layout == table.layout and fmt.has_lengths(table.names)]
            return bool(formats) and not any(fmt.fits(table.names) for fmt in formats)
    except InputError:
        return False


def _lengths_at_rate(path: str, rate_per_s: float, seed: int) -> RequestSource:
    """A file of lengths with Poisson arrivals."""
    prompts, outputs = read_lengths(path)
    source: dict[str, object] = {"path": path, "arrivals": "poisson", "rate_per_s": rate_per_s, "seed": seed}
    arrival_ps, _ = make_arrivals("poisson", [])(rate_per_s, seed).take(len(prompts))
    name = Path(path).name.split(".")[0]
    return make_workload(name, source, arrival_ps=arrival_ps, prompt_tokens=prompts, output_tokens=outputs)
