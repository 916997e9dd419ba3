"""Randomness inside the kernel: a hash of (seed, request, index), the same in every order of events.

The mixing function is that of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba.extending import overload, register_jitable

from llmqgym.kernel.jit import helper

_STEP, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_ALL = 2**64 - 1
#: Four words of 15 bits, summed, have this standard deviation, nearly: 2^15 sqrt(4 / 12).
_WORD = 0x7FFF
_MIDDLE = 2 * _WORD
_PER_DEVIATION = math.sqrt(3.0) / 2**15


def random_bits(seed: int, request: int, index: int) -> int:
    """60 random bits, a whole number from 0 on."""
    bits = 0
    for part in (seed, request, index):
        bits = (bits + int(part) + _STEP) & _ALL
        bits = (bits ^ (bits >> 30)) * _FIRST & _ALL
        bits = (bits ^ (bits >> 27)) * _SECOND & _ALL
        bits ^= bits >> 31
    return bits >> 4


@register_jitable
def _mixed(bits: Any, part: Any) -> Any:
    bits = bits + np.uint64(part) + np.uint64(_STEP)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(_FIRST)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(_SECOND)
    return bits ^ (bits >> np.uint64(31))


@overload(random_bits, strict=False)
def _random_bits(seed: Any, request: Any, index: Any) -> Any:
    return lambda seed, request, index: np.int64(
        _mixed(_mixed(_mixed(np.uint64(0), seed), request), index) >> np.uint64(4)
    )


@helper
def uniform(seed: int, request: int, index: int) -> float:
    """A number from 0 to 1, 1 excluded."""
    return (random_bits(seed, request, index) >> 7) / 9007199254740992.0


@helper
def bell(seed: int, request: int, index: int) -> float:
    """A number with mean 0 and variance 1, nearly normal: four uniform ones summed, exact on every machine."""
    bits = random_bits(seed, request, index)
    total = (bits & _WORD) + ((bits >> 15) & _WORD) + ((bits >> 30) & _WORD) + (bits >> 45)
    return (total - _MIDDLE) * _PER_DEVIATION
