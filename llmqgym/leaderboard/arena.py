"""Arena: a scenario on a board, at one load: its traffic by seed, the same for every contestant."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from llmqgym.errors import InputError
from llmqgym.files import strict
from llmqgym.hardware import load_profile
from llmqgym.leaderboard.measured import counted_of, total_of
from llmqgym.leaderboard.suite import Suite
from llmqgym.scenario import (
    DEFAULT_PROFILE,
    GeneratedTraffic,
    ScenarioConfig,
    TraceTraffic,
    load_scenario,
    with_traffic,
)
from llmqgym.traffic import at_load, build_workload
from llmqgym.workload.predictors import make_predictor
from llmqgym.workload.workload import Workload, as_table

#: Of a trace: windows of fewer counted requests say little.
MIN_COUNTED = 1_000


@dataclass(frozen=True)
class Arena:
    """A scenario whose rate and predictor are settled, and how much of its traffic counts."""

    name: str
    base: str  # the scenario's own name
    scenario: ScenarioConfig  # policy and seed are of no account here
    num_counted: int  # requests of warm-up and measurement in each run
    seeds: tuple[int, ...]  # of a trace: its windows 0, 1, ...
    rho: float | None
    load: dict[str, Any] | None = field(compare=False)  # traffic.at_load

    def at(self, seed: int) -> ScenarioConfig:
        """The scenario of one run."""
        return dataclasses.replace(self.scenario, seed=seed)

    def workload(self, seed: int) -> Workload:
        """The traffic of a seed, without the predictions of the scenario's predictor. Raises InputError."""
        return _workload(self, seed)

    def fingerprint(self) -> str:
        """A digest of all that determines its runs beside seed and contestant."""
        return _fingerprint(self)


def arenas_of(suite: Suite) -> list[Arena]:
    """The arenas of a suite, in order: scenarios, each at its loads. Raises InputError."""
    if suite.trace is not None:
        return [_on_trace(suite, rho) for rho in suite.loads or (None,)]
    return [_on_scenario(suite, name, rho) for name in suite.scenarios for rho in suite.loads or (None,)]


def _on_scenario(suite: Suite, name: str, rho: float | None) -> Arena:
    scenario = load_scenario(name)
    if not isinstance(scenario.workload, GeneratedTraffic):
        raise InputError(f"scenario {name!r} replays a trace: give it by --trace.")
    if suite.profile is not None:
        scenario = dataclasses.replace(scenario, profile=suite.profile)
    scenario = with_traffic(scenario, None, num_requests=total_of(suite.num_requests), rho=rho)
    return _arena(suite, name, scenario, suite.num_requests, tuple(suite.seeds), rho)


def _on_trace(suite: Suite, rho: float | None) -> Arena:
    assert suite.trace is not None
    name = Path(suite.trace).name.split(".")[0]
    profile = DEFAULT_PROFILE if suite.profile is None else suite.profile
    traffic = TraceTraffic(suite.trace, rho=rho)
    scenario = ScenarioConfig(name, traffic, summary=f"the trace {suite.trace}", profile=profile)
    requests = as_table(build_workload(scenario)).requests
    num, predicts = len(requests), not bool(np.isnan(requests["predicted_output_tokens"]).all())
    if counted_of(num) < MIN_COUNTED:
        raise InputError(f"{suite.trace} has {num} requests: give at least {total_of(MIN_COUNTED)}.")
    windows = min(suite.num_seeds, num // total_of(MIN_COUNTED))
    return _arena(suite, name, scenario, counted_of(num // windows), tuple(range(windows)), rho, predicts)


def _arena(
    suite: Suite,
    base: str,
    scenario: ScenarioConfig,
    num_counted: int,
    seeds: tuple[int, ...],
    rho: float | None,
    predicts: bool = False,
) -> Arena:
    """`rho` is one that was asked for; it is in the name where there are several. `predicts`: the traffic brings
    predictions of its own."""
    asked = rho if rho is not None else scenario.workload.rho
    scenario, load = at_load(scenario)
    predictor = suite.predictor or scenario.predictor or (None if predicts else suite.usual_predictor)
    if predictor is not None:
        make_predictor(predictor)
    scenario = dataclasses.replace(scenario, predictor=predictor, policy="", seed=0)
    return Arena(f"{base}@{rho:g}" if len(suite.loads) > 1 else base, base, scenario, num_counted, seeds, asked, load)


@lru_cache(maxsize=2)
def _workload(arena: Arena, seed: int) -> Workload:
    if isinstance(arena.scenario.workload, GeneratedTraffic):
        return as_table(build_workload(arena.at(seed)))
    whole, num = _trace(arena), total_of(arena.num_counted)
    requests = whole.requests[seed * num : (seed + 1) * num].copy()
    requests["arrival_ps"] -= requests["arrival_ps"][0]
    return dataclasses.replace(whole, name=f"{whole.name}, window {seed}", requests=requests)


@lru_cache(maxsize=1)
def _trace(arena: Arena) -> Workload:
    return as_table(build_workload(arena.scenario))


@lru_cache(maxsize=64)
def _fingerprint(arena: Arena) -> str:
    scenario = arena.scenario
    profile = load_profile(scenario.profile).to_integers(scenario.server.block_size)
    traffic = {name: value for name, value in dataclasses.asdict(scenario.workload).items() if name != "trace"}
    told = {
        "workload": traffic,
        "server": dataclasses.asdict(scenario.server),
        "profile": dataclasses.asdict(profile),
        "predictor": scenario.predictor,
        "num_counted": arena.num_counted,
    }
    digest = hashlib.sha256(json.dumps(strict(told), sort_keys=True).encode())
    if isinstance(scenario.workload, TraceTraffic):
        digest.update(np.ascontiguousarray(_trace(arena).requests).tobytes())
    return digest.hexdigest()
