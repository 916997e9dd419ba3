"""The decision log: triples (what, a, b) of int64, drained and put into words by the border.

An iteration ends with QUEUES. Its ITERATION triple is written when the pass begins: preemptions come before it, and
those of a composition that scheduled nothing belong to the pass that follows.
"""

from __future__ import annotations

from typing import Any

from llmqgym.kernel.jit import helper
from llmqgym.kernel.memory import poke

ITERATION = 0  # number, start in ps
PREEMPTED = 1  # id, mode
SCHEDULED = 2  # id, tokens: a pass that yields a token
SCHEDULED_PART = 3  # id, tokens: a chunk of a prefill that is not the last
FREE_BEFORE = 4  # blocks free during the pass
FINISHED = 5  # id
FREE_AFTER = 6  # blocks free after those who finished have left
QUEUES = 7  # running, waiting
HIT = 8  # id, tokens found in the cache at its admission


@helper
def write(sim: Any, what: int, a: int, b: int) -> None:
    """Append a triple; the loop has made sure that an iteration's worth of room is left."""
    place = sim.log_length
    poke(sim.log, place, what)
    poke(sim.log, place + 1, a)
    poke(sim.log, place + 2, b)
    sim.log_length = place + 3
