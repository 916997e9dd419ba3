"""Whether the queue grew without bound: a verdict from the number of requests in the system while requests arrived."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

#: Fewer arrivals than these say nothing.
MIN_ARRIVALS = 1000
#: Growing, if of the arrivals between the middle of the second and of the last quarter a larger share stayed.
MAX_SHARE_STAYING = 0.015
_SAMPLES_A_QUARTER = 200
#: Bins of time in which arrivals and leaves are counted (128 KB); from half of them on are in use.
_MAX_BINS = 1 << 14


class Stability:
    """The verdict, from arrivals and leaves counted in bins of time that double in width to bound their number.

    The mean number in the system is taken in the second, third and last quarter of the time between the first and the
    last arrival, from samples at the ends of bins. It grows if it rises from quarter to quarter, by more than 1.5 % of
    the arrivals in between: at a load of 1.05 nearly 5 % stay. Rejected requests were never there.
    """

    def __init__(self) -> None:
        self._num = 0
        self._first_ps, self._last_ps = 2**63 - 1, -1  # arrivals
        self._end_ps = -1
        self._shift = 0  # a bin is 2^shift ps wide
        self._first_bin = 0
        self._net: Ints = np.zeros(_MAX_BINS, np.int64)  # arrivals less leaves, by bin from the first on

    def add(self, rows: NDArray[Any], left_ps: Ints) -> None:
        """Take in DEPARTURE[n], none rejected, and when each left: its finish, or the clock for the unfinished."""
        if not len(rows):
            return
        arrivals = rows["arrival_ps"]
        self._make_room(int(arrivals.min()), max(self._end_ps, int(left_ps.max())))
        self._num += len(rows)
        self._last_ps = max(self._last_ps, int(arrivals.max()))
        self._net += self._counts(arrivals) - self._counts(left_ps)

    def verdict(self) -> str:
        """'growing', 'stable' or 'undecided'."""
        if self._num < MIN_ARRIVALS:
            return "undecided"
        samples = np.linspace(0, self._last_ps - self._first_ps, 4 * _SAMPLES_A_QUARTER)
        times = self._first_ps + samples.astype(np.int64)
        here = np.cumsum(self._net)[(times >> self._shift) - self._first_bin]
        second, third, last = here.reshape(4, -1)[1:].mean(axis=1)
        grew = second < third < last and last - second > MAX_SHARE_STAYING * self._num / 2
        return "growing" if grew else "stable"

    def _counts(self, times_ps: Ints) -> Ints:
        return np.bincount((times_ps >> self._shift) - self._first_bin, minlength=_MAX_BINS)

    def _make_room(self, first_ps: int, end_ps: int) -> None:
        """Let the bins reach from `first_ps` or an earlier first arrival to `end_ps`, no narrower than they are."""
        first_ps, before = min(first_ps, self._first_ps), (self._shift, self._first_bin)
        while (end_ps >> self._shift) - (first_ps >> self._shift) >= _MAX_BINS:
            self._shift += 1
        self._first_ps, self._end_ps, self._first_bin = first_ps, end_ps, first_ps >> self._shift
        if before != (self._shift, self._first_bin):
            old = before[1] + np.flatnonzero(self._net)
            net = np.zeros(_MAX_BINS, np.int64)
            np.add.at(net, (old >> (self._shift - before[0])) - self._first_bin, self._net[old - before[1]])
            self._net = net
