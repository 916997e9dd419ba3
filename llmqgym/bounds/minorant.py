"""Straight lines below the time of a pass as a function of its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from llmqgym.hardware.integers import IntegerProfile

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """A pass of N tokens, 1 <= N <= the budget, lasts at least `fixed` + `token` N ps before attention; both >= 0."""

    fixed: float
    token: float


def corners(profile: IntegerProfile, max_tokens: int, also: tuple[int, ...] = ()) -> tuple[Ints, Floats]:
    """Numbers of tokens [C] in 1 .. max_tokens, and g = base + table + token N in ps there [C].

    Between neighbours that are not first and last of a tile g is linear: it is so within a tile, and beyond the table
    the firsts of the tiles lie on one line, the lasts on another. So a function that is linear between the numbers in
    `also` and is at most g here is at most g everywhere.
    """
    tile, last = profile.tile, len(profile.table) - 1
    index = np.arange(1, min(last, -(-max_tokens // tile)) + 2)
    around = [N + step * tile for N in (*also, max_tokens) for step in (-1, 0, 1)]
    index = np.union1d(index, [-(-N // tile) for N in around if N >= 1])
    wanted = np.concatenate([tile * (index - 1) + 1, tile * index, [1, max_tokens, *also]])
    tokens = np.unique(wanted[(wanted >= 1) & (wanted <= max_tokens)]).astype(np.int64)
    return tokens, without_attention_ps(profile, tokens)


def without_attention_ps(profile: IntegerProfile, tokens: Ints) -> Floats:
    """g(N) = base + table(N) + token N in ps, for numbers of tokens [..]."""
    index, last = -(-tokens // profile.tile), len(profile.table) - 1
    table = np.array(profile.table, np.float64)[np.minimum(index, last)]
    beyond = np.maximum(index - last, 0).astype(np.float64) * profile.tail
    return np.asarray(profile.base + table + beyond + float(profile.token) * tokens)


def lines(profile: IntegerProfile, max_tokens: int) -> list[Line]:
    """The lines below g that matter: the edges of its lower convex hull with fixed and token >= 0, the level of its
    least value and the steepest line from the origin.

    Each is then lowered by what it exceeds g by at the corners, so that rounding cannot put it above.
    """
    tokens, time = corners(profile, max_tokens)
    hull: list[tuple[float, float]] = []
    for x, y in zip(tokens.tolist(), time.tolist(), strict=True):
        while len(hull) > 1 and _above(hull[-2], hull[-1], (x, y)):
            hull.pop()
        hull.append((x, y))
    found = [Line(float(time.min()), 0.0), Line(0.0, float((time / tokens).min()))]
    for (x0, y0), (x1, y1) in pairwise(hull):
        slope = (y1 - y0) / (x1 - x0)
        if slope >= 0 and y0 - slope * x0 >= 0:
            found.append(Line(y0 - slope * x0, slope))
    lowered = [Line(line.fixed - _excess(line, tokens, time), line.token) for line in found]
    return [line for line in lowered if line.fixed >= 0] or [Line(0.0, 0.0)]


def least_from(profile: IntegerProfile, max_tokens: int, wanted: Ints) -> Floats:
    """The least g(N) over wanted <= N <= max_tokens, for numbers [..] of tokens in 1 .. max_tokens."""
    tokens, time = corners(profile, max_tokens)
    from_there = np.minimum.accumulate(time[::-1])[::-1]
    after = np.searchsorted(tokens, wanted)
    # Within a tile g does not fall, so that the next corner's own value counts only through `wanted` itself.
    own = without_attention_ps(profile, wanted)
    return np.asarray(np.minimum(own, from_there[after]))


def _above(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    """Whether b lies on or above the chord from a to c."""
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])


def _excess(line: Line, tokens: Ints, time: Floats) -> float:
    return max(0.0, float((line.fixed + line.token * tokens - time).max()))
