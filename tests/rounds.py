"""Small runs and single moments that a reader can check with a pencil.

Every iteration takes one second. Requests are called A, B, C ... in order of arrival.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel import log, tables
from llmqgym.kernel.memory import address_of
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests

PS = tables.PS_PER_S
NAMES = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def run(policy: str, requests: dict[str, Any], **server: Any) -> Simulator:
    """A run in rounds, with a log. Blocks hold one token, and nothing is short, unless `server` says otherwise."""
    config = ServerConfig(**{"num_kv_blocks": 10**6, "block_size": 1, **server})
    profile = load_profile("iterations").to_integers(config.block_size)
    sim = Simulator(config, profile, make_policy(policy), log=True, until_ps=10**6 * PS)
    sim.run(iter([make_requests(**requests)]))
    return sim


def batches(sim: Simulator) -> list[str]:
    """Who gets tokens in each iteration, by name."""
    found: list[str] = []
    for what, request, _ in sim.log_triples().tolist():
        if what == log.ITERATION:
            found.append("")
        elif what in (log.SCHEDULED, log.SCHEDULED_PART):
            found[-1] += NAMES[request]
    return ["".join(sorted(batch)) for batch in found]


def finishes(sim: Simulator) -> list[int]:
    """When each request is done, in seconds."""
    return [int(each) for each in np.sort(sim.departures(), order="id")["finish_ps"] // PS]


class Scene:
    """One moment at a server, for hooks called as plain Python: rows of requests, of which some run."""

    def __init__(self, requests: list[dict[str, Any]], running: int = 0, **server: Any) -> None:
        self.rows = np.zeros(max(len(requests), 1), tables.REQUEST)
        self._queue = np.zeros(max(len(requests), 1), tables.ENTRY)
        self._server = np.zeros(1, tables.SERVER)
        unknown = {"true_output_tokens": -1, "ttft_limit_ps": -1, "tpot_limit_ps": -1, "prefix_group": -1}
        for place, given in enumerate(requests):
            fields = {**unknown, "id": place, "next": place + 1 if place + 1 < running else -1, **given}
            for name, value in fields.items():
                self.rows[place][name] = value
        for place in range(running, len(requests)):
            self._queue[place - running]["row"] = place
        number = len(requests) - running
        fields = {"requests": address_of(self.rows), "waiting": address_of(self._queue), "num_queued": number}
        fields |= {"first_running": 0 if running else -1, "last_running": running - 1, "num_running": running}
        for name, value in {**fields, "num_waiting": number, "block_size": 1, "max_running": 256, **server}.items():
            if name == "params":
                self._server[0][name][: len(value)] = value
            else:
                self._server[0][name] = value

    @property
    def server(self) -> Any:
        """The SERVER record."""
        return self._server[0]
