"""Whole-number division of what is never negative: one machine instruction, where `//` and `%` check signs and zero."""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic, overload


def quotient(a: int, b: int) -> int:
    """a // b for 0 <= a and 0 < b."""
    return a // b


def remainder(a: int, b: int) -> int:
    """a % b for 0 <= a and 0 < b."""
    return a % b


@intrinsic
def _unsigned_quotient(_context: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.udiv(args[0], args[1])

    return types.int64(types.int64, types.int64), generate


@intrinsic
def _unsigned_remainder(_context: Any, a: Any, b: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.urem(args[0], args[1])

    return types.int64(types.int64, types.int64), generate


@overload(quotient, strict=False)
def _quotient(a: Any, b: Any) -> Any:
    return lambda a, b: _unsigned_quotient(a, b)


@overload(remainder, strict=False)
def _remainder(a: Any, b: Any) -> Any:
    return lambda a, b: _unsigned_remainder(a, b)
