"""Scenarios: traffic, server, hardware, policy and seed of a run, from strict TOML files."""

from __future__ import annotations

import dataclasses
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from llmqgym.checks import check_real
from llmqgym.config import ServerConfig
from llmqgym.errors import InputError, unknown
from llmqgym.shipped import shipped_folder, shipped_names
from llmqgym.toml import read_toml
from llmqgym.workload.model import TrafficModel
from llmqgym.workload.named import find_workload

DEFAULT_SCENARIO = "chat"
DEFAULT_PROFILE = "a100-llama-3-8b"
DEFAULT_REQUESTS = 20_000
MAX_RHO = 100.0


@dataclass(frozen=True)
class GeneratedTraffic:
    """Requests drawn from a traffic model, at a rate or at a load."""

    model: TrafficModel
    num_requests: int = DEFAULT_REQUESTS
    rate_per_s: float | None = None  # exactly one of the two
    rho: float | None = None  # share of the capacity of profile and server (load.py)
    name: str = "generated"


@dataclass(frozen=True)
class TraceTraffic:
    """Requests from a trace file, with what is done to them, in this order."""

    trace: str  # path; in a config file relative to that file
    window_start_s: float = 0.0
    window_end_s: float | None = None  # None: to the end
    thin_share: float | None = None  # part of the requests that is kept at random
    num_requests: int | None = None  # only the first so many
    time_scale: float | None = None  # every arrival time is multiplied by it
    rate_per_s: float | None = None  # time is scaled to this mean rate; of lengths alone: Poisson arrivals
    rho: float | None = None  # the same, as a share of the capacity of profile and server (load.py)


@dataclass(frozen=True)
class ScenarioConfig:
    """Everything that determines a run. Specs (`profile`, `policy`, `predictor`) are resolved by whoever runs it."""

    name: str
    workload: GeneratedTraffic | TraceTraffic
    server: ServerConfig = field(default_factory=ServerConfig)
    summary: str = ""
    profile: str = DEFAULT_PROFILE
    policy: str = "vllm"
    predictor: str | None = None  # None: the trace's own predictions, if it has any
    seed: int = 0


def load_scenario(name: str) -> ScenarioConfig:
    """A shipped scenario. Raises InputError for an unknown name, naming the nearest.

    >>> load_scenario("textbook-queue").server.max_running
    1
    """
    if name not in shipped_names():
        raise unknown("scenario", name, shipped_names())
    return read_scenario(shipped_folder() / f"{name}.toml")


def read_scenario(path: str | Path) -> ScenarioConfig:
    """The scenario in a TOML file.

    Raises InputError, beginning with the path, for a file that cannot be read, an unknown key (naming the nearest), a
    missing one, or a value of the wrong type or out of its bounds.
    """
    file = Path(path)
    return read_toml(file, lambda document: _scenario(file, document))


def with_traffic(
    config: ScenarioConfig, trace: str | None, workload: str | None = None, **settings: float | int | None
) -> ScenarioConfig:
    """The scenario on another trace or named workload, or with other settings of its traffic; None leaves a setting.

    Raises InputError for a setting that this kind of traffic does not have, or for two that contradict each other.
    """
    if trace is not None and workload is not None:
        raise InputError(f"both a trace ({trace}) and a workload ({workload}): give one of the two.")
    traffic = config.workload
    if trace is not None:
        traffic = TraceTraffic(trace)
    if workload is not None:
        named = find_workload(workload)
        traffic = GeneratedTraffic(named.model, rate_per_s=named.rate_per_s, name=workload)
    given: dict[str, Any] = {key: value for key, value in settings.items() if value is not None}
    known = [field.name for field in dataclasses.fields(traffic)]
    for key in given:
        if key not in known:
            raise InputError(f"{key} is for traces, and this traffic is generated: give a trace, or leave it out.")
    if "rate_per_s" in given and "rho" not in given:
        given["rho"] = None
    elif "rho" in given and "rate_per_s" not in given:
        given["rate_per_s"] = None
    traffic = dataclasses.replace(traffic, **given)
    _check_traffic(traffic)
    return dataclasses.replace(config, workload=traffic)


def with_settings(config: ScenarioConfig, server: dict[str, Any], **settings: Any) -> ScenarioConfig:
    """The scenario with other settings of its server and of its own; None leaves one as it is. Raises InputError."""
    given = {key: value for key, value in settings.items() if value is not None}
    merged = ServerConfig.from_pairs({**dataclasses.asdict(config.server), **server})
    return dataclasses.replace(config, server=merged, **given)


