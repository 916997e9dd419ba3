"""A policy's page: what it does, what it is told, what it costs, and where it comes from."""

from __future__ import annotations

import inspect
import sys

from baselines.registry import ALIASES, POLICIES, real_name


def parameters_of(name: str) -> dict[str, object]:
    """The settings that a policy takes, with their defaults."""
    taken = inspect.signature(POLICIES[name].load()).parameters.values()
    return {parameter.name: parameter.default for parameter in taken}


def hooks_of(name: str) -> list[str]:
    """The hooks that a policy has with its defaults."""
    policy = POLICIES[name].load()()
    return [kind for kind, hook in policy.hooks().items() if hook is not None]


def page_of(given: str) -> str:
    """The page of a policy by its name or alias, as plain text. Raises InputError for an unknown name.

    >>> print(page_of("edf").splitlines()[0])
    edf: earliest deadline of the first token first
    """
    name, _, preset = real_name(given).partition(":")
    entry = POLICIES[name]
    maker = entry.load()
    family = inspect.getdoc(sys.modules[entry.module]) or ""
    settings = ", ".join(f"{key}={value}" for key, value in parameters_of(name).items())
    others = [alias for alias, target in ALIASES.items() if target.partition(":")[0] == name]
    rows = {
        "parameters": settings or "none",
        "needs": entry.needs + (" (ORACLE)" if entry.oracle else ""),
        "cost": entry.cost,
        "family": entry.family,
        "hooks": ", ".join(hooks_of(name)) or "none: the engine's defaults",
        "source": entry.source,
        "file": entry.module.replace(".", "/") + ".py",
        "other names": ", ".join(others),
        "alias of": f"{name}:{preset}" if preset else "",
    }
    table = "\n".join(f"{key + ':':13}{value}" for key, value in rows.items() if value)
    rule = inspect.getdoc(maker) or ""
    return f"{name}: {entry.summary}\n\n{rule}\n\n{table}\n\nIts family:\n{family}\n"
