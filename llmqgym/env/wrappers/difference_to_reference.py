"""DifferenceToReference: how much better than a reference policy, on the same requests up to the same time.

What arrives is luck, and most of what rewards differ by. A reference policy meets the same luck: taking its reward away
leaves what the agent has done, and the agent's best schedule stays its best.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from numpy.typing import NDArray

from llmqgym.env.config import EnvConfig
from llmqgym.env.env import LLMServerEnv
from llmqgym.env.last_step import dt_s_of, final_info
from llmqgym.env.vector_env import LLMServerVectorEnv
from llmqgym.env.wrappers.reference import Reference
from llmqgym.errors import InputError
from llmqgym.kernel.reward import TERM_NAMES
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.policy import Policy


class DifferenceToReference(gym.Wrapper[Any, Any, Any, Any]):
    """Each reward less what `policy` (None: vLLM's, first come first served) has earned in the same span of time.

    At `reset` the policy's schedule for the episode's requests is simulated, compiled, on the same hardware. With C(t)
    its integral of requests in the system up to t, a step from t to u of simulated time has the reference reward
    -w (C(u) - C(t)), w being the weight of the term `latency`; the first step counts from t = 0. When the agent's last
    request has finished, the rest of the reference's schedule is due at once: over an episode that finishes, the
    differences add up to the return less the reference's return. A truncated episode compares the two up to the same
    time. `info["reference_reward"]` is what was taken away.

    Other terms have no reference and stay in the reward as they are. Raises InputError where `latency` has no weight.

    >>> import gymnasium as gym
    >>> env = DifferenceToReference(gym.make("llmqgym/LLMServer-v0", num_requests=10))
    >>> _ = env.reset(seed=0)
    >>> env.step(1)[1]
    0.0
    """

    def __init__(self, env: gym.Env[Any, Any], policy: Policy | None = None) -> None:
        super().__init__(env)
        server = env.unwrapped
        if not isinstance(server, LLMServerEnv):
            raise InputError(f"DifferenceToReference needs an LLMServerEnv, and not {server}.")
        self._server = server
        self._weight = _weight(server.config)
        self._reference = Reference(server.servers, policy or Policy("vllm"))
        self._paid = 0.0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, and let the reference serve it."""
        found = self.env.reset(seed=seed, options=options)
        self._reference.begin(0, self._server.servers.episode_of[0])
        self._paid = 0.0
        return found

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As the environment does, with the difference as reward."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        clock_ps = np.array([self._server.simulator.record.clock_ps], np.int64)
        paid = float((self._reference.totals if _has_finished(info) else self._reference.until(clock_ps))[0])
        info["reference_reward"] = -self._weight * (paid - self._paid)
        self._paid = paid
        return observation, float(reward) - info["reference_reward"], terminated, truncated, info


class VectorDifferenceToReference(VectorWrapper):
    """The same for each server of an `LLMServerVectorEnv`.

    `infos["reference_reward"]`, float64 [N], is that of the step just made, of servers that have begun a new episode in
    it too.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any], policy: Policy | None = None) -> None:
        super().__init__(env)
        server = env.unwrapped
        if not isinstance(server, LLMServerVectorEnv):
            raise InputError(f"VectorDifferenceToReference needs an LLMServerVectorEnv, and not {server}.")
        self._server = server
        self._weight = _weight(server.config)
        self._reference = Reference(server.servers, policy or Policy("vllm"))
        self._same_step = server.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
        self._ended = np.zeros(env.num_envs, np.bool_)
        self._clock_ps = np.zeros(env.num_envs, np.int64)
        self._paid = np.zeros(env.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode on every server, and let the reference serve them."""
        found = self.env.reset(seed=seed, options=options)
        self._ended[:] = False
        self._begin(np.arange(self.num_envs))
        return found

    def _begin(self, places: NDArray[np.int64]) -> None:
        for place in places.tolist():
            self._reference.begin(place, self._server.servers.episode_of[place])
            self._clock_ps[place] = self._server.servers.simulators[place].record.clock_ps
        self._paid[places] = 0.0

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """As the environment does, with the differences as rewards."""
        observations, rewards, terminations, truncations, infos = self.env.step(actions)
        self._clock_ps += np.rint(dt_s_of(infos, self.num_envs) * PS_PER_S).astype(np.int64)
        paid = self._reference.until(self._clock_ps)
        for place in np.flatnonzero(terminations).tolist():
            if _has_finished(final_info(infos, place)):
                paid[place] = self._reference.totals[place]
        paid[self._ended] = self._paid[self._ended]  # this step has only reset them
        reference_rewards = -self._weight * (paid - self._paid)
        self._paid = paid
        ended = terminations | truncations
        self._begin(np.flatnonzero(ended if self._same_step else self._ended))
        self._ended = ended & (not self._same_step)
        infos["reference_reward"], infos["_reference_reward"] = reference_rewards, np.ones(self.num_envs, np.bool_)
        return observations, rewards - reference_rewards, terminations, truncations, infos

    def state(self) -> dict[str, Any]:
        """As that of the servers, with what the reference has made of their episodes."""
        servers: Any = self.env
        return {
            "env": servers.state(),
            "reference": self._reference.state(),
            "ended": self._ended.copy(),
            "clock_ps": self._clock_ps.copy(),
            "paid": self._paid.copy(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the `state` of a wrapper of the same policy around servers of the same settings."""
        servers: Any = self.env
        servers.restore(state["env"])
        self._reference.restore(state["reference"])
        self._ended, self._clock_ps = state["ended"].copy(), state["clock_ps"].copy()
        self._paid = state["paid"].copy()


def _weight(config: EnvConfig) -> float:
    """Of the term that is compared."""
    weight = config.reward[TERM_NAMES.index("latency")]
    if not weight:
        raise InputError("the reward has no term latency, and only that has a reference: give it a weight.")
    return weight


def _has_finished(info: dict[str, Any]) -> bool:
    """Whether an episode is over because all requests are done."""
    return bool(info.get("metrics", {}).get("outcome") == "finished")
