"""Bounds of settings: each error names the value, the bound and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real

from llmqgym.errors import InputError


def check_count(name: str, value: object, most: int, least: int = 1) -> int:
    """A whole number from `least` to `most`; raises InputError."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) <= most:
        raise InputError(f"{name} is {value!r}: give a whole number from {least} to {most}.")
    return int(value)


def check_real(name: str, value: object, least: float, most: float) -> float:
    """A finite number from `least` to `most`; raises InputError."""
    if not isinstance(value, Real) or isinstance(value, bool) or not least <= float(value) <= most:
        raise InputError(f"{name} is {value!r}: give a number from {least:g} to {most:g}.")
    return float(value)


def read_numbers(name: str, text: object, least: float, most: float) -> tuple[float, ...]:
    """Numbers of a spec, separated by slashes: a spec's values hold no commas. Raises InputError.

    >>> read_numbers("weights", "0.4/0.6", 0, 1)
    (0.4, 0.6)
    """
    try:
        numbers = [float(part) for part in str(text).split("/")]
    except ValueError:
        raise InputError(f"{name} is {text!r}: write numbers separated by slashes, e.g. 0.4/0.6.") from None
    return tuple(check_real(name, number, least, most) for number in numbers)


def check_shares(name: str, shares: Sequence[float]) -> tuple[float, ...]:
    """Shares of a whole, one at least, none negative, normed to the sum 1; raises InputError if all are 0."""
    total = sum(check_real(name, share, 0.0, 1e9) for share in shares)
    if not total > 0:
        raise InputError(f"{name} is {list(shares)}: give one share at least, and not only zeros.")
    return tuple(share / total for share in shares)
