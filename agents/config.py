"""AgentConfig: everything that determines how an agent is trained, from strict TOML files (`configs/agent/`)."""

from __future__ import annotations

import dataclasses
import itertools
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from agents.inference import CHOOSERS
from agents.looks import FIGURES_TO_KEEP_BY
from llmqgym.checks import check_count, check_real
from llmqgym.env.config import EnvConfig, make_config
from llmqgym.env.play import SHOWN
from llmqgym.errors import InputError, unknown
from llmqgym.toml import read_toml

#: Seeds of held-out requests: what agents are measured on. Training never draws from them.
FIRST_HELD_OUT_SEED = 900_000_000
MAX_HELD_OUT_SEEDS = 10_000
_SEEDS_OF_A_RUN = 100_000
KEPT = ("best", "last")
#: What has to stay as it is from one stage to the next.
_SHOWN = (*SHOWN, "action", "miss")


@dataclass(frozen=True)
class Part:
    """One kind of traffic among those that a universal agent is trained on."""

    env: dict[str, Any] = field(
        default_factory=dict
    )  # settings of LLMServerEnv, in place of those of the agent's [env]
    reward_scale: float = 1.0  # by which its rewards are multiplied
    time_scale: float = 1.0  # by which its seconds are multiplied before they discount
    baselines: tuple[str, ...] = ()  # measured beside the agent, in place of those of [evaluation]


@dataclass(frozen=True)
class Stage:
    """From a point of the run on: other settings of training. The held-out requests stay as they are."""

    from_share: float = 0.0  # of the run's decisions
    env: dict[str, Any] = field(default_factory=dict)  # in place of those of [env] and of the part

    def __post_init__(self) -> None:
        check_real("stage from_share", self.from_share, 0.0, 0.999)


@dataclass(frozen=True)
class NetworkConfig:
    """What reads the observations."""

    name: str = "scorer"
    hidden: int = 32
    preempt: bool = True  # whether it may preempt at all

    def __post_init__(self) -> None:
        if self.name not in CHOOSERS:
            raise unknown("network", self.name, CHOOSERS)
        check_count("network hidden", self.hidden, 4096)


@dataclass(frozen=True)
class CloningConfig:
    """The warm start; without a teacher there is none."""

    teacher: str | None = None  # a spec of agents.teachers
    num_rounds: int = 20
    num_steps: int = 64
    doubt: float = 0.02
    learning_rate: float = 1e-3

    def __post_init__(self) -> None:
        check_real("cloning doubt", self.doubt, 0.0, 1.0)


@dataclass(frozen=True)
class LearningConfig:
    """PPO; the meanings are those of `agents.ppo.TimedPPO` and of MaskablePPO."""

    num_steps: int = 128  # of every server, between two updates
    batch_size: int = 4096
    num_epochs: int = 3
    learning_rate: float = 1e-3
    final_learning_rate: float = 3e-5  # it falls linearly over the run
    horizon_s: float | None = 30.0
    average_reward: bool = False  # in place of a horizon
    trace_s: float = 10.0
    gae_lambda: float = 1.0
    clip: float = 0.2
    target_kl: float | None = 0.005
    teacher_kl: float = 0.0
    entropy_weight: float = 0.0
    final_entropy_weight: float | None = None  # it moves there linearly; below 0 the policy is made to decide itself
    entropy_moves_from: float = 0.0  # after this share of the run
    value_weight: float = 0.5
    max_grad_norm: float = 0.5
    reward_scale: float = 1.0
    values_only: int = 0  # updates at the beginning that leave the policy as it is
    reference: str | None = None  # a baseline whose reward for the same requests is taken away from the agent's

    def __post_init__(self) -> None:
        check_real("entropy_moves_from", self.entropy_moves_from, 0.0, 0.999)
        for name, least in (("learning_rate", 0.0), ("final_learning_rate", 0.0), ("trace_s", 1e-6)):
            check_real(name, getattr(self, name), least, 1e9)


