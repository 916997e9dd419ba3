"""Scenarios: traffic, server, hardware, policy and seed of a run, from strict TOML files.

The shipped files lie in `configs/scenario/` of the source checkout; a wheel carries that folder as `llmqgym/_configs`
(pyproject maps it: hatchling `[tool.hatch.build.targets.wheel.force-include]` with `"configs" = "llmqgym/_configs"`).
`shipped_folder` looks in the package first and in the checkout otherwise, so that editable installs need no copy.
"""

from __future__ import annotations

import dataclasses
import tomllib
import types
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from llmqgym.config import ServerConfig
from llmqgym.errors import InputError, unknown

DEFAULT_SCENARIO = "chat"
DEFAULT_PROFILE = "a100-llama-3-8b"


@dataclass(frozen=True)
class GeneratedTraffic:
    """Generated requests; what the numbers mean and their bounds: `workload.generate.poisson_lognormal`."""

    kind: str
    num_requests: int
    rate_per_s: float
    prompt_median_tokens: float
    prompt_sigma: float
    prompt_max_tokens: int
    output_median_tokens: float
    output_sigma: float
    output_max_tokens: int


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


#: Kinds of generated traffic, as a [workload] section names them.
KINDS = ("poisson_lognormal",)


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


def shipped_folder() -> Path:
    """The folder of the shipped scenarios. Raises InputError when the installation lacks it."""
    package = Path(str(files("llmqgym")))
    for folder in (package / "_configs" / "scenario", package.parent / "configs" / "scenario"):
        if folder.is_dir():
            return folder
    raise InputError(
        f"the shipped scenarios are neither in {package / '_configs'} nor beside it: install llmqgym again."
    )


def shipped_names() -> list[str]:
    """Names of the shipped scenarios, sorted."""
    return sorted(path.stem for path in shipped_folder().glob("*.toml"))


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
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
        return _scenario(file, document)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror or error}): name a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not TOML ({error}): correct the file.") from error
    except InputError as error:
        raise InputError(f"{file}: {error}") from error


def with_traffic(config: ScenarioConfig, trace: str | None, **settings: float | int | None) -> ScenarioConfig:
    """The scenario on another trace, or with other settings of its traffic; None leaves a setting as it is.

    Raises InputError for a setting that this kind of traffic does not have, or for two that contradict each other.
    """
    traffic = config.workload if trace is None else TraceTraffic(trace)
    given = {key: value for key, value in settings.items() if value is not None}
    known = [field.name for field in dataclasses.fields(traffic)]
    for key in given:
        if key not in known:
            raise InputError(f"{key} is for traces, and this traffic is generated: give a trace, or leave it out.")
    traffic = dataclasses.replace(traffic, **given)  # type: ignore[arg-type]
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
        raise InputError("there is no [workload] section: add one with kind = 'poisson_lognormal' or trace = 'PATH'.")
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
    shape = TraceTraffic if "trace" in section else GeneratedTraffic
    fields = dataclasses.fields(shape)
    names = [field.name for field in fields]
    for key in section:
        if key not in names:
            raise unknown("key of [workload]", key, names)
    missing = [f.name for f in fields if f.default is dataclasses.MISSING and f.name not in section]
    if missing:
        raise InputError(f"[workload] lacks {', '.join(missing)}: add {missing[0]} (or a trace = 'PATH').")
    _check_types(shape, "[workload] ", section)
    if shape is TraceTraffic:
        section = {**section, "trace": str(file.parent / section["trace"])}
    elif section["kind"] not in KINDS:
        raise unknown("kind of [workload]", section["kind"], KINDS)
    traffic = shape(**section)
    _check_traffic(traffic)
    return traffic


def _check_traffic(traffic: GeneratedTraffic | TraceTraffic) -> None:
    if isinstance(traffic, TraceTraffic) and traffic.time_scale is not None and traffic.rate_per_s is not None:
        raise InputError(
            f"time_scale {traffic.time_scale} and rate_per_s {traffic.rate_per_s} both set a trace's speed: give one."
        )


def _check_types(shape: type, where: str, settings: dict[str, Any]) -> None:
    hints = get_type_hints(shape)
    for key, value in settings.items():
        allowed = get_args(hints[key]) if get_origin(hints[key]) in (Union, types.UnionType) else (hints[key],)
        if float in allowed:
            allowed = (*allowed, int)
        if isinstance(value, bool) or not isinstance(value, allowed):
            names = " or ".join(sorted(kind.__name__ for kind in allowed if kind is not type(None)))
            raise InputError(f"{where}{key} is {value!r}: give a value of type {names}.")
