"""The command that a policy chooses: its ORDER, MISS and PREEMPT over what is in sight, whoever looks and at what."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from numpy.typing import NDArray

from llmqgym.env.config import EnvConfig
from llmqgym.errors import InputError
from llmqgym.kernel.batch import preempting_helps
from llmqgym.policy import MODES, Policy

RUN = 0


class Sight(Protocol):
    """A decision as it looks to a policy. Places count from 0, in the window and among the running requests shown."""

    @property
    def is_open(self) -> bool:
        """Whether anybody may be tried."""

    @property
    def mask(self) -> NDArray[Any]:
        """The commands that are allowed, [A]."""

    @property
    def server(self) -> Any:
        """What hooks get as the server."""

    def candidates(self) -> Iterable[tuple[float, float, int]]:
        """(key, tie, place) of the waiting requests that may be tried: the smallest comes first."""

    def may_enter(self, place: int) -> bool:
        """Whether a waiting request may be admitted."""

    def lack(self, place: int) -> tuple[int, int]:
        """What keeps a waiting request out, a Lack, and the blocks that it lacks."""

    def waiting(self, place: int) -> Any:
        """What hooks get as a waiting request."""

    def leavers(self) -> Iterable[tuple[int, Any, float]]:
        """(place, request as hooks get it, tie) of the running requests that may leave: of equals the larger tie."""

    def skip(self, place: int) -> None:
        """Do not try a waiting request again in this iteration."""


def check_command_environment(policy: Policy, config: EnvConfig) -> None:
    """Raises InputError where a policy cannot choose the commands."""
    if config.action != "command" or config.shortage != "engine":
        raise InputError("a policy acts on an LLMServerEnv with action='command' and shortage='engine'.")
    if policy.preempt is None:
        return
    if policy.preempt_mode not in config.preempt_modes:
        raise InputError(
            f"{policy.name!r} preempts by {policy.preempt_mode}, the environment by {config.preempt_mode}: "
            "make it with preempt_mode=policy.preempt_mode."
        )
    if policy.preempt_mode == "swap" and len(config.preempt_modes) > 1 and "recompute" not in config.preempt_modes:
        raise InputError(
            f"{policy.name!r} swaps, and recomputes where host memory is full: add 'recompute' to "
            f"preempt_mode={config.preempt_mode!r}, or leave 'swap' alone."
        )


def next_command(policy: Policy, config: EnvConfig, sight: Sight) -> int:
    """What the policy's waiting pass would do next."""
    while sight.is_open:
        place = min(sight.candidates(), default=(0.0, 0.0, -1))[-1]
        if place < 0:
            break
        if sight.may_enter(place):
            return 1 + place
        victim = _displaced(policy, sight, place)
        if victim >= 0:
            return _preempting(policy, config, sight, victim)
        if policy.miss == "stop":
            break
        sight.skip(place)
    return RUN


def _displaced(policy: Policy, sight: Sight, place: int) -> int:
    """The shown running request that makes place for a waiting one, -1: none."""
    if policy.preempt is None:
        return -1
    lack, lacking_blocks = sight.lack(place)
    if not preempting_helps(lack, MODES[policy.preempt_mode]):
        return -1
    candidate = sight.waiting(place)
    best, best_value, best_tie, blocks = -1, 0.0, 0.0, 0
    for shown, request, tie in sight.leavers():
        value = float(policy.preempt(request, candidate, sight.server))
        if value > 0.0 and lacking_blocks > 0:
            blocks += int(request.kv_blocks)
        if value > best_value or (value == best_value and best >= 0 and tie > best_tie):
            best, best_value, best_tie = shown, value, tie
    return best if best >= 0 and blocks >= lacking_blocks else -1


def _preempting(policy: Policy, config: EnvConfig, sight: Sight, shown: int) -> int:
    """The command that preempts a running request in the policy's mode, or by recompute if host memory is full."""
    first = 1 + config.window + shown
    command = first + config.preempt_modes.index(policy.preempt_mode) * config.running
    if sight.mask[command] or policy.preempt_mode != "swap":
        return command
    return first + config.preempt_modes.index("recompute") * config.running
