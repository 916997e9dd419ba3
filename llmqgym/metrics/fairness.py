"""How evenly tenants are served: Jain's index of the speed they see, and the service gap of VTC (arXiv 2401.00588)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.kernel.tables import PS_PER_S

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: VTC's price of a token: of the prompt, of the answer.
PROMPT_COST, OUTPUT_COST = 1.0, 2.0
#: VTC looks at windows of two bins, a bin apart.
BIN_S = 30
#: Bins double in width beyond so many of them (7 days of 30 s), or so many over all tenants (32 MB).
MAX_BINS = 20_000
MAX_CELLS = 1 << 21
#: More tenants than these are not told apart: memory, and too few bins for each.
MAX_TENANTS = 10_000


class Fairness:
    """Jain's index and VTC's service gap over the tenants; None where there is one tenant only, or above MAX_TENANTS.

    `jain_index`: (sum x)^2 / (n sum x^2) with x the output tokens of a tenant's finished requests over the sum of their
    e2e times, the speed that it sees; tenants without a finished request count with 0. `vtc_service_gap_per_s`: at each
    window of 60 s sum_u min(max_v S_v - S_u, |D_u - S_u|) with S the service and D the demand of a tenant, in prompt
    tokens + 2 output tokens per second; its mean, maximum and variance over the windows after the first 30 s.
    """

    def __init__(self) -> None:
        self._row_of: dict[int, int] = {}  # of a tenant, in order of appearance
        self._speeds = _Speeds()
        self._service = _Service()

    def add(self, rows: NDArray[Any], left_ps: Ints) -> None:
        """Take in DEPARTURE[n], none rejected, and when each left: its finish, or the clock for the unfinished."""
        if len(self._row_of) > MAX_TENANTS or not len(rows):
            return
        who = self._numbered(rows["tenant"])
        if len(self._row_of) > MAX_TENANTS:
            self._speeds, self._service = _Speeds(), _Service()
            return
        self._speeds.add(rows, who, len(self._row_of))
        self._service.add(rows, who, len(self._row_of), left_ps)

    def figures(self, clock_ps: int) -> dict[str, Any]:
        """The two figures at the end of the run."""
        if not 2 <= len(self._row_of) <= MAX_TENANTS:
            return {"jain_index": None, "vtc_service_gap_per_s": None}
        return {
            "jain_index": jain_index(self._speeds.tokens_per_s()),
            "vtc_service_gap_per_s": self._service.gap(clock_ps),
        }

    def _numbered(self, tenants: Ints) -> Ints:
        """Tenants [n] as rows 0, 1, 2 ... of the tables."""
        if (tenants == tenants[0]).all():
            known, where = tenants[:1], np.zeros(len(tenants), np.int64)
        else:
            known, where = np.unique(tenants, return_inverse=True)
        rows = [self._row_of.setdefault(tenant, len(self._row_of)) for tenant in known.tolist()]
        return np.array(rows, np.int64)[where]


def jain_index(shares: Floats) -> float | None:
    """(sum x)^2 / (n sum x^2): 1 if all are equal, 1 / n if one has everything; None if nobody has anything.

    >>> jain_index(np.array([1.0, 1.0])), jain_index(np.array([1.0, 0.0]))
    (1.0, 0.5)
    """
    squares = float((shares**2).sum())
    return float(shares.sum()) ** 2 / (len(shares) * squares) if squares else None


class _Speeds:
    """Output tokens and e2e time of the finished requests, by tenant. Whole numbers; the times in two halves."""

    def __init__(self) -> None:
        self._sums: Ints = np.zeros((3, 0), np.int64)  # tokens, times >> 32, times & 0xFFFF_FFFF

    def add(self, rows: NDArray[Any], who: Ints, num: int) -> None:
        self._sums = np.pad(self._sums, ((0, 0), (0, num - self._sums.shape[1])))
        done = rows["finish_ps"] >= 0
        time_ps = (rows["finish_ps"] - rows["arrival_ps"])[done]
        for sums, values in zip(
            self._sums, (rows["output_tokens"][done], time_ps >> 32, time_ps & 0xFFFF_FFFF), strict=True
        ):
            # A sum of a block stays below 2^53, where float64 is exact.
            sums += np.bincount(who[done], values, num).astype(np.int64)

    def tokens_per_s(self) -> Floats:
        tokens, upper, lower = self._sums.astype(np.float64)
        spent_s = (upper * 2.0**32 + lower) / PS_PER_S
        speeds: Floats = np.divide(tokens, spent_s, out=np.zeros(len(tokens)), where=spent_s > 0)
        return speeds


class _Service:
    """Cost served and cost demanded, by tenant and bin of time; bins double in width to bound their number."""

    def __init__(self) -> None:
        self._width_ps = BIN_S * PS_PER_S
        self._served: Floats = np.zeros((0, 0))  # [tenants, bins], with room to spare
        self._wanted: Floats = np.zeros((0, 0))

    def add(self, rows: NDArray[Any], who: Ints, num: int, left_ps: Ints) -> None:
        self._make_room(num, int(left_ps.max()))
        cost = PROMPT_COST * rows["prompt_tokens"] + OUTPUT_COST * rows["output_tokens"]
        self._put(self._wanted, who, rows["arrival_ps"] // self._width_ps, cost)
        begun = rows["first_token_ps"] >= 0
        if not begun.all():
            rows, who, left_ps = rows[begun], who[begun], left_ps[begun]
        cost = PROMPT_COST * rows["prompt_tokens"] + OUTPUT_COST * rows["generated_tokens"]
        self._spread(who, rows["first_token_ps"], left_ps, cost)

    def gap(self, clock_ps: int) -> dict[str, float] | None:
        self._make_room(len(self._served), clock_ps)
        bins = clock_ps // self._width_ps + 1
        if bins < 3:
            return None
        best, gaps = np.zeros(bins - 2), np.zeros(bins - 2)
        for served in self._served:
            np.maximum(best, self._windows(served, bins), out=best)
        for served, wanted in zip(self._served, self._wanted, strict=True):
            service, demand = self._windows(served, bins), self._windows(wanted, bins)
            gaps += np.minimum(best - service, np.abs(demand - service))
        return {"mean": float(gaps.mean()), "max": float(gaps.max()), "var": float(gaps.var())}

    def _spread(self, who: Ints, start: Ints, end: Ints, cost: Floats) -> None:
        """Each cost is spread evenly from its first token to its end."""
        width = self._width_ps
        end = np.maximum(end, start + 1)
        rate = cost / (end - start)
        at = start // width
        while len(at):
            inside = np.minimum(end, (at + 1) * width) - np.maximum(start, at * width)
            self._put(self._served, who, at, rate * inside)
            on = end > (at + 1) * width
            at, start, end, rate, who = at[on] + 1, start[on], end[on], rate[on], who[on]

    @staticmethod
    def _put(table: Floats, who: Ints, at: Ints, cost: Floats) -> None:
        np.add.at(table.reshape(-1), who * table.shape[1] + at, cost)

    def _windows(self, costs: Floats, bins: int) -> Floats:
        """Cost per second in each window, of one tenant."""
        return (costs[1 : bins - 1] + costs[2:bins]) / (2 * self._width_ps / PS_PER_S)

    def _make_room(self, num: int, time_ps: int) -> None:
        """Room for `num` tenants up to `time_ps`, in wider bins if need be; sizes are powers of two, or the most."""
        tenants = _power_of_two(num)
        most = min(MAX_BINS, MAX_CELLS // tenants)
        while time_ps // self._width_ps >= most:
            self._width_ps *= 2
            self._served, self._wanted = _in_pairs(self._served), _in_pairs(self._wanted)
        bins = min(most, _power_of_two(max(self._served.shape[1], time_ps // self._width_ps + 1)))
        if (tenants, bins) != self._served.shape:
            self._served, self._wanted = (_widened(table, tenants, bins) for table in (self._served, self._wanted))


def _power_of_two(least: int) -> int:
    return 1 << (least - 1).bit_length()


def _in_pairs(table: Floats) -> Floats:
    """Bins [tenants, bins] twice as wide."""
    even = np.pad(table, ((0, 0), (0, table.shape[1] % 2)))
    return even[:, ::2] + even[:, 1::2]


def _widened(table: Floats, tenants: int, bins: int) -> Floats:
    wide = np.zeros((tenants, bins))
    wide[: table.shape[0], : min(bins, table.shape[1])] = table[:, :bins]
    return wide
