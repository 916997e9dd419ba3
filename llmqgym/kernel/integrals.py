"""Exact time integrals: 62-bit limbs, because requests x picoseconds overflow an int64 within seconds."""

from __future__ import annotations

from typing import Any

from llmqgym.kernel.jit import helper

_HALF = 31
_MASK = (1 << 31) - 1
_LIMB = 1 << 62


@helper
def add_product(total: Any, a: int, b: int) -> None:
    """total += a * b, exactly, for 0 <= a < 2**62 and 0 <= b < 2**62; total is int64[2]: (units of 2**62, rest)."""
    a1, a0 = a >> _HALF, a & _MASK
    b1, b0 = b >> _HALF, b & _MASK
    low, left, right = a0 * b0, a0 * b1, a1 * b0
    middle = (low >> _HALF) + (left & _MASK) + (right & _MASK)
    rest = total[1] + (low & _MASK) + ((middle & _MASK) << _HALF)
    total[0] += a1 * b1 + (left >> _HALF) + (right >> _HALF) + (middle >> _HALF) + (rest >> 62)
    total[1] = rest & (_LIMB - 1)


@helper
def subtract_product(total: Any, a: int, b: int) -> None:
    """total -= a * b, exactly; the result must not be negative."""
    a1, a0 = a >> _HALF, a & _MASK
    b1, b0 = b >> _HALF, b & _MASK
    low, left, right = a0 * b0, a0 * b1, a1 * b0
    middle = (low >> _HALF) + (left & _MASK) + (right & _MASK)
    rest = total[1] - ((low & _MASK) + ((middle & _MASK) << _HALF))
    total[0] -= a1 * b1 + (left >> _HALF) + (right >> _HALF) + (middle >> _HALF)
    if rest < 0:
        rest += _LIMB
        total[0] -= 1
    total[1] = rest
