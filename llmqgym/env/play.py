"""An agent through a whole workload in compiled code: what `llmqgym.run.simulate` is for a policy, for whoever sees
observations and answers with actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from llmqgym.env.config import EnvConfig
from llmqgym.env.servers import Servers
from llmqgym.errors import InputError
from llmqgym.kernel.act import Command
from llmqgym.kernel.compile import address_of_hook
from llmqgym.kernel.memory import address_of
from llmqgym.kernel.play import play
from llmqgym.kernel.tables import Outcome
from llmqgym.run import RunResult, simulate
from llmqgym.simulator import Simulator
from llmqgym.workload.source import RequestSource

#: Decisions after each other, none of which brings or finishes a request, before an agent is taken to be going round
#: in circles: commands that undo each other take hardly any time, and the clock of a run lasts for a hundred days.
PATIENCE = 200_000
#: Decisions between two looks at the progress bar.
_DECISIONS_A_CALL = 20_000
#: Settings of an environment that say how an agent is asked.
SHOWN = (
    "window", "oldest", "running", "shortage", "preempt_mode", "decision_interval", "admission_interval",
    "waiting_fields", "running_fields",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Chooser:
    """An agent that decides in compiled code.

    `choose(observation, mask, model)` is a plain Python function that numba compiles: it is given the addresses of the
    observation float32[D] and of the mask int8[A], to be read with `peek_single` and `peek_byte` of
    `llmqgym.kernel.memory`, and that of the array `model`, which holds what it knows; it returns an action 0 .. A - 1.
    `settings` go into reports. `kept` is what the model holds addresses of, which has to live as long.
    """

    name: str
    choose: Callable[[int, int, int], int]
    model: NDArray[Any]
    settings: Mapping[str, Any] = field(default_factory=dict)
    kept: Any = None


class Player:
    """A chooser at a server (llmqgym.run.Decider), for one run."""

    def __init__(self, chooser: Chooser, config: EnvConfig) -> None:
        if config.action != "command":
            raise InputError(f"action is {config.action!r}: a chooser answers with commands, give action='command'.")
        self.name = chooser.name
        self._chooser, self._config = chooser, config
        self._choose = address_of_hook("choose", chooser.choose)
        self._model = address_of(chooser.model)
        self._servers: Servers | None = None
        self._so_far, self._in_vain = 0, 0

    def settings(self) -> dict[str, Any]:
        """The chooser's, and how it is asked."""
        shown = {name: getattr(self._config, name) for name in SHOWN}
        return {"name": self.name, "oracle": False, **self._chooser.settings, **shown}

    def sit_at(self, simulator: Simulator) -> None:
        """Take the seat at a server whose run has not begun."""
        self._servers = Servers(self._config, 1, simulators=[simulator])
        self._servers.agents["command"] = Command.GO_ON
        simulator.advance_by(self._advance)

    def _advance(self, simulators: NDArray[Any], index: int, max_events: int) -> int:
        servers = self._servers
        assert servers is not None
        servers.fit_heaps(0)
        outcome = play(servers.agents, 0, self._choose, self._model, min(max_events, _DECISIONS_A_CALL))
        if outcome != Outcome.PAUSED:
            return int(outcome)
        record = simulators[index]
        so_far = int(record.num_finished + record.num_rejected + record.next_id)
        self._in_vain = self._in_vain + _DECISIONS_A_CALL if so_far == self._so_far else 0
        self._so_far = so_far
        return int(Outcome.STALLED if self._in_vain >= PATIENCE else Outcome.PAUSED)


def simulate_agent(workload: RequestSource, chooser: Chooser, config: EnvConfig, **options: Any) -> RunResult:
    """Replay `workload`, of any number of requests, under an agent: what `llmqgym.run.simulate` returns for a policy.

    Of an environment's `config` all counts but what its episodes are made of: engine, window, fields, shortage,
    preempt_mode, decision_interval, admission_interval. `options` are those of `simulate`: server, profile, predictor,
    seed, until_s and so on. An agent that decides 200,000 times in a row without a request coming or leaving ends the
    run as stalled. Raises InputError.
    """
    return simulate(workload, policy=config.engine, decider=Player(chooser, config), **options)
