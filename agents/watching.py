"""What an agent meets and does at a server: decisions to be looked into afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.layout import Layout
from agents.trained_agent import TrainedAgent
from llmqgym.env import LLMServerVectorEnv
from llmqgym.env.play import SHOWN
from llmqgym.kernel.observe import REQUEST_FIELDS, SERVER_FIELDS
from llmqgym.scenario import ScenarioConfig

_SERVERS, _REQUESTS = 4, 500
_MOST_STEPS = 6_000
_SCALES = {each.name: each.scale for each in (*REQUEST_FIELDS, *SERVER_FIELDS)}

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Watched:
    """Decisions: observations float32 [N, D], masks int8 [N, A], and the commands int64 [N]."""

    layout: Layout
    observations: NDArray[np.float32]
    masks: NDArray[np.int8]
    actions: NDArray[np.int64]
    block_size: int
    num_kv_blocks: int

    @cached_property
    def admissible(self) -> NDArray[np.bool_]:
        """Who could enter, bool [N, K]."""
        return self.masks[:, 1 : 1 + self.layout.window] != 0

    @cached_property
    def removable(self) -> NDArray[np.bool_]:
        """Who could be preempted, bool [N, B]."""
        return self.masks[:, 1 + self.layout.window :] != 0

    def waiting(self, field: str) -> Floats:
        """A field of the waiting requests in its unit, [N, K]; nan where there is none."""
        return amounts(self._rows("waiting")[..., self.layout.waiting_fields.index(field)], field)

    def running(self, field: str) -> Floats:
        """The same of the running ones, [N, B]."""
        return amounts(self._rows("running")[..., self.layout.running_fields.index(field)], field)

    def server(self, field: str) -> Floats:
        """A field of the server in its unit, [N]."""
        return amounts(self.observations[:, self.layout.server_fields.index(field)], field)

    def _rows(self, part: str) -> NDArray[np.float32]:
        layout, num = self.layout, len(self.observations)
        if part == "waiting":
            rows = self.observations[:, layout.num_server : layout.first_running]
            return rows.reshape(num, layout.window, len(layout.waiting_fields))
        return self.observations[:, layout.first_running :].reshape(num, layout.running, len(layout.running_fields))


def amounts(shown: NDArray[Any], field: str) -> Floats:
    """What a field's numbers stand for: x / (|x| + scale) undone. -1, absent, is nan, but for what may be below 0."""
    scale, shown = _SCALES[field], np.asarray(shown, np.float64)
    if scale is None:
        return np.where(shown < 0, np.nan, shown)
    inside = np.where(abs(shown) < 1.0, shown, np.nan)
    return scale * inside / (1.0 - abs(inside))


def shown_as(values: Any, field: str) -> NDArray[np.float32]:
    """Amounts as the agent is shown them."""
    scale, values = _SCALES[field], np.asarray(values, np.float64)
    return np.asarray(values if scale is None else values / (abs(values) + scale), np.float32)


def watch(agent: TrainedAgent, scenario: ScenarioConfig, seed: int = 0) -> Watched:
    """Episodes of an agent on a few servers of a scenario, every decision of them. Raises InputError."""
    config = agent.env_config(scenario)
    settings: dict[str, Any] = {name: getattr(config, name) for name in SHOWN}
    env = LLMServerVectorEnv(
        _SERVERS, scenario=scenario, observation="flat", num_requests=_REQUESTS, **settings
    )  # fmt: skip
    observations, infos = env.reset(seed=seed)
    kept: list[tuple[Any, ...]] = []
    over = np.zeros(_SERVERS, np.bool_)
    for _ in range(_MOST_STEPS):
        actions = agent.brain.actions(observations, infos["action_mask"])
        kept += [(observations[place], infos["action_mask"][place], actions[place]) for place in np.flatnonzero(~over)]
        observations, _, terminations, truncations, infos = env.step(actions)
        over |= terminations | truncations
        if over.all():
            break
    record = env.servers.simulators[0].record
    seen, masks, actions = (np.stack([row[column] for row in kept]) for column in range(3))
    return Watched(agent.layout, seen, masks, actions, int(record.block_size), int(record.num_kv_blocks))
