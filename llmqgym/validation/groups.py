"""The groups of checks by name: a literal table, group -> (module, what it is about)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import cast

from llmqgym.errors import unknown
from llmqgym.validation.check import Check


@dataclass(frozen=True)
class Group:
    """A topic file, and what the list says of it."""

    module: str
    summary: str


GROUPS: Mapping[str, Group] = {
    "bounds": Group("llmqgym.validation.bounds", "certified lower bounds against exact optima of small instances"),
}


def checks_of(names: Iterable[str] | None = None, quick: bool = False) -> list[Check]:
    """The checks of these groups (None: of all), in the order of the table; those of the quick run alone if `quick`.

    Raises InputError for an unknown group.
    """
    wanted = list(GROUPS) if names is None else list(names)
    for name in wanted:
        if name not in GROUPS:
            raise unknown("group of checks", name, GROUPS)
    checks = [
        check
        for name, group in GROUPS.items()
        if name in wanted
        for check in cast("tuple[Check, ...]", import_module(group.module).CHECKS)
    ]
    return [check for check in checks if not quick or check.quick_tolerance is not None]
