"""TrafficModel: the law of a workload, from which any number of requests can be drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from llmqgym.checks import check_count, check_real, check_shares
from llmqgym.errors import InputError, unknown
from llmqgym.workload.arrivals import ArrivalProcess, make_arrivals
from llmqgym.workload.lengths import LengthLaw, make_length_law
from llmqgym.workload.modulation import make_modulation
from llmqgym.workload.workload import EXACT_INTEGER, MAX_TOKENS

_MAX_LIMIT_S = 1e6


@dataclass(frozen=True)
class TrafficModel:
    """Arrivals, lengths and labels of requests, as specs (NAME:k=v,...) and numbers: what a [workload] section holds.

    Raises InputError for an unknown name or setting, or a value out of its bounds.

    >>> TrafficModel(prompt="constant:tokens=100", output="constant:tokens=100").arrivals
    'poisson'
    """

    prompt: str  # length law (lengths.py)
    output: str
    correlation: float = 0.0  # of the normal scores of prompt and output: a Gaussian copula
    arrivals: str = "poisson"  # gap law or clients (arrivals.py)
    modulation: tuple[str, ...] = ()  # of the rate (modulation.py), multiplied
    max_output_tokens: int | None = None  # declared cap; None: the longest output that its law allows
    tenant_shares: tuple[float, ...] = ()  # of the requests; none: one tenant, or the arrivals' clients
    tenant_priorities: tuple[int, ...] = ()  # by tenant
    priority_shares: tuple[float, ...] = ()  # of priorities 0, 1, ... drawn for each request
    ttft_limit_s: float | None = None  # limits that count for goodput
    tpot_limit_s: float | None = None
    e2e_limit_s: float | None = None
    source: str = field(default="", compare=False)  # where its figures come from

    def __post_init__(self) -> None:
        check_real("correlation", self.correlation, -0.999, 0.999)
        self.prompt_law()
        longest = self.output_law().max_tokens
        if self.max_output_tokens is not None:
            check_count("max_output_tokens", self.max_output_tokens, MAX_TOKENS)
            if self.max_output_tokens < longest:
                raise InputError(
                    f"max_output_tokens is {self.max_output_tokens}, below the {longest} tokens that {self.output!r} "
                    "allows: raise it, or give the law that max."
                )
        for name in ("tenant_shares", "priority_shares"):
            if getattr(self, name):
                check_shares(name, getattr(self, name))
        self._check_priorities()
        for name in ("ttft_limit_s", "tpot_limit_s", "e2e_limit_s"):
            if getattr(self, name) is not None:
                check_real(name, getattr(self, name), 1e-9, _MAX_LIMIT_S)
        self._arrivals()

    def _arrivals(self) -> Callable[[float, int], ArrivalProcess]:
        return _process(self.arrivals, tuple(self.modulation))

    def _check_priorities(self) -> None:
        if not self.tenant_priorities:
            return
        for priority in self.tenant_priorities:
            check_count("tenant_priorities", priority, EXACT_INTEGER, -EXACT_INTEGER)
        if self.priority_shares:
            raise InputError("tenant_priorities and priority_shares both set the priorities: give one of the two.")
        if len(self.tenant_priorities) != len(self.tenant_shares):
            raise InputError(
                f"{len(self.tenant_priorities)} tenant_priorities for {len(self.tenant_shares)} tenant_shares: "
                "give one a tenant."
            )

    def prompt_law(self) -> LengthLaw:
        """The law of the prompts' lengths."""
        return _law("prompt", self.prompt)

    def output_law(self) -> LengthLaw:
        """The law of the outputs' lengths."""
        return _law("output", self.output)

    def arrivals_at(self, rate_per_s: float, seed: int) -> ArrivalProcess:
        """The arrivals of a seed, from the first one on."""
        return self._arrivals()(rate_per_s, seed)

    def longest_output(self) -> int:
        """The declared cap of every request, tokens."""
        return self.max_output_tokens or self.output_law().max_tokens

    def with_settings(self, settings: dict[str, Any]) -> TrafficModel:
        """The model with other settings; raises InputError for one that it does not have."""
        names = [each.name for each in dataclasses.fields(self)]
        for key in settings:
            if key not in names:
                raise unknown("setting of a workload", key, names)
        return dataclasses.replace(self, **settings)

    def settings(self) -> dict[str, object]:
        """What differs from the defaults, for reports."""
        given = dataclasses.asdict(self)
        return {each.name: given[each.name] for each in dataclasses.fields(self) if given[each.name] != each.default}


# Kept, since an environment draws from the same laws at every reset.


@lru_cache(maxsize=64)
def _process(arrivals: str, modulation: tuple[str, ...]) -> Callable[[float, int], ArrivalProcess]:
    return make_arrivals(arrivals, [make_modulation(spec) for spec in modulation])


@lru_cache(maxsize=64)
def _law(what: str, spec: str) -> LengthLaw:
    try:
        return make_length_law(spec)
    except InputError as error:
        raise InputError(f"{what}: {error}") from error
