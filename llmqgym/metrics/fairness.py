"""How evenly tenants are served: Jain's index of the speed they see, and the service gap of VTC (arXiv 2401.00588)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.kernel.tables import PS_PER_S, Status

Floats = NDArray[np.float64]

#: VTC's price of a token: of the prompt, of the answer.
PROMPT_COST, OUTPUT_COST = 1.0, 2.0
#: VTC looks at windows of two bins, a bin apart.
BIN_S = 30.0
_MAX_BINS = 20_000


def fairness(departures: NDArray[Any], clock_ps: int) -> dict[str, Any]:
    """Jain's index and VTC's service gap over the tenants of DEPARTURE[R]; None where there is one tenant only.

    `jain_index`: (sum x)^2 / (n sum x^2) with x the output tokens of a tenant's finished requests over the sum of their
    e2e times, the speed that it sees; tenants without a finished request count with 0. `vtc_service_gap_per_s`: at each
    window of 60 s sum_u min(max_v S_v - S_u, |D_u - S_u|) with S the service and D the demand of a tenant, in prompt
    tokens + 2 output tokens per second; its mean, maximum and variance over the windows after the first 30 s.
    """
    rows = departures[departures["status"] != Status.REJECTED]
    tenants, who = np.unique(rows["tenant"], return_inverse=True)
    if len(tenants) < 2:
        return {"jain_index": None, "vtc_service_gap_per_s": None}
    return {
        "jain_index": jain_index(_speeds(rows, who, len(tenants))),
        "vtc_service_gap_per_s": _service_gap(rows, who, len(tenants), clock_ps),
    }


def jain_index(shares: Floats) -> float | None:
    """(sum x)^2 / (n sum x^2): 1 if all are equal, 1 / n if one has everything; None if nobody has anything.

    >>> jain_index(np.array([1.0, 1.0])), jain_index(np.array([1.0, 0.0]))
    (1.0, 0.5)
    """
    squares = float((shares**2).sum())
    return float(shares.sum()) ** 2 / (len(shares) * squares) if squares else None


def _speeds(rows: NDArray[Any], who: NDArray[np.intp], num: int) -> Floats:
    done = rows["finish_ps"] >= 0
    time_s = (rows["finish_ps"] - rows["arrival_ps"])[done] / PS_PER_S
    tokens = np.bincount(who[done], rows["output_tokens"][done], num)
    spent = np.bincount(who[done], time_s, num)
    return np.divide(tokens, spent, out=np.zeros(num), where=spent > 0)


def _service_gap(rows: NDArray[Any], who: NDArray[np.intp], num: int, clock_ps: int) -> dict[str, float] | None:
    width_s = max(BIN_S, clock_ps / PS_PER_S / _MAX_BINS)
    bins = int(clock_ps / PS_PER_S / width_s) + 1
    if bins < 3:
        return None
    served = _spread(rows, who, num, clock_ps, width_s, bins)
    cost = PROMPT_COST * rows["prompt_tokens"] + OUTPUT_COST * rows["output_tokens"]
    arrival_bin = (rows["arrival_ps"] / PS_PER_S / width_s).astype(np.int64)
    wanted = np.bincount(who * bins + arrival_bin, cost, num * bins).reshape(num, bins)
    service, demand = ((x[:, 1:-1] + x[:, 2:]) / (2 * width_s) for x in (served, wanted))
    gaps = np.minimum(service.max(axis=0) - service, np.abs(demand - service)).sum(axis=0)
    return {"mean": float(gaps.mean()), "max": float(gaps.max()), "var": float(gaps.var())}


def _spread(rows: NDArray[Any], who: NDArray[np.intp], num: int, clock_ps: int, width_s: float, bins: int) -> Floats:
    """Cost served by tenant and bin, [num, bins]: each request's is spread evenly from its first token to its end."""
    begun = rows["first_token_ps"] >= 0
    rows, who = rows[begun], who[begun]
    start = rows["first_token_ps"] / PS_PER_S
    end = np.maximum(np.where(rows["finish_ps"] >= 0, rows["finish_ps"], clock_ps) / PS_PER_S, start + 1e-9)
    rate = (PROMPT_COST * rows["prompt_tokens"] + OUTPUT_COST * rows["generated_tokens"]) / (end - start)
    served = np.zeros(num * bins)
    at = (start / width_s).astype(np.int64)
    while len(at):
        inside = np.minimum(end, (at + 1) * width_s) - np.maximum(start, at * width_s)
        np.add.at(served, who * bins + np.minimum(at, bins - 1), rate * np.maximum(inside, 0.0))
        on = end > (at + 1) * width_s
        at, start, end, rate, who = at[on] + 1, start[on], end[on], rate[on], who[on]
    return served.reshape(num, bins)