@dataclass(frozen=True)
class EvaluationConfig:
    """How the agent is measured while it learns: greedy, on held-out requests."""

    every: int = 20  # updates
    num_seeds: int = 10
    num_requests: int = 2000
    baselines: tuple[str, ...] = ("vllm", "spjf")
    keep: str = "best"  # which look's weights are shipped: those of the best one, or of the last
    figure: str = "mean_e2e_s"  # by which looks are compared, beside the best baseline

    def __post_init__(self) -> None:
        if self.keep not in KEPT:
            raise unknown("evaluation keep", self.keep, KEPT)
        if self.figure not in FIGURES_TO_KEEP_BY:
            raise unknown("evaluation figure", self.figure, FIGURES_TO_KEEP_BY)
        check_count("evaluation every", self.every, 2**40)
        check_count("evaluation num_seeds", self.num_seeds, MAX_HELD_OUT_SEEDS)
        check_count("evaluation num_requests", self.num_requests, 10**6)


@dataclass(frozen=True)
class AgentConfig:
    """A training run. `env` are settings of `LLMServerEnv`; with `parts`, each says what is different in it."""

    name: str
    summary: str = ""
    env: dict[str, Any] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    stages: tuple[Stage, ...] = ()
    num_envs: int = 128
    copies: int = 1
    total_steps: int = 5_000_000
    seed: int = 1
    network: NetworkConfig = field(default_factory=NetworkConfig)
    cloning: CloningConfig = field(default_factory=CloningConfig)
    learning: LearningConfig = field(default_factory=LearningConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)

    def __post_init__(self) -> None:
        check_count("num_envs", self.num_envs, 2**16)
        check_count("copies", self.copies, self.num_envs)
        check_count("total_steps", self.total_steps, 2**50)
        check_count("seed", self.seed, FIRST_HELD_OUT_SEED // _SEEDS_OF_A_RUN - 1, 0)
        groups = self.copies * len(self.env_settings)
        if self.num_envs % groups:
            raise InputError(f"num_envs is {self.num_envs}: give a multiple of copies x parts, {groups}.")
        for name, settings in self.env_settings.items():
            try:
                self._env_config(settings)
            except InputError as error:
                raise InputError(f"[env] of {name}: {error}") from error
        self._check_stages()

    def _check_stages(self) -> None:
        """They come in their order, have seeds of their own, and show the agent what it is shown elsewhere."""
        begins = [stage.from_share for stage in self.stages]
        if any(later <= earlier for earlier, later in itertools.pairwise(begins)):
            raise InputError(f"from_share of the stages is {begins}: give them in their order, each larger.")
        most = _SEEDS_OF_A_RUN // (len(self.stages) + 1)
        if self.stages:
            check_count(f"num_envs with {len(self.stages)} stages", self.num_envs, most)
        for number in range(1, len(self.stages) + 1):
            for name, settings in self.training_settings(number).items():
                try:
                    found = _shown(self._env_config(settings))
                except InputError as error:
                    raise InputError(f"stage {number}, {name}: {error}") from error
                for key, value in _shown(self._env_config(self.env_settings[name])).items():
                    if value != found[key]:
                        raise InputError(
                            f"stage {number}, {name}: {key} is {found[key]!r} and in [env] {value!r}: an agent is "
                            "shown and asked the same from beginning to end, take it out of the stage."
                        )

    def _env_config(self, settings: dict[str, Any]) -> EnvConfig:
        return make_config(**settings, observation="flat")

    @property
    def env_settings(self) -> dict[str, dict[str, Any]]:
        """Settings of the environment by name of the part: that of its scenario."""
        merged = [{**self.env, **part.env} for part in self.parts or (Part(),)]
        names = [str(each.get("scenario") or Path(each.get("config", "chat")).stem) for each in merged]
        return {
            name if names.count(name) == 1 else f"{name}-{place}": each
            for place, (name, each) in enumerate(zip(names, merged, strict=True))
        }

    @property
    def baselines_beside(self) -> dict[str, tuple[str, ...]]:
        """Specs of the baselines that the agent is measured beside, by part."""
        parts = self.parts or (Part(),)
        return {
            name: part.baselines or self.evaluation.baselines
            for name, part in zip(self.env_settings, parts, strict=True)
        }

    def stage_at(self, share: float) -> int:
        """The number of the stage after a share of the run; 0: none has begun."""
        return sum(stage.from_share <= share for stage in self.stages)

    def training_settings(self, stage: int) -> dict[str, dict[str, Any]]:
        """`env_settings` as they are in a stage."""
        other = self.stages[stage - 1].env if stage else {}
        return {name: {**settings, **other} for name, settings in self.env_settings.items()}

    @property
    def first_config(self) -> EnvConfig:
        """Of the first part; the layout of all is the same."""
        return self._env_config(next(iter(self.env_settings.values())))

    @property
    def training_seed(self) -> int:
        """Of the first server; the others have the next ones, and each stage those after."""
        return self.seed * _SEEDS_OF_A_RUN

    def replaced(self, **settings: Any) -> AgentConfig:
        """With other settings; None leaves one as it is."""
        return dataclasses.replace(self, **{key: value for key, value in settings.items() if value is not None})

    def document(self) -> dict[str, Any]:
        """As plain dicts, for a file; `agent_config` reads it."""
        return dataclasses.asdict(self)


def _shown(config: EnvConfig) -> dict[str, Any]:
    """What determines what an agent is shown, and how it is asked."""
    return {name: getattr(config, name) for name in _SHOWN}


def held_out_seeds(num: int) -> list[int]:
    """Seeds of the requests that agents are measured on."""
    return [FIRST_HELD_OUT_SEED + place for place in range(num)]


def agent_config(document: dict[str, Any], name: str) -> AgentConfig:
    """From the sections of a TOML file. Raises InputError for an unknown key, naming the nearest, a value of the wrong
    type or out of its bounds."""
    made: AgentConfig = _built(AgentConfig, {**document, "name": name}, "")
    return made


def read_agent_config(path: str | Path) -> AgentConfig:
    """From a TOML file; it is called by the file's name, and a scenario's `config` is named from the file's folder.
    Raises InputError."""
    file = Path(path)
    return read_toml(file, lambda document: agent_config(_from_here(file, document), file.stem))


def _from_here(file: Path, document: dict[str, Any]) -> dict[str, Any]:
    for section in (document, *document.get("parts", ()), *document.get("stages", ())):
        env = section.get("env") if isinstance(section, dict) else None
        if isinstance(env, dict) and isinstance(env.get("config"), str):
            env["config"] = str(file.parent / env["config"])
    return document


def _built(shape: Any, section: Any, where: str) -> Any:
    """A dataclass from a dict, sections within sections."""
    if not isinstance(section, dict):
        raise InputError(f"{where} must be a section: write [{where}].")
    hints = get_type_hints(shape)
    known = [each.name for each in dataclasses.fields(shape)]
    values: dict[str, Any] = {}
    for key, value in section.items():
        if key not in known:
            raise unknown(f"key of [{where}]" if where else "key", key, known)
        values[key] = _value(hints[key], value, f"{where}.{key}" if where else key)
    return shape(**values)


def _value(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return _built(hint, value, where)
    if get_origin(hint) is tuple:
        if not isinstance(value, (list, tuple)):
            raise InputError(f"{where} is {value!r}: give a list.")
        return tuple(_value(get_args(hint)[0], each, where) for each in value)
    if get_origin(hint) is dict:
        if not isinstance(value, dict):
            raise InputError(f"{where} must be a section: write [{where}].")
        return dict(value)
    allowed = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if float in allowed:
        allowed = (*allowed, int)
    if (isinstance(value, bool) and bool not in allowed) or not isinstance(value, allowed):
        names = " or ".join(sorted(kind.__name__ for kind in allowed if kind is not type(None)))
        raise InputError(f"{where} is {value!r}: give a value of type {names}.")
    return value
