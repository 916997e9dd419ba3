"""Stable-Baselines3: a VecEnv over the compiled servers, with the masks that sb3-contrib's MaskablePPO asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

from llmqgym.env.last_step import dt_s_of, final_info
from llmqgym.env.vector_env import LLMServerVectorEnv
from llmqgym.errors import InputError

try:
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import VecEnv
except ImportError as error:
    raise ImportError(
        f"llmqgym.sb3 needs Stable-Baselines3 ({error}): install it with  pip install 'llmqgym[train]'"
    ) from error

Vector = VectorEnv[Any, Any, Any]
Indices = None | int | Iterable[int]
_MASKS = "action_masks"


def make_sb3_vec_env(
    env: str | Mapping[str, Any],
    num_envs: int = 1,
    *,
    seed: int | None = None,
    copies: int = 1,
    wrap: Callable[[Vector], Vector] | None = None,
    **settings: Any,
) -> SB3VecEnv:
    """N servers as an SB3 VecEnv: `env` is an id (`"llmqgym/LLMServerKVBound-v0"`) or a dict of settings.

    `settings` are those of `LLMServerEnv`, and replace what the id or the dict says; `observation="flat"` is for
    "MlpPolicy", the default Dict for "MultiInputPolicy". `seed` is that of the first reset, `copies` as in
    `LLMServerVectorEnv`, `wrap` puts vector wrappers around the servers. Raises InputError.

    >>> vec = make_sb3_vec_env("llmqgym/LLMServer-v0", 4, seed=0, observation="flat", num_requests=10)
    >>> vec.reset().shape
    (4, 203)
    """
    given: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP, "copy": False, "copies": copies}
    for name in given.keys() & settings.keys():
        raise InputError(f"{name} is given by SB3's way of stepping: leave it out.")
    vector: Vector
    if isinstance(env, str):
        vector = gym.make_vec(env, num_envs, "vector_entry_point", **settings, **given)
    else:
        vector = LLMServerVectorEnv(num_envs, **{**env, **settings, **given})
    made = SB3VecEnv(vector if wrap is None else wrap(vector))
    if seed is not None:
        made.seed(seed)
    return made


class SB3VecEnv(VecEnv):
    """An `LLMServerVectorEnv` that resets in the same step, or vector wrappers around one, as SB3 wants it.

    Observations and masks lie in two buffers that are written in turn: they stand until the step after the next, which
    SB3 needs, since it stores an observation after the step that follows it. Rewards are float32.

    The info of a step is an empty dict, but for `invalid_action` where a command was masked, and for the last step of
    an episode: `terminal_observation`, `TimeLimit.truncated`, `episode` (r, l and t, as SB3's Monitor has them) and all
    that `LLMServerEnv` puts there, `metrics` among it. `dt_s`, float64 [N], is how long the last step took;
    `get_attr("dt_s")`, `"drawn"` and `"simulator"` are each server's own, other attributes are those of the vector.
    """

    def __init__(self, env: Vector) -> None:
        servers = env.unwrapped
        if not isinstance(servers, LLMServerVectorEnv) or servers.metadata["autoreset_mode"] != AutoresetMode.SAME_STEP:
            raise InputError(f"{env} is no LLMServerVectorEnv with autoreset_mode=SAME_STEP: see make_sb3_vec_env.")
        self.env: Any = env
        self._servers = servers
        self._began_s = time.time()
        self._seeds: list[Any] = []
        self._seed: int | None = None
        self._actions: NDArray[Any] = np.zeros(env.num_envs, np.int64)
        self.dt_s = np.zeros(env.num_envs)
        self._returns, self._lengths = np.zeros(env.num_envs), np.zeros(env.num_envs, np.int64)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seeds of the next reset: server i gets `seed` + i // copies; without a seed, one is drawn."""
        super().seed(seed)  # draws one, as SB3 does
        self._seed = self._seeds[0]
        return [self._seed + place // self._servers.copies for place in range(self.num_envs)]

    def reset(self) -> Any:
        """Begin an episode on every server; returns the observations."""
        self._servers.servers.flip()
        observations, _ = self.env.reset(seed=self._seed)
        self._seed = None
        self.dt_s = np.zeros(self.num_envs)
        self._returns[:], self._lengths[:] = 0.0, 0
        self.reset_infos = [{"drawn": dict(each)} for each in self._servers.servers.drawn]
        return observations

    def step_async(self, actions: NDArray[Any]) -> None:
        """Remember the actions: `step_wait` steps."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step all servers; see the class."""
        observations, rewards, terminations, truncations, infos = self.env.step(self._actions)
        dones = terminations | truncations
        self.dt_s = dt_s_of(infos, self.num_envs)
        self._returns += rewards
        self._lengths += 1
        # New dicts cost 0.02 us a server; wrappers of SB3 write into them.
        shown: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if "invalid_action" in infos:
            for place in np.flatnonzero(infos["invalid_action"]).tolist():
                shown[place]["invalid_action"] = True
        for place in np.flatnonzero(dones).tolist():
            shown[place] = self._last_info(infos, place, bool(truncations[place] and not terminations[place]))
        return observations, rewards.astype(np.float32), dones, shown

    def _last_info(self, infos: dict[str, Any], place: int, truncated: bool) -> dict[str, Any]:
        """That of an episode's last step; the next episode of the server has begun."""
        episode = {
            "r": round(float(self._returns[place]), 6),
            "l": int(self._lengths[place]),
            "t": round(time.time() - self._began_s, 6),
        }
        self._returns[place], self._lengths[place] = 0.0, 0
        self.reset_infos[place] = {"drawn": dict(self._servers.servers.drawn[place])}
        return final_info(infos, place) | {
            "terminal_observation": infos["final_obs"][place],
            "TimeLimit.truncated": truncated,
            "episode": episode,
        }

    def action_masks(self) -> NDArray[np.bool_]:
        """The commands allowed now, bool [N, A]."""
        return self._servers.action_masks()

    def env_method(self, method_name: str, *args: Any, indices: Indices = None, **kwargs: Any) -> list[Any]:
        """`action_masks` alone: rows of one array. Raises AttributeError for others, which no server has by itself."""
        if method_name != _MASKS:
            raise AttributeError(
                f"the servers have no method {method_name!r} of their own, only {_MASKS!r}: use `.env`."
            )
        masks = self.action_masks()
        return list(masks) if indices is None else [masks[place] for place in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """An attribute of every server (see the class)."""
        servers = self._servers.servers
        own: dict[str, Sequence[Any]] = {
            "dt_s": self.dt_s.tolist(), "drawn": servers.drawn, "simulator": servers.simulators
        }  # fmt: skip
        values = own.get(attr_name)
        if values is None:
            owner = self.env if hasattr(self.env, attr_name) else self._servers  # vector wrappers hand nothing on
            values = [getattr(owner, attr_name)] * self.num_envs
        return [values[place] for place in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of the vector environment. Raises InputError for some of the servers: they share it."""
        if set(self._get_indices(indices)) != set(range(self.num_envs)):
            raise InputError(f"set_attr({attr_name!r}) for some servers: they share it, set it for all (indices=None).")
        setattr(self.env, attr_name, value)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Indices = None) -> list[bool]:
        """True for SB3's Monitor, whose part the infos play, and for vector wrappers around the servers."""
        wrapped, env = issubclass(Monitor, wrapper_class), self.env
        while not wrapped and isinstance(env, gym.vector.VectorWrapper):
            wrapped, env = isinstance(env, wrapper_class), env.env
        return [wrapped for _ in self._get_indices(indices)]

    def state(self) -> dict[str, Any]:
        """Everything that the steps so far have made of the servers, copied: for `restore`. Raises InputError for
        wrappers around them that have no `state` and `restore` of their own: what they remember is theirs."""
        self._check_whole()
        return {
            "servers": self.env.state(),
            "returns": self._returns.copy(),
            "lengths": self._lengths.copy(),
            "dt_s": self.dt_s.copy(),
        }

    def restore(self, state: dict[str, Any]) -> Any:
        """Go on from the `state` of an environment of the same settings; returns the observations. Raises InputError
        as `state` does."""
        self._check_whole()
        self.env.restore(state["servers"])
        self._returns, self._lengths = state["returns"].copy(), state["lengths"].copy()
        self.dt_s, self._seed = state["dt_s"].copy(), None
        return self._servers.servers.observations

    def _check_whole(self) -> None:
        env = self.env
        while env is not self._servers:
            if not hasattr(type(env), "restore"):
                raise InputError(f"{env} is a wrapper, whose state is not known: save servers without it.")
            env = env.env

    def get_images(self) -> Sequence[Any]:
        """A frame of every server, for `render`."""
        return list(self.env.render() or ())

    def close(self) -> None:
        """Close the servers."""
        self.env.close()
