"""AgentContestant: a trained agent by its spec, `ppo:FILE` or `ppo:NAME`, in a run, and on a leaderboard."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

from agents.policy_file import DOCUMENT, WEIGHTS, read_agent
from agents.shipped import shipped_agents, shipped_folder
from agents.trained_agent import TrainedAgent
from llmqgym.env.play import Player
from llmqgym.errors import InputError, unknown
from llmqgym.kernel.jit import sources_behind
from llmqgym.policy import Policy
from llmqgym.run import RunResult, simulate
from llmqgym.scenario import ScenarioConfig
from llmqgym.specs import parse_pairs
from llmqgym.workload.source import RequestSource

PREFIX = "ppo:"
#: At which agents are trained and sit: what they do not decide, vLLM's defaults do.
ENGINE = Policy("vllm")
_SETTINGS = ("window", "running")
_PREDICTED = "predicted_"


def load_agent(spec: str, folder: str = "") -> TrainedAgent:
    """The agent of a spec: `ppo:NAME` a shipped one, `ppo:FILE` the files of one, in either case with `,window=K` and
    `,running=B` if it is to be shown other numbers of requests than in its training. A file is looked for in `folder`
    first, if one is given. Raises InputError."""
    given, comma, rest = spec.removeprefix(PREFIX).partition(",")
    settings = parse_pairs(rest if comma else "")
    for key, value in settings.items():
        if key not in _SETTINGS:
            raise unknown(f"setting of agent {given!r}", key, _SETTINGS)
        if type(value) is not int:
            raise InputError(f"{key} of agent {given!r} is {value!r}: give a whole number.")
    agent = read_agent(_path(given, folder))
    return agent.resized(**settings) if settings else agent  # type: ignore[arg-type]


def _path(given: str, folder: str) -> Path:
    if folder and (Path(folder) / given).is_file():
        return Path(folder) / given
    if given in shipped_agents():
        return shipped_folder() / given
    path = Path(given)
    if not given or not any(path.with_name(path.name + ending).exists() for ending in ("", DOCUMENT, WEIGHTS)):
        shipped = ", ".join(shipped_agents()) or "none"
        raise InputError(
            f"there is no agent {given!r}: give the path of its {WEIGHTS} or {DOCUMENT} file, or the name of a shipped "
            f"one ({shipped})."
        )
    return path


class AgentContestant:
    """A trained agent (llmqgym.leaderboard.contestant.Contestant). Raises InputError for a spec that names none."""

    family = "agents"
    oracle = False

    def __init__(self, spec: str, folder: str = "") -> None:
        self.spec = spec
        self.agent = load_agent(spec, folder)

    @property
    def summary(self) -> str:
        """As its file says."""
        return self.agent.summary or f"trained on {self.agent.training.scenario}"

    @property
    def needs(self) -> tuple[str, ...]:
        """Predictions, where it has learnt to look at some."""
        fields = (*self.agent.layout.waiting_fields, *self.agent.layout.running_fields)
        return ("point prediction",) if any(name.startswith(_PREDICTED) for name in fields) else ("nothing",)

    def settings(self) -> dict[str, Any]:
        """Network, view and a digest of the weights, and one of the code that reads them."""
        return {"kind": "agent", "name": self.agent.name, **self.agent.settings(), "code": self._code}

    @cached_property
    def _code(self) -> list[str]:
        return sorted(stamp for _, stamp in sources_behind(self.agent.brain.choose))

    def decider(self, scenario: ScenarioConfig) -> Player:
        """It at the seat of a scenario's server, for one run. Raises InputError."""
        return Player(self.agent.chooser(self.spec), self.agent.env_config(scenario))

    def run(self, workload: RequestSource, scenario: ScenarioConfig, **options: Any) -> RunResult:
        """See Contestant. Raises InputError."""
        return simulate(
            workload,
            policy=ENGINE,
            decider=self.decider(scenario),
            server=scenario.server,
            profile=scenario.profile,
            predictor=scenario.predictor,
            seed=scenario.seed,
            **options,
        )