def _scenario(file: Path, document: dict[str, Any]) -> ScenarioConfig:
    known = [field.name for field in dataclasses.fields(ScenarioConfig) if field.name != "name"]
    for key in document:
        if key not in known:
            raise unknown("key", key, known)
    if not isinstance(document.get("workload"), dict):
        raise InputError("there is no [workload] section: add one with name = 'chat' or trace = 'PATH'.")
    if not isinstance(document.get("server", {}), dict):
        raise InputError("server must be a section: write [server].")
    settings = {key: value for key, value in document.items() if key not in ("workload", "server")}
    _check_types(ScenarioConfig, "", settings)
    return ScenarioConfig(
        name=file.stem,
        workload=_traffic(file, document["workload"]),
        server=ServerConfig.from_pairs(document.get("server", {})),
        **settings,
    )


def _traffic(file: Path, section: dict[str, Any]) -> GeneratedTraffic | TraceTraffic:
    traffic = _trace_traffic(file, section) if "trace" in section else _generated_traffic(section)
    _check_traffic(traffic)
    return traffic


def _trace_traffic(file: Path, section: dict[str, Any]) -> TraceTraffic:
    _check_keys(section, [field.name for field in dataclasses.fields(TraceTraffic)])
    _check_types(TraceTraffic, "[workload] ", section)
    return TraceTraffic(**{**section, "trace": str(file.parent / section["trace"])})


def _generated_traffic(section: dict[str, Any]) -> GeneratedTraffic:
    """A named workload, or one of its own; further keys replace settings of the model."""
    of_model = [field.name for field in dataclasses.fields(TrafficModel)]
    of_traffic = [field.name for field in dataclasses.fields(GeneratedTraffic) if field.name != "model"]
    _check_keys(section, [*of_traffic, *of_model])
    _check_types(TrafficModel, "[workload] ", {key: section[key] for key in of_model if key in section})
    settings = {key: section[key] for key in of_traffic if key in section}
    _check_types(GeneratedTraffic, "[workload] ", settings)
    replaced = {key: _as_tuple(section[key]) for key in of_model if key in section}
    if "name" in section:
        named = find_workload(section["name"])
        if "rate_per_s" not in section and "rho" not in section:
            settings["rate_per_s"] = named.rate_per_s
        return GeneratedTraffic(named.model.with_settings(replaced), **settings)
    for key in ("prompt", "output"):
        if key not in section:
            raise InputError(f"[workload] lacks {key}: add it, or name = 'chat_azure23', or a trace = 'PATH'.")
    return GeneratedTraffic(TrafficModel(**replaced), **settings)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check_keys(section: dict[str, Any], known: list[str]) -> None:
    for key in section:
        if key not in known:
            raise unknown("key of [workload]", key, known)


def _check_traffic(traffic: GeneratedTraffic | TraceTraffic) -> None:
    speeds = {"rate_per_s": traffic.rate_per_s, "rho": traffic.rho}
    if isinstance(traffic, TraceTraffic):
        speeds["time_scale"] = traffic.time_scale
    given = {name: value for name, value in speeds.items() if value is not None}
    if len(given) > 1:
        listed = " and ".join(f"{name} {value}" for name, value in given.items())
        raise InputError(f"{listed} each set how fast requests come: give one.")
    if isinstance(traffic, GeneratedTraffic) and not given:
        raise InputError("the workload has neither rate_per_s nor rho: give one of the two.")
    if traffic.rho is not None:
        check_real("rho", traffic.rho, 1e-6, MAX_RHO)


def _check_types(shape: type, where: str, settings: dict[str, Any]) -> None:
    hints = get_type_hints(shape)
    for key, value in settings.items():
        if get_origin(hints[key]) is tuple:
            _check_list(where, key, value, get_args(hints[key])[0])
            continue
        allowed = get_args(hints[key]) if get_origin(hints[key]) in (Union, types.UnionType) else (hints[key],)
        if float in allowed:
            allowed = (*allowed, int)
        if isinstance(value, bool) or not isinstance(value, allowed):
            names = " or ".join(sorted(kind.__name__ for kind in allowed if kind is not type(None)))
            raise InputError(f"{where}{key} is {value!r}: give a value of type {names}.")


def _check_list(where: str, key: str, value: Any, kind: type) -> None:
    allowed = (float, int) if kind is float else (kind,)
    fits = isinstance(value, list) and all(isinstance(each, allowed) and not isinstance(each, bool) for each in value)
    if not fits:
        raise InputError(f"{where}{key} is {value!r}: give a list of values of type {kind.__name__}.")
