"""A compiled policy as an agent: its hooks, called in plain Python on what the environment's server shows a policy.

With every waiting request in the window, every running one shown and a decision at each iteration, the schedule is the
one that the kernel makes with the same policy, bit for bit; what smaller windows cost is how far it falls behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from llmqgym.env.choice import check_command_environment, next_command
from llmqgym.env.env import LLMServerEnv
from llmqgym.errors import InputError
from llmqgym.kernel.act import probe
from llmqgym.kernel.tables import Deciding
from llmqgym.policy import Policy


class PolicyAgent:
    """Chooses the commands that a policy would: `agent.act()` is the next action of `env`.

    `env` is an LLMServerEnv (or wrappers around one) with `action="command"` and `shortage="engine"`, whose `engine` is
    the policy: its FIT, MIX and VICTIM act in the kernel. Raises InputError for another.
    """

    def __init__(self, policy: Policy, env: Any) -> None:
        env = env.unwrapped
        if not isinstance(env, LLMServerEnv):
            raise InputError(f"a policy acts on an LLMServerEnv, and not on {env}.")
        check_command_environment(policy, env.config)
        if env.config.engine != policy:
            raise InputError(f"the environment's engine is not {policy.name!r}: make it with engine=policy.")
        self._policy, self._env = policy, env
        self._sight = _ServerSight(policy, env)

    def act(self, observation: Any = None) -> int:
        """The next command; the observation is not looked at, the server is."""
        self._sight.look()
        return next_command(self._policy, self._env.config, self._sight)


class _ServerSight:
    """The decision at hand, read off the server itself."""

    def __init__(self, policy: Policy, env: LLMServerEnv) -> None:
        self._policy, self._env = policy, env
        self._composition = -1
        self._skipped: set[int] = set()

    def look(self) -> None:
        """When a new iteration is being composed nobody has been tried."""
        composition = int(self.server.num_events)
        if composition != self._composition:
            self._composition, self._skipped = composition, set()

    @property
    def server(self) -> Any:
        return self._env.simulator.record

    @property
    def mask(self) -> NDArray[Any]:
        mask: NDArray[Any] = self._env.servers.masks[0]
        return mask

    @property
    def is_open(self) -> bool:
        record = self.server
        full = record.num_running >= record.max_running and self._policy.preempt is None
        return bool(record.deciding == Deciding.OPEN and not record.shortage and record.budget_tokens > 0 and not full)

    def _row(self, place: int) -> int:
        return int(self._env.servers.waiting_rows(0)[place])

    def waiting(self, place: int) -> Any:
        return self._env.simulator.request(self._row(place))

    def candidates(self) -> Iterator[tuple[float, float, int]]:
        """By the keys that the kernel has taken, then by id."""
        num_events = self.server.num_events
        for place, row in enumerate(self._env.servers.waiting_rows(0).tolist()):
            hidden = self._env.simulator.hidden(row)
            if row not in self._skipped and hidden.barred != num_events:
                key = 0.0 if self._policy.order is None else float(hidden.key)
                yield key, float(self._env.simulator.request(row).id), place

    def may_enter(self, place: int) -> bool:
        return bool(self.mask[1 + place])

    def lack(self, place: int) -> tuple[int, int]:
        probe(self._env.servers.agents, 0, place)
        return int(self.server.lack), int(self.server.lacking_blocks)

    def leavers(self) -> Iterator[tuple[int, Any, float]]:
        for shown, row in enumerate(self._env.servers.running_rows(0).tolist()):
            request = self._env.simulator.request(row)
            if request.admit_seq < self.server.first_new_seq:
                yield shown, request, float(request.id)

    def skip(self, place: int) -> None:
        self._skipped.add(self._row(place))
