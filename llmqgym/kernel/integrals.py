"""Exact time integrals in 128 bits, because requests x picoseconds overflow an int64 within seconds.

A total is int64[2]: the upper 64 bits, and the lower ones (as if unsigned). `whole` makes it a Python integer.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import typeof
from numba.core import types
from numba.extending import intrinsic, overload

_WIDE, _WORD = ir.IntType(128), ir.IntType(64)
_PAIR = typeof((0, 0))  # two int64


def whole(total: Any) -> int:
    """The integer that a total holds."""
    return (int(total[0]) << 64) + (int(total[1]) & (2**64 - 1))


def add_product(total: Any, a: int, b: int) -> None:
    """total += a * b, exactly, for 0 <= a, b < 2**63."""
    _write(total, whole(total) + int(a) * int(b))


def subtract_product(total: Any, a: int, b: int) -> None:
    """total -= a * b, exactly, for 0 <= a, b < 2**63."""
    _write(total, whole(total) - int(a) * int(b))


def _write(total: Any, value: int) -> None:
    low = value & (2**64 - 1)
    total[0], total[1] = value >> 64, low - 2**64 if low >= 2**63 else low


def _wide_step(operation: str) -> Any:
    """(upper, lower, a, b) -> (upper, lower) of upper:lower `operation` a * b."""

    @intrinsic
    def step(_context: Any, upper: Any, lower: Any, a: Any, b: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            upper, lower, a, b = args
            bits = ir.Constant(_WIDE, 64)
            total = builder.or_(builder.shl(builder.zext(upper, _WIDE), bits), builder.zext(lower, _WIDE))
            product = builder.mul(builder.zext(a, _WIDE), builder.zext(b, _WIDE))
            total = getattr(builder, operation)(total, product)
            words = [builder.trunc(builder.lshr(total, bits), _WORD), builder.trunc(total, _WORD)]
            return context.make_tuple(builder, signature.return_type, words)

        return _PAIR(types.int64, types.int64, types.int64, types.int64), generate

    return step


_plus, _minus = _wide_step("add"), _wide_step("sub")


@overload(add_product, strict=False)
def _add_product(total: Any, a: Any, b: Any) -> Any:
    def implementation(total: Any, a: int, b: int) -> None:
        total[0], total[1] = _plus(total[0], total[1], a, b)

    return implementation


@overload(subtract_product, strict=False)
def _subtract_product(total: Any, a: Any, b: Any) -> Any:
    def implementation(total: Any, a: int, b: int) -> None:
        total[0], total[1] = _minus(total[0], total[1], a, b)

    return implementation
