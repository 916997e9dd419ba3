"""Whether the queue grew without bound: a verdict from the number of requests in the system while requests arrived."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.kernel.tables import Status

#: Fewer arrivals than these say nothing.
MIN_ARRIVALS = 1000
#: Growing, if of the arrivals between the middle of the second and of the last quarter a larger share stayed.
MAX_SHARE_STAYING = 0.015
_SAMPLES_A_QUARTER = 200


def stability(departures: NDArray[Any], clock_ps: int) -> str:
    """'growing', 'stable' or 'undecided' from DEPARTURE[R] and the clock at the end.

    The mean number in the system is taken in the second, third and last quarter of the time between the first and the
    last arrival. It grows if it rises from quarter to quarter, by more than 1.5 % of the arrivals in between: at a load
    of 1.05 nearly 5 % stay. Rejected requests were never there.
    """
    rows = departures[departures["status"] != Status.REJECTED]
    if len(rows) < MIN_ARRIVALS:
        return "undecided"
    arrivals = np.sort(rows["arrival_ps"])
    leaves = np.sort(np.where(rows["finish_ps"] >= 0, rows["finish_ps"], clock_ps))
    times = np.linspace(arrivals[0], arrivals[-1], 4 * _SAMPLES_A_QUARTER)
    here = np.searchsorted(arrivals, times, "right") - np.searchsorted(leaves, times, "right")
    second, third, last = here.reshape(4, -1)[1:].mean(axis=1)
    grew = second < third < last and last - second > MAX_SHARE_STAYING * len(rows) / 2
    return "growing" if grew else "stable"
