"""A scenario's traffic made into a workload: generated, or read from a trace and cut to size."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from llmqgym.errors import InputError
from llmqgym.scenario import GeneratedTraffic, ScenarioConfig, TraceTraffic
from llmqgym.workload import transform
from llmqgym.workload.generate import poisson_arrivals_s, poisson_lognormal
from llmqgym.workload.traces.open import FORMATS, read_lengths, read_trace
from llmqgym.workload.traces.table import open_table
from llmqgym.workload.workload import Workload, make_workload


def build_workload(scenario: ScenarioConfig) -> Workload:
    """The scenario's traffic, generated or read and cut. Raises InputError."""
    if isinstance(scenario.workload, TraceTraffic):
        return _from_trace(scenario.workload, scenario.seed)
    return _generated(scenario.workload, scenario.seed)


def _generated(traffic: GeneratedTraffic, seed: int) -> Workload:
    return poisson_lognormal(
        traffic.num_requests,
        traffic.rate_per_s,
        seed,
        prompt_median=traffic.prompt_median_tokens,
        prompt_sigma=traffic.prompt_sigma,
        prompt_max=traffic.prompt_max_tokens,
        output_median=traffic.output_median_tokens,
        output_sigma=traffic.output_sigma,
        output_max=traffic.output_max_tokens,
    )


def _from_trace(traffic: TraceTraffic, seed: int) -> Workload:
    if traffic.rate_per_s is not None and _holds_lengths_only(traffic.trace):
        workload = _lengths_at_rate(traffic.trace, traffic.rate_per_s, seed)
    else:
        workload = read_trace(traffic.trace)
    if traffic.window_start_s != 0 or traffic.window_end_s is not None:
        end_s = np.inf if traffic.window_end_s is None else traffic.window_end_s
        workload = transform.window(workload, traffic.window_start_s, end_s)
    if traffic.thin_share is not None:
        workload = transform.thin(workload, traffic.thin_share, seed)
    if traffic.num_requests is not None:
        workload = transform.head(workload, traffic.num_requests)
    if traffic.time_scale is not None:
        workload = transform.scale_time(workload, traffic.time_scale)
    if traffic.rate_per_s is not None and workload.source.get("arrivals") != "poisson":
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


def _lengths_at_rate(path: str, rate_per_s: float, seed: int) -> Workload:
    """A file of lengths with Poisson arrivals."""
    prompts, outputs = read_lengths(path)
    source: dict[str, object] = {"path": path, "arrivals": "poisson", "rate_per_s": rate_per_s, "seed": seed}
    arrival_s = poisson_arrivals_s(len(prompts), rate_per_s, seed)
    name = Path(path).name.split(".")[0]
    return make_workload(name, source, arrival_s=arrival_s, prompt_tokens=prompts, output_tokens=outputs)
