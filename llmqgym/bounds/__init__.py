"""Hindsight optima and certified lower bounds: what no schedule, however clever, can beat.

`server` bounds the mean latencies of a workload on the simulated server, from the bounds of `alone`, `pooled` and
`crowding`; `unit_rounds` does so in the unit-round model of the theory papers, where `unit_optimum` solves small
instances exactly, by search (`unit_search`), and `unit_program` by the integer program.
"""

from llmqgym.bounds.hits import Hits, ideal_hits
from llmqgym.bounds.server import LatencyBounds, latency_bounds
from llmqgym.bounds.unit_optimum import optimum
from llmqgym.bounds.unit_program import program_optimum, relaxation
from llmqgym.bounds.unit_rounds import Optimum, UnitRounds

__all__ = [
    "Hits", "LatencyBounds", "Optimum", "UnitRounds", "ideal_hits", "latency_bounds", "optimum", "program_optimum",
    "relaxation",
]  # fmt: skip
