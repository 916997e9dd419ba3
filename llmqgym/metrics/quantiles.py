"""Sample: exact quantiles of any number of values in constant memory; what does not fit is kept on disk, sorted."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from llmqgym.metrics.scratch import Scratch

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

QUANTILES = {"p50": 50, "p90": 90, "p95": 95, "p99": 99}
#: Values held in memory (1 MB); a run of requests no larger never touches the disk.
RUN_VALUES = 1 << 17
#: Into how many parts a pass over the disk cuts the interval that holds a quantile.
_PARTS = 256


class Sample:
    """Non-negative values, added in pieces; nan is counted in `num_nan` and is no value.

    Every `run_values` of them are sorted and go to disk as a run, 8 bytes a value. An order statistic is then found
    exactly: the bit patterns of non-negative floats are in the order of their values, so that an interval of integers
    is cut down, some 7 passes over the runs, until it holds one. No figure depends on how the values were cut up.
    """

    def __init__(self, run_values: int = RUN_VALUES) -> None:
        self.num_values = 0
        self.num_nan = 0
        self._run: Floats = np.empty(run_values, np.float64)
        self._filled = 0
        self._num_runs = 0
        self._sums: list[float] = []
        self._largest = 0.0
        self._disk: Scratch | None = None

    def add(self, values: Floats) -> None:
        """Take in `values` [n]. Raises ValueError for a negative one, OutputError if the disk is full."""
        known = values[~np.isnan(values)] + 0.0  # which makes -0.0 the 0.0 that it equals
        self.num_nan += len(values) - len(known)
        if len(known) and known.min() < 0:
            raise ValueError(f"a sample is of values from 0 on, not {known.min()}.")
        self.num_values += len(known)
        while len(known):
            if self._filled == len(self._run):
                self._put_away()
            room = len(self._run) - self._filled
            piece, known = known[:room], known[room:]
            self._run[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)

    def mean(self) -> float:
        """Sum over number; the sum is rounded once a run."""
        return math.fsum([*self._sums, float(self._run[: self._filled].sum())]) / self.num_values

    def max(self) -> float:
        return max(self._largest, float(self._run[: self._filled].max()))

    def percentiles(self, percents: list[float]) -> Floats:
        """Those of all values by linear interpolation, the very numbers of np.percentile."""
        if self._disk is None:
            return np.percentile(self._run[: self._filled], percents)
        places = (self.num_values - 1) * np.true_divide(percents, 100)
        below = np.minimum(np.floor(places).astype(np.int64), self.num_values - 2)
        pairs = self._order_statistics(np.concatenate([below, below + 1]), self._disk).reshape(2, -1).T
        parts = places - below
        return np.array([np.quantile(pair, part) for pair, part in zip(pairs, parts, strict=True)])

    def _put_away(self) -> None:
        """The full run goes to disk."""
        if self._disk is None:
            self._disk = Scratch(np.dtype(np.int64))
        self._sums.append(float(self._run.sum()))
        self._largest = self.max()
        self._disk.write(self._num_runs * len(self._run), np.sort(self._run).view(np.int64))
        self._num_runs += 1
        self._filled = 0

    def _order_statistics(self, ranks: Ints, disk: Scratch) -> Floats:
        """The values that have `ranks` [k] smaller ones or equals before them."""
        low = np.zeros(len(ranks), np.int64)
        high = np.full(len(ranks), np.float64(self.max()).view(np.int64))
        which = np.arange(len(ranks))
        while (low < high).any():
            step = (high - low) // _PARTS + 1
            last = low[:, None] + step[:, None] * np.arange(1, _PARTS + 1) - 1
            part = (self._num_up_to(last, disk) <= ranks[:, None]).sum(axis=1)
            low, high = last[which, part] - step + 1, np.minimum(last[which, part], high)
        return low.view(np.float64)

    def _num_up_to(self, bounds: Ints, disk: Scratch) -> Ints:
        """How many values are at most `bounds` [k, m], as bit patterns."""
        size = len(self._run)
        counts = np.searchsorted(np.sort(self._run[: self._filled]).view(np.int64), bounds, "right")
        for number in range(self._num_runs):
            counts += np.searchsorted(disk.read(number * size, size), bounds, "right")
        return counts


def distribution(sample: Sample) -> dict[str, float | None]:
    """Mean, quantiles (linear interpolation) and maximum of the values; None if there are none.

    >>> sample = Sample()
    >>> sample.add(np.array([1.0, 3.0, np.nan]))
    >>> distribution(sample)["mean"]
    2.0
    """
    if not sample.num_values:
        return dict.fromkeys(("mean", *QUANTILES, "max"))
    quantiles = sample.percentiles(list(QUANTILES.values()))
    named = {name: float(value) for name, value in zip(QUANTILES, quantiles, strict=True)}
    return {"mean": sample.mean(), **named, "max": sample.max()}
