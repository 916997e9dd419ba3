"""A policy on nothing but what an agent sees: the observation, and what it has itself done since time last passed.

`PolicyAgent` asks the server; this asks the numbers that a network gets, unscaled. What they do not tell is an error.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from llmqgym.env.choice import RUN, check_command_environment, next_command
from llmqgym.env.config import EnvConfig
from llmqgym.env.spaces import Cutter, Obs
from llmqgym.env.views import Facts, RequestView, ServerView, Table, cut, lack_of
from llmqgym.errors import InputError
from llmqgym.policy import Policy

#: What the engine decides by itself, beside its preset.
_ENGINES = ("mix", "mix_key", "victim", "victim_mode")
#: Hooks that are told what no observation tells.
_TOLD = ("arrive", "admitted", "preempted", "finished", "begin")
#: Fields that preemption may change; `restart` changes the others of this kind too.
_CHANGING = {"computed_tokens", "kv_wanted", "kv_held", "prefill_left_tokens", "num_preemptions", "kv_peak"}
_RESTARTED = {"generated_tokens", "predicted_remaining_tokens", "ttft_left_s"}


class ObservedPolicy:
    """Chooses the commands that a policy would, from an observation: `act(observation)` is the next action.

    `config` is the environment's (`env.unwrapped.config`), with `action="command"` and `shortage="engine"`; MIX and
    VICTIM are its engine's, and must be the policy's. FIT is in the mask where the engine has it, else it is asked
    here, and must agree beside the engine's own gate. Ties go by age where the window does not tell who came first.

    What a hook asks for and the observation does not tell is an InputError that names the field to add to
    `waiting_fields` or `running_fields`; an oracle needs `OracleObservation`. A policy that preempts needs `age_s` in
    both, by which it knows again whom it has sent away in this iteration: it remembers that until it lets time pass,
    and `reset()` makes it forget, as between two episodes.

    With the whole queue in the window, the whole batch in view and `decision_interval=1`, the schedule is the kernel's
    as long as no two keys, and no PREEMPT and 0, lie closer together than single precision tells apart.

    >>> from llmqgym.env import LLMServerEnv
    >>> env = LLMServerEnv(num_requests=5)
    >>> policy = ObservedPolicy(Policy("shortest", order=lambda request, server: request.prompt_tokens), env.config)
    >>> policy.act(env.reset(seed=0)[0])
    1
    """

    def __init__(self, policy: Policy, config: EnvConfig) -> None:
        check_command_environment(policy, config)
        _check_engine(policy, config)
        _check_memory(policy, config)
        self.policy, self.config = policy, config
        self._facts, self._cutter = Facts(policy, config), Cutter(config)
        self._barred: set[bytes] = set()
        self._skipped: set[bytes] = set()
        lasting = set(config.waiting_fields) & set(config.running_fields) - _CHANGING
        if policy.preempt_mode == "restart":
            lasting -= _RESTARTED
        self._lasting = tuple(sorted(lasting))

    def reset(self) -> None:
        """Forget what was done in the iteration at hand: an episode begins."""
        self._barred, self._skipped = set(), set()

    def act(self, observation: Any, action_mask: NDArray[Any] | None = None) -> int:
        """The next command. `observation`: the Dict, or the flat vector float32 [D] with the mask int8 [A] beside it.
        Raises InputError for an observation of another shape, and where it does not tell what the policy asks for."""
        shown = cut(self.config, self._cutter, observation, action_mask)
        sight = _ObservedSight(self._facts, shown, self._barred, self._skipped, self._lasting)
        command = next_command(self.policy, self.config, sight)
        if command == RUN:
            self.reset()
        elif command > self.config.window:
            victim = (command - 1 - self.config.window) % self.config.running
            self._barred.add(sight.running_table.shown(victim, self._lasting))
        return command


def _check_engine(policy: Policy, config: EnvConfig) -> None:
    """Raises InputError where the engine does by itself what the policy would do otherwise."""
    differing = [name for name in _ENGINES if getattr(policy, name) != getattr(config.engine, name)]
    if differing:
        raise InputError(
            f"{', '.join(differing)} of policy {policy.name!r} is not that of the engine {config.engine.name!r}, which "
            "acts by itself: make the environment with engine=policy."
        )


def _check_memory(policy: Policy, config: EnvConfig) -> None:
    """Raises InputError where a policy would have to know what has happened."""
    told = [name for name in _TOLD if getattr(policy, name) is not None]
    if told:
        raise InputError(
            f"policy {policy.name!r} is told of what happens ({', '.join(told)}), and an observation does not tell it: "
            "use PolicyAgent, which looks at the server."
        )
    if policy.preempt is None:
        return
    for name in ("waiting_fields", "running_fields"):
        if "age_s" not in getattr(config, name):
            raise InputError(f"policy {policy.name!r} preempts, which needs the field 'age_s': add it to {name}.")
    if config.scenario.server.prefix_caching:
        raise InputError(
            f"policy {policy.name!r} preempts, and an observation does not tell what a request finds in the prefix "
            "cache: use PolicyAgent, or prefix_caching=false."
        )


class _ObservedSight:
    """The decision at hand, as an observation has it."""

    def __init__(
        self, facts: Facts, shown: Obs, barred: set[bytes], skipped: set[bytes], lasting: tuple[str, ...]
    ) -> None:
        self._facts, self._barred, self._skipped, self._lasting = facts, barred, skipped, lasting
        self.mask = shown["action_mask"]
        config = facts.config
        self._waiting_table, self.running_table = Table("waiting", facts, shown), Table("running", facts, shown)
        self.server = ServerView(facts, shown)
        num = min(self.server.count("num_running"), config.running)
        self._running = [
            RequestView(self.running_table, place, (place + 1 if place + 1 < num else -1, place - 1))
            for place in range(num)
        ]
        self.server.show(self._running)
        num = self.server.count("num_waiting") - self.server.count("num_unseen")
        self._waiting = [RequestView(self._waiting_table, place) for place in range(num)]
        self._keyed_by = self.server if facts.policy.rekey else ServerView(facts, shown, settings_only=True)
        self._by_age = config.oldest < config.window and (
            facts.policy.order is None or config.engine.order is not facts.policy.order
        )

    @property
    def is_open(self) -> bool:
        server, preempts = self.server, self._facts.policy.preempt is not None
        full = server.num_running >= self._facts.settings["max_running"] and not preempts
        return server.count("shortage") == 0 and server.budget_tokens > 0 and not full

    def waiting(self, place: int) -> RequestView:
        return self._waiting[place]

    def candidates(self) -> Iterator[tuple[float, float, int]]:
        order = self._facts.policy.order
        for place in range(len(self._waiting)):
            if self._same(place) in self._skipped:
                continue
            if self._barred and self._waiting_table.shown(place, self._lasting) in self._barred:
                continue
            key = 0.0 if order is None else float(order(self._waiting[place], self._keyed_by))
            tie = float(self._waiting[place].arrival_ps) if self._by_age else 0.0
            yield math.inf if math.isnan(key) else key, tie, place

    def _same(self, place: int) -> bytes:
        """By which a waiting request is known again."""
        return self._waiting_table.shown(place, self._waiting_table.names) if self._facts.policy.miss == "skip" else b""

    def may_enter(self, place: int) -> bool:
        if not self.mask[1 + place]:
            return False
        fit = self._facts.policy.fit
        if fit is None or fit is self._facts.config.engine.fit:
            return True
        return bool(fit(self._waiting[place], self.server))

    def lack(self, place: int) -> tuple[int, int]:
        return lack_of(self._facts, self._waiting[place], self.server)

    def leavers(self) -> Iterator[tuple[int, RequestView, float]]:
        first, running = 1 + self._facts.config.window, self._facts.config.running
        for place, request in enumerate(self._running):
            if self.mask[first + place :: running].any():
                yield place, request, float(request.arrival_ps)

    def skip(self, place: int) -> None:
        self._skipped.add(self._same(place))
