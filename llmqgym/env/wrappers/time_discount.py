"""TimeDiscount: exp(-beta dt) of every step, since a step takes no time or many iterations; returns made with it."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import ArrayLike, NDArray

from llmqgym.checks import check_real
from llmqgym.env.last_step import dt_s_of

_MOST_PER_S = 1e6


class TimeDiscount(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Adds `info["discount"]` = exp(-`beta_per_s` x `dt_s`): what the future is worth after the step.

    1/beta seconds are how far an agent looks ahead. Raises InputError for a negative beta.

    >>> import gymnasium as gym
    >>> env = TimeDiscount(gym.make("llmqgym/LLMServer-v0", num_requests=10), beta_per_s=0.1)
    >>> _ = env.reset(seed=0)
    >>> env.step(1)[4]["discount"]  # admitting takes no time
    1.0
    """

    def __init__(self, env: gym.Env[Any, Any], beta_per_s: float) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, beta_per_s=beta_per_s)
        gym.Wrapper.__init__(self, env)
        self.beta_per_s = check_real("beta_per_s", beta_per_s, 0.0, _MOST_PER_S)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment does, and the discount."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        info["discount"] = float(np.exp(-self.beta_per_s * info["dt_s"]))
        return observation, reward, terminated, truncated, info


class VectorTimeDiscount(VectorWrapper):
    """Adds `infos["discount"]`, float64 [N]: that of the step just made, of servers that have begun a new episode in it
    too; 1 for one that was only reset. Raises InputError for a negative beta."""

    def __init__(self, env: VectorEnv[Any, Any, Any], beta_per_s: float) -> None:
        super().__init__(env)
        self.beta_per_s = check_real("beta_per_s", beta_per_s, 0.0, _MOST_PER_S)

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """As the environment does, and the discounts."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        infos["discount"] = np.exp(-self.beta_per_s * dt_s_of(infos, self.num_envs))
        infos["_discount"] = np.ones(self.num_envs, np.bool_)
        return observations, rewards, terminations, truncations, infos


def discounted_returns(
    rewards: ArrayLike, dt_s: ArrayLike, beta_per_s: float, last_value: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """G[t] = rewards[t] + exp(-beta dt_s[t]) G[t + 1], of one episode [T] or several side by side [T, N].

    `last_value` ([N], or a number) is what comes after the last step: 0 when the episode has terminated, the value of
    its last observation when it was truncated. Within a step nothing is discounted: its reward counts as earned at its
    beginning.

    >>> discounted_returns([-1.0, -1.0], [0.0, 10.0], beta_per_s=0.1, last_value=-1.0).round(3).tolist()
    [-2.368, -1.368]
    """
    earned = np.asarray(rewards, np.float64)
    discounts = np.exp(-beta_per_s * np.asarray(dt_s, np.float64))
    returns, following = np.empty_like(earned), np.asarray(last_value, np.float64)
    for step in range(len(earned) - 1, -1, -1):
        returns[step] = following = earned[step] + discounts[step] * following
    return returns
