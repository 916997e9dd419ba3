"""Spaces of an environment, made from the tables of fields, and the cutting of a flat observation into named parts."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from llmqgym.env.config import EnvConfig
from llmqgym.kernel.observe import ABSENT, SERVER_FIELDS, Field, fields_of

Obs = dict[str, NDArray[Any]]


def action_space(config: EnvConfig) -> spaces.Discrete | spaces.Box:
    """Discrete(1 + K + M * B) commands, or Box(-1, 1, [K + B]) scores."""
    if config.action == "command":
        return spaces.Discrete(config.num_actions)
    return spaces.Box(-1.0, 1.0, (config.window + config.running,), np.float32)


def observation_space(config: EnvConfig) -> spaces.Dict | spaces.Box:
    """Dict(server [S], waiting [K, W], running [B, R], action_mask [A]), or the first three in one Box [D]."""
    server = _lows(SERVER_FIELDS, 1)
    waiting = _lows(fields_of(config.waiting_fields), config.window, ABSENT)
    running = _lows(fields_of(config.running_fields), config.running, ABSENT)
    if config.observation == "flat":
        low = np.concatenate([server.ravel(), waiting.ravel(), running.ravel()])
        return spaces.Box(low, np.ones_like(low), dtype=np.float32)
    return spaces.Dict(
        {
            "server": _box(server[0]),
            "waiting": _box(waiting),
            "running": _box(running),
            "action_mask": spaces.MultiBinary(config.num_actions),
        }
    )


def _lows(fields: tuple[Field, ...], rows: int, least: float = 1.0) -> NDArray[np.float32]:
    """The least number of each field, float32 [rows, F]; `least` is what stands for an absent request."""
    return np.tile(np.array([min(each.low, least) for each in fields], np.float32), (rows, 1))


def _box(low: NDArray[np.float32]) -> spaces.Box:
    return spaces.Box(low, np.ones_like(low), dtype=np.float32)


class Cutter:
    """Cuts flat observations into the parts of the Dict space, without copying."""

    def __init__(self, config: EnvConfig) -> None:
        self._server = len(SERVER_FIELDS)
        self._waiting = (config.window, len(config.waiting_fields))
        self._running = (config.running, len(config.running_fields))
        self._from = self._server + config.window * len(config.waiting_fields)

    def one(self, flat: NDArray[Any], mask: NDArray[Any]) -> Obs:
        """Of float32 [D] and int8 [A]."""
        return {
            "server": flat[: self._server],
            "waiting": flat[self._server : self._from].reshape(self._waiting),
            "running": flat[self._from :].reshape(self._running),
            "action_mask": mask,
        }

    def many(self, flat: NDArray[Any], mask: NDArray[Any]) -> Obs:
        """Of float32 [N, D] and int8 [N, A]."""
        num = len(flat)
        return {
            "server": flat[:, : self._server],
            "waiting": flat[:, self._server : self._from].reshape(num, *self._waiting),
            "running": flat[:, self._from :].reshape(num, *self._running),
            "action_mask": mask,
        }
