"""What an episode came to: the figures that the last step of it puts into `info`."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmqgym.kernel.tables import PS_PER_S, Outcome, Status
from llmqgym.simulator import Simulator


def episode_metrics(simulator: Simulator, outcome: Outcome, num_requests: int) -> dict[str, Any]:
    """Figures of an episode, in seconds: latencies over the finished requests, nan where there are none.

    Those that have not finished count as `num_unfinished` or, if they never came, `num_not_arrived`, and their time in
    the system so far is in `time_in_system_s`, as it is in the return of the term latency.
    """
    record = simulator.record
    rows = simulator.departed()
    done_mask = rows["status"] == int(Status.FINISHED)
    arrival_ps, first_token_ps, finish_ps = (
        rows[name][done_mask] for name in ("arrival_ps", "first_token_ps", "finish_ps")
    )
    e2e_s, ttft_s = (finish_ps - arrival_ps) / PS_PER_S, (first_token_ps - arrival_ps) / PS_PER_S
    totals = simulator.totals()
    lost, processed = totals.lost_tokens, totals.processed_tokens
    clock_s = totals.clock_ps / PS_PER_S
    return {
        "outcome": outcome.name.lower(),
        "duration_s": clock_s,
        "num_finished": len(e2e_s),
        "num_rejected": totals.num_rejected,
        "num_unfinished": int(record["num_running"] + record["num_waiting"]),
        "num_not_arrived": num_requests - int(record["next_id"]),
        "mean_e2e_s": _mean(e2e_s),
        "p99_e2e_s": _p99(e2e_s),
        "mean_ttft_s": _mean(ttft_s),
        "p99_ttft_s": _p99(ttft_s),
        "time_in_system_s": totals.integral_requests / PS_PER_S,
        "requests_per_s": len(e2e_s) / clock_s if clock_s > 0 else float("nan"),
        "num_preemptions": sum(totals.num_preemptions),
        "wasted_token_ratio": lost / processed if processed else 0.0,
        "num_iterations": totals.num_iterations,
    }


def _mean(values: Any) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _p99(values: Any) -> float:
    """numpy's default percentile, by a partial sort."""
    if not len(values):
        return float("nan")
    at = 0.99 * (len(values) - 1)
    low = int(at)
    high = min(low + 1, len(values) - 1)
    parted = np.partition(values, (low, high))
    return float(parted[low] + (at - low) * (parted[high] - parted[low]))
