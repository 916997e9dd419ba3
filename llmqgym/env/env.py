"""LLMServerEnv: one LLM inference server whose admissions and preemptions are an agent's actions."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from llmqgym.env.config import make_config
from llmqgym.env.outcome import episode_metrics
from llmqgym.env.page import page
from llmqgym.env.render import Viewer
from llmqgym.env.servers import Servers
from llmqgym.env.spaces import Cutter, action_space, observation_space
from llmqgym.errors import unknown
from llmqgym.kernel.reward import TERM_NAMES
from llmqgym.kernel.tables import PS_PER_S, Outcome

#: As plain numbers: to compare with a member of an enumeration takes a tenth of a step.
_STALLED, _HORIZON = int(Outcome.STALLED), int(Outcome.HORIZON)


class LLMServerEnv(gym.Env[Any, Any]):
    __doc__ = page()

    metadata = {"render_modes": ["human", "rgb_array", "ansi"], "render_fps": 20}  # noqa: RUF012 - Gymnasium's

    def __init__(self, render_mode: str | None = None, **settings: Any) -> None:
        self.config = make_config(**settings)
        if render_mode is not None and render_mode not in self.metadata["render_modes"]:
            raise unknown("render_mode", render_mode, self.metadata["render_modes"])
        self.render_mode = render_mode
        self.action_space = action_space(self.config)
        self.observation_space = observation_space(self.config)
        self.servers = Servers(self.config, 1)
        self._cut = Cutter(self.config) if self.config.observation == "dict" else None
        self._scores = self.config.action == "priority"
        self._num_decisions = 0
        self._viewer = Viewer(self.servers, render_mode, 0, self.metadata["render_fps"]) if render_mode else None
        self._connect()

    def _connect(self) -> None:
        """Columns of the table of agents, and rows of the buffers, once looked up."""
        agents = self.servers.agents
        self._command, self._reward, self._dt_ps = agents["command"], agents["reward"], agents["dt_ps"]
        self._outcome, self._invalid = agents["outcome"], agents["invalid"]
        self._flat, self._mask, self._terms = self.servers.observations[0], self.servers.masks[0], self.servers.terms[0]

    def __getstate__(self) -> dict[str, Any]:
        views = ("_command", "_reward", "_dt_ps", "_outcome", "_invalid", "_flat", "_mask", "_terms")
        return {name: value for name, value in vars(self).items() if name not in views}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._connect()

    @property
    def simulator(self) -> Any:
        """The simulated server."""
        return self.servers.simulators[0]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; returns the observation at its first decision, and info with `action_mask` and `drawn`."""
        super().reset(seed=seed)
        self.servers.begin(0, self.np_random)
        self._num_decisions = 0
        if self._viewer is not None:
            self._viewer.begin()
        mask = self._mask.copy()
        info = {"action_mask": mask, "drawn": dict(self.servers.drawn[0])}
        if self.render_mode == "human":
            self.render()
        return self._observe(mask), info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Carry out a command (or scores); see the class."""
        if self._viewer is not None:
            self._viewer.note(action)
        if self._scores:
            self.servers.scores[0] = action
            self._command[0] = 0
        else:
            self._command[0] = int(action)
        self.servers.act()
        self._num_decisions += 1
        outcome = self._outcome.item(0)
        terminated = outcome <= _STALLED
        truncated = not terminated and (outcome == _HORIZON or self._num_decisions == self.config.max_decisions)
        mask = self._mask.copy()
        info: dict[str, Any] = {
            "action_mask": mask,
            "dt_s": self._dt_ps.item(0) / PS_PER_S,
            "invalid_action": self._invalid.item(0) != 0,
            "terms": dict(zip(TERM_NAMES, self._terms.tolist(), strict=True)),
        }
        if terminated or truncated:
            info["metrics"] = episode_metrics(self.simulator, Outcome(outcome), self.config.num_requests)
        if self.render_mode == "human":
            self.render()
        return self._observe(mask), self._reward.item(0), terminated, truncated, info

    def _observe(self, mask: NDArray[Any]) -> Any:
        flat = self._flat.copy()
        return flat if self._cut is None else self._cut.one(flat, mask.copy())

    def action_masks(self) -> NDArray[np.bool_]:
        """The commands allowed now, bool [A], as sb3-contrib asks for them."""
        return np.asarray(self.servers.masks[0], np.bool_)

    def render(self) -> Any:
        """What there is to see now: a frame uint8 [H, W, 3] for `rgb_array`, a text for `ansi`; for `human`, None, and
        the frame in a window. Changes nothing. Warns, and returns None, without a render mode."""
        if self._viewer is None:
            gym.logger.warn("render() needs a render_mode: make the environment with one, e.g. 'rgb_array'.")
            return None
        return self._viewer.render()

    def close(self) -> None:
        """Close the window of `human`, if there is one; twice is fine."""
        if self._viewer is not None:
            self._viewer.close()
