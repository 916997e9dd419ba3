"""The peak of memory to come: MC-SF's inequality (arXiv 2502.07115, equation 5) and LightLLM's admission test, in
blocks.

Everybody in a plan holds so many tokens now, takes one more a pass, and gives all back after so many passes. Memory is
highest in the last pass of somebody. Which lengths are planned with is what distinguishes the policies that ask.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.shared import callable_from_hooks

_STRETCHES = 64


@callable_from_hooks
def _surely_fits(passes: Any, stored: Any, size: int, capacity: int) -> bool:
    """A bound from above in O(n): time is cut into stretches, and in each everybody who is still there counts with what
    it would hold at the end of the stretch."""
    longest = 0
    for place in range(len(passes)):
        longest = max(longest, passes[place])
    width = longest // _STRETCHES + 1
    num = np.zeros(_STRETCHES, np.int64)
    blocks = np.zeros(_STRETCHES, np.int64)
    for place in range(len(passes)):
        last = (passes[place] - 1) // width
        num[last] += 1
        blocks[last] += (stored[place] + size - 1) // size
    num_here, blocks_here = 0, 0
    for stretch in range(_STRETCHES - 1, -1, -1):
        num_here += num[stretch]
        blocks_here += blocks[stretch]
        if blocks_here + num_here * ((width * (stretch + 1) + size - 1) // size) > capacity:
            return False
    return True


@callable_from_hooks
def _held_by(order: Any, number: int, stored: Any, size: int, passes: int) -> int:
    """Blocks of the first `number` of an order after `passes` passes."""
    blocks = 0
    for place in range(number):
        blocks += (stored[order[place]] + passes + size - 1) // size
    return blocks


@callable_from_hooks
def peak_fits(passes: Any, stored: Any, server: Any, capacity: int) -> bool:
    """Whether a plan never holds more than `capacity` blocks.

    `passes` int64[n]: until each has finished, 1 or more. `stored` int64[n]: what each will have computed before the
    pass being composed, its prompt included. O(n), or O(n log n) where memory is nearly full.
    """
    size = server.block_size
    if _surely_fits(passes, stored, size, capacity):
        return True
    order = np.argsort(-passes)
    whole = 0
    for place in range(len(order)):
        whole += stored[order[place]] // size
        number, at = place + 1, passes[order[place]]
        low = whole + number * (at // size)
        if low > capacity:
            return False
        if low + 2 * number > capacity and _held_by(order, number, stored, size, at) > capacity:
            return False
    return True
