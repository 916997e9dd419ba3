"""RLlibObservation: the keys under which RLlib's action-masking modules look for observation and mask."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from llmqgym.errors import InputError

Obs = dict[str, NDArray[np.float32]]
#: In the order of a flat observation; a Dict space sorts its names.
_PARTS = ("server", "waiting", "running")


class RLlibObservation(gym.ObservationWrapper[Obs, Any, Any], gym.utils.RecordConstructorArgs):
    """Dict(observations Box [D], action_mask Box(0, 1, [A])), float32, of an environment with commands, Dict or flat.

    The parts of a Dict observation stand one after the other, as `observation="flat"` has them, those that wrappers
    have added at the end. Raises InputError for scores (`action="priority"`), which have no mask.

    >>> import gymnasium as gym
    >>> env = RLlibObservation(gym.make("llmqgym/LLMServer-v0", num_requests=10))
    >>> {key: box.shape for key, box in env.observation_space.items()}
    {'action_mask': (33,), 'observations': (203,)}
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        gym.utils.RecordConstructorArgs.__init__(self)
        gym.ObservationWrapper.__init__(self, env)
        if not isinstance(env.action_space, spaces.Discrete):
            raise InputError(
                f"RLlibObservation needs commands, and the actions are {env.action_space}: action='command'."
            )
        parts = getattr(env.observation_space, "spaces", {})
        self._names = [*_PARTS, *(name for name in parts if name not in (*_PARTS, "action_mask"))]
        boxes = [parts[name] for name in self._names] if parts else [env.observation_space]
        low, high = (np.concatenate([getattr(box, end).ravel() for box in boxes]) for end in ("low", "high"))
        space: Any = spaces.Dict(
            {
                "observations": spaces.Box(low, high, dtype=np.float32),
                "action_mask": spaces.Box(0.0, 1.0, (int(env.action_space.n),), np.float32),
            }
        )
        self.observation_space = space

    def observation(self, observation: Any) -> Obs:
        """The same under RLlib's names."""
        if isinstance(observation, dict):
            flat = np.concatenate([observation[name].ravel() for name in self._names])
            mask = observation["action_mask"]
        else:
            flat, mask = observation, self.get_wrapper_attr("action_masks")()
        return {"observations": flat, "action_mask": mask.astype(np.float32)}
