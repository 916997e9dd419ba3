"""OracleObservation: how many tokens the requests in view will still make, which no server knows."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from llmqgym.env.env import LLMServerEnv
from llmqgym.errors import InputError
from llmqgym.kernel.observe import ABSENT, fields_of

_SCALE = fields_of(("predicted_remaining_tokens",))[0].scale


class OracleObservation(gym.ObservationWrapper[dict[str, Any], Any, Any], gym.utils.RecordConstructorArgs):
    """Adds `waiting_true_remaining_tokens` [K] and `running_true_remaining_tokens` [B], float32, to a Dict observation.

    In the order of `waiting` and `running`, scaled as `predicted_remaining_tokens` is, -1 where there is no request.
    The only way to the truth: `metadata["oracle"]` is True, and what is learnt with it is an oracle's result.
    Raises InputError for flat observations, and for environments that are no LLMServerEnv.

    >>> import gymnasium as gym
    >>> env = OracleObservation(gym.make("llmqgym/LLMServer-v0", num_requests=10))
    >>> env.observation_space["waiting_true_remaining_tokens"].shape, env.metadata["oracle"]
    ((16,), True)
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.ObservationWrapper.__init__(self, env)
        server = env.unwrapped
        if not isinstance(server, LLMServerEnv) or not isinstance(env.observation_space, spaces.Dict):
            raise InputError(f"OracleObservation needs an LLMServerEnv with observation='dict', and not {env}.")
        self._server = server
        self._sizes = {"waiting": server.config.window, "running": server.config.running}
        added = {_key(part): spaces.Box(-1.0, 1.0, (size,), np.float32) for part, size in self._sizes.items()}
        self.observation_space = spaces.Dict({**env.observation_space.spaces, **added})
        self.metadata = {**env.metadata, "oracle": True}

    def observation(self, observation: dict[str, Any]) -> dict[str, Any]:
        """The same, and the truth."""
        servers = self._server.servers
        rows = {"waiting": servers.waiting_rows(0), "running": servers.running_rows(0)}
        return observation | {_key(part): self._remaining(rows[part], size) for part, size in self._sizes.items()}

    def _remaining(self, rows: NDArray[np.int64], size: int) -> NDArray[np.float32]:
        """Scaled, float32 [size], of the requests in some rows."""
        simulator = self._server.simulator
        out = np.full(size, ABSENT, np.float32)
        for place, row in enumerate(rows.tolist()):
            left = int(simulator.hidden(row).output_tokens) - int(simulator.request(row).generated_tokens)
            out[place] = np.float32(left) / (np.float32(left) + np.float32(_SCALE))
        return out


def _key(part: str) -> str:
    return f"{part}_true_remaining_tokens"
