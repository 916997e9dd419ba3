"""Quadrature on a logarithmic scale: Gauss-Legendre on panels of ln x, which job sizes spread over."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import roots_legendre

Floats = NDArray[np.float64]

#: Nodes in a panel: exact for polynomials of ln x up to degree 15.
ORDER = 8
#: Fewest panels of a range, so that a narrow one is resolved as well as a wide one.
MIN_PANELS = 24
NODES, WEIGHTS = roots_legendre(ORDER)


def log_edges(low: float, high: float, width: float, breaks: Iterable[float] = ()) -> Floats:
    """Edges [n] of panels from `low` to `high`, equal in ln x and at most `width` wide, with an edge at each break.

    >>> log_edges(1.0, 8.0, 10.0, [2.0]).size > MIN_PANELS
    True
    """
    inside = sorted({low, high, *(point for point in breaks if low < point < high)})
    width = min(width, math.log(high / low) / MIN_PANELS)
    parts = [np.array([low])]
    for start, end in pairwise(inside):
        count = math.ceil(math.log(end / start) / width)
        parts.append(np.exp(np.linspace(math.log(start), math.log(end), count + 1))[1:])
    return np.concatenate(parts)


def log_nodes(edges: Floats) -> tuple[Floats, Floats]:
    """Nodes x and weights dx [8 (n - 1)] of the panels between edges [n]: the integral of f is (f(x) * dx).sum()."""
    u = np.log(edges)
    half = np.diff(u)[:, None] / 2
    x = np.exp((u[:-1, None] + half) + half * NODES)
    return x.ravel(), (half * WEIGHTS * x).ravel()
