"""MixedVecEnv: servers of several kinds of traffic, as one SB3 VecEnv."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv

from llmqgym.errors import InputError
from llmqgym.sb3 import SB3VecEnv


class MixedVecEnv(VecEnv):
    """The servers of `parts`, one part after the other. The rewards of a part are multiplied by its reward scale, and
    its durations, in `dt_s`, by its time scale: traffics differ by orders of magnitude in both.

    The parts show the same fields and numbers of rows. Raises InputError for others.
    """

    def __init__(
        self,
        parts: Sequence[SB3VecEnv],
        reward_scales: Sequence[float] | None = None,
        time_scales: Sequence[float] | None = None,
    ) -> None:
        first = parts[0]
        for part in parts:
            if part.observation_space.shape != first.observation_space.shape or part.action_space != first.action_space:
                raise InputError("parts of a mixture differ in what they show: give them the same window and running.")
        self.parts = list(parts)
        self._sizes = [part.num_envs for part in parts]
        self._cuts = np.cumsum(self._sizes)[:-1]
        self._reward_scales = np.repeat(reward_scales or [1.0] * len(parts), self._sizes).astype(np.float32)
        self._time_scales = np.repeat(time_scales or [1.0] * len(parts), self._sizes)
        self.dt_s = np.zeros(sum(self._sizes))
        super().__init__(sum(self._sizes), first.observation_space, first.action_space)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seeds of the next reset, the parts one after the other."""
        found: list[int | None] = []
        for part in self.parts:
            found += part.seed(seed if seed is None else seed + len(found))
        return found

    def reset(self) -> Any:
        """Begin an episode on every server."""
        found = np.concatenate([part.reset() for part in self.parts])
        self.reset_infos = [info for part in self.parts for info in part.reset_infos]
        return found

    def step_async(self, actions: NDArray[Any]) -> None:
        """Remember the actions: `step_wait` steps."""
        for part, chosen in zip(self.parts, np.split(actions, self._cuts), strict=True):
            part.step_async(chosen)

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step all servers; see `SB3VecEnv`."""
        observations, rewards, ends, infos = zip(*(part.step_wait() for part in self.parts), strict=True)
        self.reset_infos = [info for part in self.parts for info in part.reset_infos]
        self.dt_s = np.concatenate([part.dt_s for part in self.parts]) * self._time_scales
        found = [info for some in infos for info in some]
        return (
            np.concatenate(observations), np.concatenate(rewards) * self._reward_scales, np.concatenate(ends), found
        )  # fmt: skip

    def action_masks(self) -> NDArray[np.bool_]:
        """The commands allowed now, bool [N, A]."""
        return np.concatenate([part.action_masks() for part in self.parts])

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """`action_masks` alone, as `SB3VecEnv` has it."""
        found = [each for part in self.parts for each in part.env_method(method_name, *args, **kwargs)]
        return [found[place] for place in self._get_indices(indices)]

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """An attribute of every server."""
        found = [each for part in self.parts for each in part.get_attr(attr_name)]
        return [found[place] for place in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set an attribute of every part."""
        for part in self.parts:
            part.set_attr(attr_name, value)

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        """As the parts say."""
        found = [each for part in self.parts for each in part.env_is_wrapped(wrapper_class)]
        return [found[place] for place in self._get_indices(indices)]

    def close(self) -> None:
        """Close the parts."""
        for part in self.parts:
            part.close()

    def state(self) -> dict[str, Any]:
        """Of every part, for `restore`."""
        return {"parts": [part.state() for part in self.parts], "dt_s": self.dt_s.copy()}

    def restore(self, state: dict[str, Any]) -> Any:
        """Go on from the `state` of a mixture of the same settings; returns the observations."""
        found = [part.restore(its_state) for part, its_state in zip(self.parts, state["parts"], strict=True)]
        self.dt_s = state["dt_s"].copy()
        return np.concatenate(found)
