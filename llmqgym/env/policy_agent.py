"""A compiled policy as an agent: its hooks, called in plain Python on what the environment's server shows a policy.

With every waiting request in the window, every running one shown and a decision at each iteration, the schedule is the
one that the kernel makes with the same policy, bit for bit; what smaller windows cost is how far it falls behind.
"""

from __future__ import annotations

import math
from typing import Any

from llmqgym.env.env import LLMServerEnv
from llmqgym.errors import InputError
from llmqgym.kernel.act import probe
from llmqgym.kernel.batch import preempting_helps
from llmqgym.kernel.tables import Deciding
from llmqgym.policy import MODES, Policy

RUN = 0


class PolicyAgent:
    """Chooses the commands that a policy would: `agent.act()` is the next action of `env`.

    `env` is an LLMServerEnv (or wrappers around one) with `action="command"` and `shortage="engine"`, whose `engine` is
    the policy: its FIT, MIX and VICTIM act in the kernel. Raises InputError for another.
    """

    def __init__(self, policy: Policy, env: Any) -> None:
        env = env.unwrapped
        if not isinstance(env, LLMServerEnv) or env.config.action != "command" or env.config.shortage != "engine":
            raise InputError("a policy acts on an LLMServerEnv with action='command' and shortage='engine'.")
        if env.config.engine != policy:
            raise InputError(f"the environment's engine is not {policy.name!r}: make it with engine=policy.")
        if policy.preempt_mode not in env.config.preempt_modes:
            raise InputError(
                f"{policy.name!r} preempts by {policy.preempt_mode}, the environment by {env.config.preempt_mode}: "
                "make it with preempt_mode=policy.preempt_mode."
            )
        self._policy, self._env = policy, env
        self._composition = -1
        self._skipped: set[int] = set()

    def act(self, observation: Any = None) -> int:
        """The next command; the observation is not looked at, the server is."""
        self._begin()
        while True:
            place = self._first()
            if place < 0:
                return RUN
            if self._env.servers.masks[0, 1 + place]:
                return 1 + place
            victim = self._displaced(place)
            if victim >= 0:
                return 1 + self._env.config.window + victim
            if self._policy.miss == "stop":
                return RUN
            self._skipped.add(self._row(place))

    def _begin(self) -> None:
        """A new iteration is being composed: nobody has been tried."""
        composition = int(self._record.num_events)
        if composition != self._composition:
            self._composition, self._skipped = composition, set()

    @property
    def _record(self) -> Any:
        return self._env.simulator.record

    def _row(self, place: int) -> int:
        return int(self._env.servers.waiting_rows(0)[place])

    def _key(self, row: int) -> float:
        """By which the queue is ordered, as the kernel has taken it."""
        return 0.0 if self._policy.order is None else float(self._env.simulator.hidden(row).key)

    def _first(self) -> int:
        """The place in the window of the first in the queue that may be tried, -1: none is to be."""
        record = self._record
        full = record.num_running >= record.max_running and self._policy.preempt is None
        if record.deciding != Deciding.OPEN or record.shortage or record.budget_tokens <= 0 or full:
            return -1
        best, best_key = -1, (math.inf, math.inf)
        for place, row in enumerate(self._env.servers.waiting_rows(0)):
            if row in self._skipped or self._env.simulator.hidden(row).barred == record.num_events:
                continue
            key = (self._key(int(row)), float(self._env.simulator.request(row).id))
            if best < 0 or key < best_key:
                best, best_key = place, key
        return best

    def _displaced(self, place: int) -> int:
        """The shown running request that makes place for a waiting one, -1: none."""
        if self._policy.preempt is None:
            return -1
        probe(self._env.servers.agents, 0, place)
        record = self._record
        lacking_blocks = int(record.lacking_blocks)
        if not preempting_helps(int(record.lack), MODES[self._policy.preempt_mode]):
            return -1
        candidate = self._env.simulator.request(self._row(place))
        best, best_value, best_id, blocks = -1, 0.0, -1, 0
        for shown, row in enumerate(self._env.servers.running_rows(0)):
            request = self._env.simulator.request(row)
            if request.admit_seq >= record.first_new_seq:
                continue
            value = float(self._policy.preempt(request, candidate, record))
            if value > 0.0:
                blocks += int(request.kv_blocks)
            if value > best_value or (value == best_value and best >= 0 and request.id > best_id):
                best, best_value, best_id = shown, value, int(request.id)
        return best if best >= 0 and blocks >= lacking_blocks else -1
