"""Totals: what a run has counted and integrated, read from the simulator's record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmqgym.kernel.integrals import whole


@dataclass(frozen=True)
class Totals:
    """Counters and exact integrals of a run; times in ps, integrals in (requests or blocks) x ps."""

    outcome: str
    clock_ps: int
    num_iterations: int
    num_events: int
    num_finished: int
    num_rejected: int
    processed_tokens: int
    lost_tokens: int
    num_preemptions: tuple[int, int, int, int]  # recompute, restart, swap, hold
    num_held_dropped: int
    swapped_blocks: int
    prefix_cache_queries: int
    prefix_cache_hits: int
    regained_tokens: int
    num_kv_blocks: int
    integral_requests: int
    integral_running: int
    integral_kv_blocks: int

    @classmethod
    def of(cls, sim: Any, outcome: str) -> Totals:
        """From a SIMULATOR record, so far. By items: attributes of a record take numpy ten times as long."""
        return cls(
            outcome=outcome,
            clock_ps=int(sim["clock_ps"]),
            num_iterations=int(sim["num_iterations"]),
            num_events=int(sim["num_events"]),
            num_finished=int(sim["num_finished"]),
            num_rejected=int(sim["num_rejected"]),
            processed_tokens=int(sim["processed_tokens"]),
            lost_tokens=int(sim["lost_tokens"]),
            num_preemptions=tuple(int(n) for n in sim["num_preemptions"]),  # type: ignore[arg-type]
            num_held_dropped=int(sim["num_held_dropped"]),
            swapped_blocks=int(sim["swapped_blocks"]),
            prefix_cache_queries=int(sim["prefix_cache_queries"]),
            prefix_cache_hits=int(sim["prefix_cache_hits"]),
            regained_tokens=int(sim["regained_tokens"]),
            num_kv_blocks=int(sim["num_kv_blocks"]),
            integral_requests=whole(sim["integral_requests"]),
            integral_running=whole(sim["integral_running"]),
            integral_kv_blocks=whole(sim["integral_kv_blocks"]),
        )
