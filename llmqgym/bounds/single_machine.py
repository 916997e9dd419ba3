"""One machine of speed 1 that may preempt: the two relaxations that pooling leads to, both O(n log n).

Times may be whole numbers or floats; with whole numbers the clock is exact, however long it runs.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64] | NDArray[np.float64]


def least_total_response(release: Times, work: Times) -> float:
    """The least sum of response times of jobs [n] with release dates (sorted) and work: that of SRPT.

    Preemptive shortest-remaining-first minimises the number of jobs in the system at every instant (Schrage 1968).

    >>> least_total_response(np.array([0.0, 1.0]), np.array([3.0, 1.0]))
    5.0
    """
    releases, works = release.tolist(), work.tolist()
    queue: list[tuple[float, float]] = []  # (remaining work, release)
    total: Any = 0
    clock: Any = 0
    coming, num = 0, len(releases)
    while coming < num or queue:
        if not queue:
            clock = max(clock, releases[coming])
        while coming < num and releases[coming] <= clock:
            heappush(queue, (works[coming], releases[coming]))
            coming += 1
        remaining, released = heappop(queue)
        following = releases[coming] if coming < num else float("inf")
        if clock + remaining <= following:
            clock += remaining
            total += clock - released
        else:
            heappush(queue, (remaining - (following - clock), released))
            clock = following
    return float(total)


def least_total_mean_busy_wait(release: Times, work: Times) -> float:
    """The least sum over jobs [n] of (mean busy time - release): that of preemptive smallest work first.

    The mean busy time of a job is the mean, over its work, of the instant at which that work is done. Their sum weighs
    an instant of job i by 1 / work_i, so that by exchange the densest job there is goes first (Goemans 1997). Jobs of
    no work count 0. `release` is sorted.

    >>> least_total_mean_busy_wait(np.array([0.0, 0.0]), np.array([1.0, 3.0]))
    3.0
    """
    releases, works = release.tolist(), work.tolist()
    queue: list[tuple[float, int]] = []  # (work, job)
    remaining = list(works)
    busy: float = 0.0
    clock: Any = 0
    coming, num = 0, len(releases)
    while coming < num or queue:
        if not queue:
            clock = max(clock, releases[coming])
        while coming < num and releases[coming] <= clock:
            if works[coming] > 0:
                heappush(queue, (works[coming], coming))
            coming += 1
        if not queue:
            continue
        size, job = queue[0]
        following = releases[coming] if coming < num else float("inf")
        piece = min(remaining[job], following - clock)
        busy += (clock - releases[job] + 0.5 * piece) * piece / size
        if clock + remaining[job] <= following:
            heappop(queue)
            clock += remaining[job]
        else:
            remaining[job] -= piece
            clock = following
    return busy
