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


_HERE = "llmqgym.validation"

GROUPS: Mapping[str, Group] = {
    "vllm": Group(f"{_HERE}.vllm", "decisions of the real vLLM scheduler, step by step"),
    "prefix-cache": Group(f"{_HERE}.prefix_cache", "what caching finds, and that it changes nothing else"),
    "formulas": Group(f"{_HERE}.formulas", "closed forms against the printed tables of mean responses"),
    "textbook": Group(f"{_HERE}.textbook", "the simulated textbook queue against the same tables"),
    "token-rounds": Group(f"{_HERE}.token_rounds", "rounds of a token budget: stability, lock-in, batch lists"),
    "multi-bin": Group(f"{_HERE}.multi_bin", "throughput of batches run to completion, by number of bins"),
    "unit-rounds": Group(f"{_HERE}.unit_rounds", "examples worked by hand, MC-SF's inequality, flow control"),
    "eviction-cycle": Group(f"{_HERE}.eviction", "identical requests: how much of the bound each admission reaches"),
    "bounds": Group(f"{_HERE}.bounds", "certified lower bounds and MC-SF against exact optima of small instances"),
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
