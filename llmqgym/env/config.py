"""Settings of an environment: frozen, typed, checked before anything is built."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmqgym.checks import check_count, check_real
from llmqgym.errors import InputError, unknown
from llmqgym.kernel.observe import DEFAULT_RUNNING, DEFAULT_WAITING, REQUEST_FIELDS
from llmqgym.kernel.reward import TERM_NAMES
from llmqgym.kernel.tables import HORIZON_PS, PS_PER_S
from llmqgym.policy import MISSES, MODES, Policy
from llmqgym.scenario import MAX_RHO, ScenarioConfig, load_scenario, read_scenario, with_settings, with_traffic
from llmqgym.workload.predictors import make_predictor

SHORTAGES = ("engine", "agent")
ACTIONS = ("command", "priority")
OBSERVATIONS = ("dict", "flat")
#: As `preempt_mode`: all of MODES, chosen by the command.
ANY_MODE = "any"
#: Predictions where neither scenario nor trace has any: an agent that sees none learns to serve in order of arrival.
DEFAULT_PREDICTOR = "lognormal:sigma=0.5"
MAX_WINDOW = 4096


@dataclass(frozen=True)
class Randomised:
    """What is drawn anew for every episode, uniformly; None: as the scenario has it."""

    rho: tuple[float, float] | None = None  # load, as a share of the capacity of profile and server
    sigma: tuple[float, float] | None = None  # of lognormal predictions
    profile: tuple[str, ...] | None = None
    num_kv_blocks: tuple[int, ...] | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> Randomised:
        """From the keyword arguments of an environment. Raises InputError."""
        given = {} if given is None else dict(given)
        names = [each.name for each in dataclasses.fields(cls)]
        for key in given:
            if key not in names:
                raise unknown("randomised setting", key, names)
        for name, most in (("rho", MAX_RHO), ("sigma", 5.0)):
            if given.get(name) is not None:
                given[name] = _interval(f"randomise {name}", given[name], most)
        for name in ("profile", "num_kv_blocks"):
            values = given.get(name)
            if values is not None:
                if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                    raise InputError(f"randomise {name} is {values!r}: give a list to draw from.")
                given[name] = tuple(values)
        for blocks in given.get("num_kv_blocks") or ():
            check_count("randomise num_kv_blocks", blocks, 2**40)
        return cls(**given)


def _interval(name: str, value: object, most: float) -> tuple[float, float]:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) != 2:
        raise InputError(f"{name} is {value!r}: give a pair (least, largest).")
    low, high = (check_real(name, each, 0.0, most) for each in value)
    if low > high:
        raise InputError(f"{name} is {value!r}: the first must not be larger than the second.")
    return low, high


@dataclass(frozen=True)
class EnvConfig:
    """Everything that determines an environment but its seed; what each means is in `LLMServerEnv`.

    Raises InputError for a value out of its bounds, or settings that contradict each other.
    """

    scenario: ScenarioConfig
    engine: Policy = field(default_factory=lambda: Policy("vllm"))
    num_requests: int = 1000
    until_s: float | None = None
    max_decisions: int | None = None
    window: int = 16
    oldest: int = 8
    running: int = 16
    action: str = "command"
    miss: str = "stop"
    shortage: str = "engine"
    preempt_mode: str | tuple[str, ...] = "recompute"
    decision_interval: int = 16
    admission_interval: int = 1
    observation: str = "dict"
    waiting_fields: tuple[str, ...] = DEFAULT_WAITING
    running_fields: tuple[str, ...] = DEFAULT_RUNNING
    reward: tuple[float, ...] = (1.0, *[0.0] * (len(TERM_NAMES) - 1))  # weights in the order of TERM_NAMES
    randomise: Randomised = field(default_factory=Randomised)

    def __post_init__(self) -> None:
        check_count("num_requests", self.num_requests, 10**6)
        if self.max_decisions is not None:
            check_count("max_decisions", self.max_decisions, 2**60)
        if self.until_s is not None:
            check_real("until_s", self.until_s, 1e-12, HORIZON_PS / PS_PER_S)
        check_count("window", self.window, MAX_WINDOW)
        check_count("oldest", self.oldest, self.window, 0)
        check_count("running", self.running, MAX_WINDOW, 0)
        check_count("decision_interval", self.decision_interval, 2**40)
        check_count("admission_interval", self.admission_interval, 2**40)
        for name, known in (
            ("action", ACTIONS), ("shortage", SHORTAGES), ("observation", OBSERVATIONS),
            ("miss", MISSES),
        ):  # fmt: skip
            if getattr(self, name) not in known:
                raise unknown(name, str(getattr(self, name)), known)
        known_fields = [each.name for each in REQUEST_FIELDS]
        for name in ("waiting_fields", "running_fields"):
            for each in getattr(self, name):
                if each not in known_fields:
                    raise unknown(f"field in {name}", str(each), known_fields)
        self._check_modes()
        self._check_shortage()

    def _check_modes(self) -> None:
        if isinstance(self.preempt_mode, str):
            if self.preempt_mode not in (*MODES, ANY_MODE):
                raise unknown("preempt_mode", self.preempt_mode, (*MODES, ANY_MODE))
        elif not self.preempt_mode:
            raise InputError(f"preempt_mode is empty: give {ANY_MODE!r}, or one or more of {', '.join(MODES)}.")
        for name in self.preempt_modes:
            if name not in MODES:
                raise unknown("mode in preempt_mode", str(name), MODES)
        if len(set(self.preempt_modes)) < len(self.preempt_modes):
            raise InputError(f"preempt_mode is {self.preempt_mode!r}: name every mode once.")
        if len(self.preempt_modes) > 1 and self.action == "priority":
            raise InputError(
                f"preempt_mode={self.preempt_mode!r} needs action='command': scores do not say how somebody leaves. "
                "Give one mode."
            )

    def _check_shortage(self) -> None:
        if self.shortage == "engine":
            return
        if self.action == "priority":
            raise InputError("shortage='agent' needs action='command': scores do not say who leaves on a shortage.")
        if len(self.preempt_modes) > 1 and not {"recompute", "restart"} & set(self.preempt_modes):
            raise InputError(
                f"shortage='agent' and preempt_mode={self.preempt_mode!r}: with host memory full nobody could make "
                "room. Add 'recompute' or 'restart' to it."
            )
        if self.engine.mix != "mixed" or self.engine.mix_key is not None:
            raise InputError(
                f"shortage='agent' and an engine that composes by {self.engine.mix!r} or a mix_key: whether the next "
                "iteration fits is known beforehand for mix='mixed' only: use shortage='engine'."
            )
        if self.running < min(self.scenario.server.max_running, MAX_WINDOW):
            # The last admitted are in view whatever `running` is, as long as one is.
            check_count("running with shortage='agent'", self.running, MAX_WINDOW, 1)

    @property
    def num_actions(self) -> int:
        """1 + window + modes x running."""
        return 1 + self.window + len(self.preempt_modes) * self.running

    @property
    def preempt_modes(self) -> tuple[str, ...]:
        """The modes that an agent may preempt by, in the order of the commands."""
        if isinstance(self.preempt_mode, str):
            return tuple(MODES) if self.preempt_mode == ANY_MODE else (self.preempt_mode,)
        return self.preempt_mode

    @property
    def until_ps(self) -> int:
        """Time limit of an episode, picoseconds."""
        return HORIZON_PS if self.until_s is None else round(self.until_s * PS_PER_S)


def make_config(
    *,
    scenario: str | ScenarioConfig | None = None,
    config: str | None = None,
    trace: str | None = None,
    workload: str | None = None,
    profile: str | None = None,
    server: Mapping[str, Any] | None = None,
    predictor: str | None = None,
    rho: float | None = None,
    reward: Mapping[str, float] | None = None,
    randomise: Mapping[str, Any] | None = None,
    oldest: int | None = None,
    **settings: Any,
) -> EnvConfig:
    """The settings of an environment from its keyword arguments. Raises InputError, for an unknown one too."""
    names = [each.name for each in dataclasses.fields(EnvConfig)]
    for key in settings:
        if key not in names:
            raise unknown("setting of the environment", key, [*names, "config", "trace", "workload", "profile", "rho"])
    chosen = _scenario(scenario, config)
    chosen = with_traffic(chosen, trace, workload, rho=rho)
    chosen = with_settings(chosen, dict(server or {}), profile=profile, predictor=predictor)
    if chosen.predictor is not None:
        make_predictor(chosen.predictor)
    for name in ("waiting_fields", "running_fields", "preempt_mode"):
        if name in settings and not isinstance(settings[name], str):
            settings[name] = tuple(settings[name])
    if reward is not None:
        settings["reward"] = _weights(reward)
    window = settings.get("window", EnvConfig.window)
    check_count("window", window, MAX_WINDOW)
    return EnvConfig(
        scenario=chosen,
        randomise=Randomised.of(randomise),
        oldest=window - window // 2 if oldest is None else oldest,
        **settings,
    )


def _scenario(scenario: str | ScenarioConfig | None, config: str | None) -> ScenarioConfig:
    if scenario is not None and config is not None:
        raise InputError(f"both a scenario ({scenario}) and a config ({config}): give one of the two.")
    if config is not None:
        return read_scenario(config)
    if isinstance(scenario, ScenarioConfig):
        return scenario
    return load_scenario("chat" if scenario is None else scenario)


def _weights(given: Mapping[str, float]) -> tuple[float, ...]:
    for name, weight in given.items():
        if name not in TERM_NAMES:
            raise unknown("reward term", name, TERM_NAMES)
        if not math.isfinite(weight):
            raise InputError(f"the weight of reward term {name} is {weight}: give a finite number.")
    return tuple(float(given.get(name, 0.0)) for name in TERM_NAMES)
