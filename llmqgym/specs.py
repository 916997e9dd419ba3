"""Specs: the NAME:k=v,k=v form in which policies, predictors, profiles and servers are named everywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from llmqgym.errors import InputError, unknown

Value = bool | int | float | str


def parse_value(text: str) -> Value:
    """Read one value: true/false, an integer, a float, else the text itself.

    >>> parse_value("16"), parse_value("0.5"), parse_value("true"), parse_value("fcfs")
    (16, 0.5, True, 'fcfs')
    """
    lowered = text.strip().lower()
    if lowered in ("true", "false", "yes", "no", "on", "off"):
        return lowered in ("true", "yes", "on")
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text.strip()


def parse_pairs(text: str) -> dict[str, Value]:
    """Read `k=v,k=v`.

    >>> parse_pairs("block_size=16,watermark=0.01")
    {'block_size': 16, 'watermark': 0.01}
    """
    pairs: dict[str, Value] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        key, equals, value = part.partition("=")
        key = key.strip()
        if not equals or not key:
            raise InputError(f"cannot read {part!r} in {text!r}: write key=value, pairs separated by commas.")
        if key in pairs:
            raise InputError(f"{key!r} is given twice in {text!r}: give it once.")
        pairs[key] = parse_value(value)
    return pairs


def parse_spec(text: str) -> tuple[str, dict[str, Value]]:
    """Split a spec into its name and its settings.

    >>> parse_spec("lognormal:sigma=1")
    ('lognormal', {'sigma': 1})
    """
    name, _, rest = text.partition(":")
    if not name.strip():
        raise InputError(f"{text!r} has no name: write NAME or NAME:key=value,key=value.")
    return name.strip(), parse_pairs(rest)


@lru_cache(maxsize=256)
def _parameters(maker: Callable[..., Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names that a maker takes, and those of them without a default. Kept: `inspect` takes 20 us."""
    import inspect

    parameters = inspect.signature(maker).parameters.values()
    return tuple(each.name for each in parameters), tuple(p.name for p in parameters if p.default is p.empty)


def build(kind: str, text: str, makers: Mapping[str, Callable[..., Any]]) -> Any:
    """Look the spec's name up in `makers` and call it with the spec's settings as keyword arguments.

    Raises InputError for an unknown name or a setting that the maker does not take.
    """
    name, settings = parse_spec(text)
    if name not in makers:
        raise unknown(kind, name, makers)
    parameters, needed = _parameters(makers[name])
    for key in settings:
        if key not in parameters:
            raise unknown(f"setting of {kind} {name!r}", key, parameters)
    missing = [each for each in needed if each not in settings]
    if missing:
        raise InputError(f"{kind} {name!r} needs {', '.join(missing)}: write {name}:{missing[0]}=VALUE.")
    return makers[name](**settings)
