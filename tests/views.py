"""All that a run has to say, of the kernel and of its naive twin, so that they can be compared."""

from __future__ import annotations

from typing import Any

import naive

from llmqgym.kernel.tables import Status
from llmqgym.simulator import Simulator


def kernel_view(sim: Simulator) -> dict[str, Any]:
    """All that a run has to say: totals, and per request what has become of it."""
    totals = sim.totals()
    rows = sim.departures()
    per_request = {
        int(r["id"]): (
            Status(r["status"]).name.lower(),
            int(r["first_scheduled_ps"]),
            int(r["first_token_ps"]),
            int(r["finish_ps"]),
            int(r["generated_tokens"]),
            int(r["computed_tokens"]),
            r["num_preemptions"].tolist(),
            int(r["lost_tokens"]),
            int(r["swapped_blocks"]),
        )
        for r in rows
    }
    assert len(per_request) == len(rows)
    return {
        "outcome": totals.outcome,
        "clock": totals.clock_ps,
        "iterations": totals.num_iterations,
        "processed": totals.processed_tokens,
        "lost": totals.lost_tokens,
        "preemptions": list(totals.num_preemptions),
        "dropped": totals.num_held_dropped,
        "rejected": totals.num_rejected,
        "swapped": totals.swapped_blocks,
        "hits": (totals.prefix_cache_hits, totals.regained_tokens),
        "integrals": (totals.integral_requests, totals.integral_running, totals.integral_kv_blocks),
        "requests": per_request,
    }


def twin_view(sim: naive.Simulator) -> dict[str, Any]:
    """The same of the naive twin."""
    names = {"waiting": "unfinished", "running": "unfinished"}
    noticed = [r for r in sim.requests if r not in sim.coming]
    return {
        "outcome": sim.status,
        "clock": sim.clock,
        "iterations": sim.num_iterations,
        "processed": sim.processed_tokens,
        "lost": sim.lost_tokens,
        "preemptions": sim.preemptions,
        "dropped": sim.num_held_dropped,
        "rejected": sim.num_rejected,
        "swapped": sim.swapped_blocks,
        "hits": (getattr(sim, "hit_tokens", 0), getattr(sim, "regained_tokens", 0)),
        "integrals": (sim.integral_requests_ps, sim.integral_running_ps, sim.integral_blocks_ps),
        "requests": {
            r.id: (
                names.get(r.status, r.status),
                r.first_scheduled_ps,
                r.first_token_ps,
                r.finish_ps,
                r.generated_tokens,
                r.computed_tokens,
                r.num_preemptions,
                r.lost_tokens,
                r.swapped_blocks,
            )
            for r in noticed
        },
    }
