"""Which requests count, and the figures of a run over them (docs/model.md, "Measures"; docs/leaderboard.md).

Of the counted requests the first tenth is warm-up and the rest is measured. A fifth more arrive behind them, so that
the measured ones meet a server as busy at the end as before; the run then goes on until all are done. The measured set
is by place in the workload, the same for every contestant. Requests that can never fit are rejected for everybody and
are in no mean; unfinished ones enter with their age at the end of the run, which makes every mean a lower bound.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.kernel.tables import DEPARTURE, PS_PER_S, Status
from llmqgym.metrics.alone import AloneTimes
from llmqgym.metrics.latencies import gap_s, latencies, met_limits_mask

Rows = NDArray[Any]
Floats = NDArray[np.float64]

#: Levels at which a run's distributions are kept, in percent.
LEVELS = (*(float(level) for level in range(100)), 99.5, 99.9, 100.0)
#: Names of the distributions that are kept.
DISTRIBUTIONS = ("e2e_s", "ttft_s", "tpot_s")


def total_of(num_counted: int) -> int:
    """How many requests a run has.

    >>> total_of(10_000)
    12000
    """
    return num_counted + math.ceil(num_counted / 5)


def counted_of(num_requests: int) -> int:
    """The largest number of counted requests that a run of so many can have.

    >>> counted_of(12_000), counted_of(11_999)
    (10000, 9999)
    """
    num = num_requests * 5 // 6
    return num if total_of(num) <= num_requests else num - 1


def measured_rows(num_counted: int) -> slice:
    """The measured requests, as places in the workload.

    >>> measured_rows(10_000)
    slice(1000, 10000, None)
    """
    return slice(math.ceil(num_counted / 10), num_counted)


def figures(departures: Rows, num_counted: int, clock_ps: int, alone: AloneTimes) -> dict[str, Any]:
    """Counts, metrics and distributions over the measured set, from DEPARTURE[R] of a whole run, in any order.

    `clock_ps` is the end of the run. Throughputs are over the time from the first measured arrival until the last
    measured request has left (or the end).
    """
    table = departures[np.argsort(departures["id"], kind="stable")]
    rows = table[measured_rows(num_counted)]
    served = rows[rows["status"] != Status.REJECTED]
    finished_mask = served["status"] == Status.FINISHED
    end_ps = np.where(finished_mask, served["finish_ps"], clock_ps)
    first_ps = np.where(served["first_token_ps"] >= 0, served["first_token_ps"], clock_ps)
    arrival_ps = served["arrival_ps"]
    e2e_s, ttft_s = gap_s(arrival_ps, end_ps), gap_s(arrival_ps, first_ps)
    tpot_s = latencies(served).tpot_s
    values = {"e2e_s": e2e_s, "ttft_s": ttft_s, "tpot_s": tpot_s[~np.isnan(tpot_s)]}
    slowdown = e2e_s / alone.seconds(served["prompt_tokens"], served["output_tokens"])
    num_finished = int(np.count_nonzero(finished_mask))
    met = int(np.count_nonzero(met_limits_mask(served[finished_mask])))
    span_s = float(end_ps.max(initial=0) - arrival_ps.min(initial=clock_ps)) / PS_PER_S
    return {
        "num_measured": len(served),
        "num_finished": num_finished,
        "num_unfinished": len(served) - num_finished,
        "num_rejected": len(rows) - len(served),
        "num_late": int(np.count_nonzero(end_ps > table["arrival_ps"].max(initial=0))),
        "metrics": {
            **{f"{part}_{name}": figure for name in values for part, figure in _parts(values[name]).items()},
            "mean_slowdown": _mean(slowdown),
            "p99_slowdown": _percentile(slowdown, 99),
            "requests_per_s": num_finished / span_s if span_s > 0 else None,
            "goodput_requests_per_s": met / span_s if span_s > 0 else None,
        },
        "quantiles": {name: np.percentile(of, LEVELS).tolist() if len(of) else None for name, of in values.items()},
    }


def digest(departures: Rows) -> str:
    """SHA-256 of DEPARTURE[R], field by field in order of id: two runs with the same one are the same run."""
    table = departures[np.argsort(departures["id"], kind="stable")]
    made = hashlib.sha256()
    for name in DEPARTURE.names or ():
        made.update(np.ascontiguousarray(table[name]).tobytes())
    return made.hexdigest()


def _parts(values: Floats) -> dict[str, float | None]:
    return {"mean": _mean(values), **{f"p{level}": _percentile(values, level) for level in (50, 90, 99)}}


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None


def _percentile(values: Floats, level: float) -> float | None:
    return float(np.percentile(values, level)) if len(values) else None
