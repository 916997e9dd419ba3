"""Unit rounds on the simulator: an iteration takes a unit of time, blocks hold one token, only memory is short.

The model of MC-SF (arXiv 2502.07115), of flow control (arXiv 2604.11001) and of the eviction cycle (arXiv 2606.15555).
Their request (s, o) is ours of s + 1 prompt tokens and o output tokens; started at t it is done at t + o.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests

#: (arrival, s, o) in the words of the papers.
Triples = Sequence[tuple[int, int, int]]


def simulator(memory: int, policy: str, **how: Any) -> Simulator:
    """A server with memory of so many tokens, and no other limit; `how` goes to the Simulator."""
    server = ServerConfig(num_kv_blocks=memory, block_size=1, max_running=2**40, max_batched_tokens=2**40)
    return Simulator(server, load_profile("iterations").to_integers(1), make_policy(policy), **how)


def requests_of(triples: Triples, **columns: Any) -> NDArray[np.void]:
    """The requests; predictions are perfect."""
    arrival, s, o = np.array(triples, np.int64).T
    return make_requests(
        arrival_ps=arrival * PS_PER_S,
        prompt_tokens=s + 1,
        output_tokens=o,
        predicted_output_tokens=o.astype(float),
        **columns,
    )


def completions(memory: int, policy: str, triples: Triples) -> list[int]:
    """Rounds at the ends of which the requests are done. Raises RuntimeError if somebody was preempted on the way."""
    sim = simulator(memory, policy)
    sim.run(iter([requests_of(triples)]))
    rows = np.sort(sim.departures(), order="id")
    if rows["num_preemptions"].sum():
        raise RuntimeError(f"{policy} has preempted a request, and looking ahead it never must")
    return [int(each) for each in rows["finish_ps"] // PS_PER_S]
