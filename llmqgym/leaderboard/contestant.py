"""Contestant: whatever the leaderboard runs: a scheduling policy, or an agent that schedules."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cached_property
from typing import Any, Protocol

from llmqgym.kernel.jit import sources_behind
from llmqgym.policy import Policy
from llmqgym.run import RunResult, simulate
from llmqgym.scenario import ScenarioConfig
from llmqgym.workload.source import RequestSource


class Contestant(Protocol):
    """One row of the board. It is made anew, by its spec, in every process that runs it."""

    @property
    def spec(self) -> str:
        """What it was asked for by: NAME:k=v,... or PREFIX:FILE. The same spec makes the same contestant again."""
        ...

    @property
    def family(self) -> str:
        """A word for its kind: 'engines', 'sizes', 'agents', ..."""
        ...

    @property
    def summary(self) -> str:
        """A line on what it does."""
        ...

    @property
    def oracle(self) -> bool:
        """Whether it sees true lengths: then it is shown apart, and has no rank."""
        ...

    @property
    def needs(self) -> tuple[str, ...]:
        """What it must be told of requests, in the words of `llmqgym.leaderboard.offer`."""
        ...

    def settings(self) -> dict[str, Any]:
        """All that determines what it does, as JSON: two contestants of equal settings make equal runs."""
        ...

    def run(self, workload: RequestSource, scenario: ScenarioConfig, **options: Any) -> RunResult:
        """Replay `workload` to its end on the scenario's profile and server, with the predictions of
        `scenario.predictor` and `scenario.seed` (as `llmqgym.run.simulate` draws them), and keep the departures.
        `options` are others of `simulate`."""
        ...


#: From a spec to a contestant. Importable by name: other processes call it too. Raises InputError.
MakeContestant = Callable[[str], Contestant]


class PolicyContestant:
    """A policy, run by the kernel."""

    def __init__(
        self, spec: str, policy: Policy, *, family: str = "", summary: str = "", needs: tuple[str, ...] = ()
    ) -> None:
        self.spec = spec
        self.policy = policy
        self.family = family
        self.summary = summary or policy.summary
        self.needs = needs

    @property
    def oracle(self) -> bool:
        """As the policy says: the kernel shows the truth to nobody else."""
        return self.policy.oracle

    def settings(self) -> dict[str, Any]:
        """The policy's settings, and a digest of the code of its hooks and of all that they call."""
        return {"kind": "policy", **self.policy.settings(), "code": self._code}

    @cached_property
    def _code(self) -> str:
        return _digest(self.policy)

    def run(self, workload: RequestSource, scenario: ScenarioConfig, **options: Any) -> RunResult:
        """See Contestant. Raises InputError."""
        return simulate(
            workload,
            policy=self.policy,
            server=scenario.server,
            profile=scenario.profile,
            predictor=scenario.predictor,
            seed=scenario.seed,
            **options,
        )


def _digest(policy: Policy) -> str:
    digest = hashlib.sha256()
    for kind, hook in policy.hooks().items():
        if hook is not None:
            files = sorted(stamp for _, stamp in sources_behind(hook))
            digest.update(f"{kind} {hook.__module__}.{hook.__qualname__} {files}\n".encode())
    return digest.hexdigest()
