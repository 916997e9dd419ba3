"""Hindsight optima and certified lower bounds: what no schedule, however clever, can beat.

`server` bounds the mean latencies of a workload on the simulated server, from the bounds of `alone`, `pooled` and
`crowding`; `unit_rounds` and `unit_optimum` do so in the unit-round model of the theory papers, where small instances
are solved exactly.
"""

from llmqgym.bounds.server import LatencyBounds, latency_bounds
from llmqgym.bounds.unit_optimum import Optimum, optimum, relaxation
from llmqgym.bounds.unit_rounds import UnitRounds

__all__ = ["LatencyBounds", "Optimum", "UnitRounds", "latency_bounds", "optimum", "relaxation"]
