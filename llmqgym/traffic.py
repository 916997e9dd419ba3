"""A scenario's traffic made into requests: drawn from a model, or read from a trace and cut to size."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.errors import InputError
from llmqgym.hardware import load_profile
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.load import Capacity, capacity
from llmqgym.scenario import GeneratedTraffic, ScenarioConfig, TraceTraffic
from llmqgym.workload import transform
from llmqgym.workload.arrivals import make_arrivals
from llmqgym.workload.generate import GeneratedWorkload, sample_lengths
from llmqgym.workload.source import RequestSource
from llmqgym.workload.traces.open import FORMATS, open_trace, read_lengths
from llmqgym.workload.traces.table import open_table
from llmqgym.workload.workload import make_workload

#: Prompts and outputs in tokens, int64 [n] each.
Lengths = tuple[NDArray[np.int64], NDArray[np.int64]]
#: Of a longer trace not all lengths are looked at for its load.
_SAMPLE_REQUESTS = 1 << 18


def build_workload(scenario: ScenarioConfig) -> RequestSource:
    """The scenario's traffic, generated or read and cut. Raises InputError."""
    scenario, _ = at_load(scenario)
    traffic = scenario.workload
    if isinstance(traffic, TraceTraffic):
        return _from_trace(traffic, scenario.seed)
    assert traffic.rate_per_s is not None
    return GeneratedWorkload(traffic.name, traffic.model, traffic.num_requests, traffic.rate_per_s, scenario.seed)


def at_load(scenario: ScenarioConfig) -> tuple[ScenarioConfig, dict[str, Any] | None]:
    """The scenario with a load (`rho`) made into the rate that it stands for, and what that rate is of: the capacity
    per second, and the resource that binds there. None where no load is asked for. Raises InputError."""
    rho = scenario.workload.rho
    if rho is None:
        return scenario, None
    found = capacity_of(scenario, lengths_of(scenario))
    traffic = dataclasses.replace(scenario.workload, rho=None, rate_per_s=found.rate_at(rho))
    load = {"rho": rho, "capacity_per_s": found.rate_per_s, "binding": found.binding}
    return dataclasses.replace(scenario, workload=traffic), load


def capacity_of(scenario: ScenarioConfig, lengths: Lengths) -> Capacity:
    """The capacity of the scenario's profile and server for these prompts and outputs. Raises InputError."""
    profile = load_profile(scenario.profile).to_integers(scenario.server.block_size)
    return capacity(*lengths, profile, scenario.server)


def mean_rate_per_s(scenario: ScenarioConfig, found: Capacity) -> float | None:
    """The rate at which the scenario's requests come; None where its trace has no arrivals. Raises InputError."""
    traffic = scenario.workload
    if traffic.rho is not None:
        return found.rate_at(traffic.rho)
    if traffic.rate_per_s is not None:
        return traffic.rate_per_s
    if isinstance(traffic, GeneratedTraffic) or _holds_lengths_only(traffic.trace):
        return None
    requests = _from_trace(traffic, scenario.seed)
    first_ps, last_ps = transform.span_ps(requests)
    return None if first_ps == last_ps else (len(requests) - 1) * PS_PER_S / (last_ps - first_ps)


def lengths_of(scenario: ScenarioConfig) -> Lengths:
    """Prompt and output lengths, int64 [n] each: a sample of a traffic model, the same for every seed and rate;
    all of a trace's, or evenly spaced ones of a long trace. Raises InputError."""
    traffic = scenario.workload
    if isinstance(traffic, GeneratedTraffic):
        return sample_lengths(traffic.model)
    if _holds_lengths_only(traffic.trace):
        prompts, outputs = read_lengths(traffic.trace)
        return np.maximum(prompts, 1), np.maximum(outputs, 1)
    requests = _from_trace(dataclasses.replace(traffic, rho=None, rate_per_s=None), scenario.seed)
    every = -(-len(requests) // _SAMPLE_REQUESTS)
    rows = [(chunk["prompt_tokens"][::every], chunk["output_tokens"][::every]) for chunk in requests.chunks()]
    prompts, outputs = (np.concatenate([row[place] for row in rows]) for place in range(2))
    return prompts, outputs


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
