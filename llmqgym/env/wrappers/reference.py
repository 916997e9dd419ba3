"""What a reference policy pays on the requests of an episode, up to any time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.env.episodes import Episode
from llmqgym.env.servers import Servers
from llmqgym.kernel.tables import PS_PER_S, Status
from llmqgym.policy import Policy
from llmqgym.simulator import Simulator

_NEVER_PS = np.iinfo(np.int64).max


class Reference:
    """Integrals of the requests in the system, of one policy's schedules for the episodes of N servers.

    `begin` runs the policy once, compiled, to the end of its schedule. The number in the system changes at arrivals
    and departures only, so that the integral is known exactly at every time, up to float64.
    """

    def __init__(self, servers: Servers, policy: Policy) -> None:
        self._servers, self._policy = servers, policy
        self._simulator: Simulator | None = None
        num, events = len(servers), 2 * servers.config.num_requests + 2
        self._rows = np.arange(num)
        self._at = np.zeros(num, np.int64)  # the last event that is not later than the clock
        self._times_ps = np.full((num, events), _NEVER_PS, np.int64)
        self._number = np.zeros((num, events), np.int64)  # in the system from that event on
        self._costs = np.zeros((num, events))  # integral up to it, requests x seconds
        self.totals = np.zeros(num)  # of whole schedules

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"_simulator": None}  # its records hold addresses

    def state(self) -> dict[str, Any]:
        """The schedules at hand and how far they have been followed, copied: for `restore`."""
        there = self._times_ps != _NEVER_PS
        return {
            "at": self._at.copy(),
            "events": there.sum(axis=1),
            "times_ps": self._times_ps[there],
            "number": self._number[there],
            "costs": self._costs[there],
            "totals": self.totals.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the `state` of a reference of as many servers of the same settings."""
        there = np.arange(self._times_ps.shape[1]) < state["events"][:, None]
        self._times_ps[:] = _NEVER_PS
        self._times_ps[there], self._number[there] = state["times_ps"], state["number"]
        self._costs[there] = state["costs"]
        self._at[:], self.totals[:] = state["at"], state["totals"]

    def begin(self, place: int, episode: Episode) -> None:
        """A new episode on one server: what the policy makes of it."""
        simulator = self._run(episode)
        departures = simulator.departures()
        served = departures[departures["status"] != Status.REJECTED]
        finish_ps = served["finish_ps"][served["status"] == Status.FINISHED]
        times_ps = np.concatenate([[0], served["arrival_ps"], finish_ps])
        changes = np.concatenate([[0], np.ones(len(served), np.int64), np.full(len(finish_ps), -1)])
        order, events = np.argsort(times_ps, kind="stable"), len(times_ps)
        times_ps, number = times_ps[order], np.cumsum(changes[order])
        self._times_ps[place, :events], self._times_ps[place, events:] = times_ps, _NEVER_PS
        self._number[place, :events] = number
        self._costs[place, 0] = 0.0
        self._costs[place, 1:events] = np.cumsum(number[:-1] * (np.diff(times_ps) / PS_PER_S))
        self._at[place] = 0
        self.totals[place] = simulator.totals().integral_requests / PS_PER_S

    def _run(self, episode: Episode) -> Simulator:
        """A server on which the policy has served an episode."""
        if self._simulator is None:
            config, episodes = self._servers.config, self._servers.episodes
            self._simulator = Simulator(
                replace(config.scenario.server, num_kv_blocks=None),
                episodes.first_profile,
                self._policy,
                looks=episodes.looks,
                hashes=episodes.hashes,
            )
        self._simulator.restart(episode.profile, episode.looks_seed)
        self._simulator.run(iter([episode.requests]))
        return self._simulator

    def until(self, clock_ps: NDArray[np.int64]) -> NDArray[np.float64]:
        """The integrals up to the clocks [N], which never go back within an episode; requests x seconds."""
        while True:
            behind = self._times_ps[self._rows, self._at + 1] <= clock_ps
            if not behind.any():
                break
            self._at += behind
        since_s = (clock_ps - self._times_ps[self._rows, self._at]) / PS_PER_S
        costs: NDArray[np.float64] = self._costs[self._rows, self._at] + self._number[self._rows, self._at] * since_s
        return costs
