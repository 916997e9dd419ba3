"""Suite: what is on a board: scenarios, contestants, loads, seeds. Strict TOML files in configs/leaderboard/."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmqgym.checks import check_count, check_real
from llmqgym.errors import InputError, unknown
from llmqgym.scenario import MAX_RHO
from llmqgym.shipped import shipped_folder
from llmqgym.toml import read_toml

#: Whom everybody is compared with, on every board.
REFERENCE = "vllm"
#: The first seed of a board. Agents must not be trained on these: they are for nothing else.
FIRST_SEED = 700_000
MAX_SEEDS = 10_000


@dataclass(frozen=True)
class Suite:
    """Everything that determines a board, but for who makes a contestant of a spec.

    `num_requests` are those of the warm-up and those that are measured; a fifth more arrive behind them
    (`llmqgym.leaderboard.measured`). `loads` none: each scenario at its own. A board has a trace or scenarios; a
    trace's seeds are windows of it. Raises InputError.
    """

    name: str
    summary: str = ""
    scenarios: tuple[str, ...] = ()
    policies: tuple[str, ...] = (REFERENCE,)
    num_seeds: int = 10
    first_seed: int = FIRST_SEED
    num_requests: int = 10_000
    usual_predictor: str | None = None  # of scenarios, and of a trace, without predictions of their own
    predictor: str | None = None  # of all of them, in place of their own
    loads: tuple[float, ...] = ()  # each scenario at each of these shares of its capacity
    stability: bool = False  # also search the largest stable rate of each policy in each scenario
    trace: str | None = None
    profile: str | None = None  # of the trace's server, or in place of the scenarios'

    def __post_init__(self) -> None:
        check_count("seeds", self.num_seeds, MAX_SEEDS)
        check_count("first_seed", self.first_seed, 2**62, 0)
        check_count("num_requests", self.num_requests, 100_000_000)
        for rho in self.loads:
            check_real("rho", rho, 1e-6, MAX_RHO)
        for what in ("scenarios", "policies", "loads"):
            _check_once(what, getattr(self, what))
        if bool(self.scenarios) == (self.trace is not None):
            raise InputError("a leaderboard is of scenarios or of a trace: give one of the two.")

    @property
    def contestants(self) -> tuple[str, ...]:
        """The specs on the board: the policies, and the reference before them if it is not among them.

        >>> Suite("mine", scenarios=("chat",), policies=("spjf",)).contestants
        ('vllm', 'spjf')
        """
        return self.policies if REFERENCE in self.policies else (REFERENCE, *self.policies)

    @property
    def seeds(self) -> list[int]:
        """Those of its scenarios."""
        return list(range(self.first_seed, self.first_seed + self.num_seeds))

    def settings(self) -> dict[str, Any]:
        """As JSON; `read_settings` is the way back."""
        return dataclasses.asdict(self)


def shipped_suites() -> list[str]:
    """Names of the shipped suites, sorted.

    >>> shipped_suites()
    ['default', 'full', 'quick']
    """
    return sorted(path.stem for path in _folder().glob("*.toml"))


def load_suite(name: str) -> Suite:
    """A shipped suite. Raises InputError for an unknown name, naming the nearest."""
    if name not in shipped_suites():
        raise unknown("suite", name, shipped_suites())
    return read_toml(_folder() / f"{name}.toml", lambda document: read_settings({"name": name, **document}))


def read_settings(settings: dict[str, Any]) -> Suite:
    """A suite from its settings. Raises InputError for an unknown key, naming the nearest, or a wrong value."""
    fields = {field.name: field for field in dataclasses.fields(Suite)}
    for key, value in settings.items():
        if key not in fields:
            raise unknown("key of a suite", key, fields)
        if not isinstance(value, _KINDS[str(fields[key].type)]):
            raise InputError(f"{key} is {value!r}: give a value of type {fields[key].type}.")
    given: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in settings.items()}
    return Suite(**given)


def _folder() -> Path:
    return shipped_folder().parent / "leaderboard"


_KINDS: dict[str, Any] = {
    "str": str,
    "str | None": (str, type(None)),
    "int": int,
    "bool": bool,
    "tuple[str, ...]": (list, tuple),
    "tuple[float, ...]": (list, tuple),
}


def _check_once(what: str, names: tuple[Any, ...]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{what}: {name!r} is given twice: give it once.")
