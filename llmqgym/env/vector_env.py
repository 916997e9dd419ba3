"""LLMServerVectorEnv: N servers stepped by one compiled call."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from llmqgym.checks import check_count
from llmqgym.env.config import make_config
from llmqgym.env.outcome import episode_metrics
from llmqgym.env.render import Viewer
from llmqgym.env.servers import Servers
from llmqgym.env.spaces import Cutter, action_space, observation_space
from llmqgym.errors import InputError, unknown
from llmqgym.kernel.act import Command
from llmqgym.kernel.reward import TERM_NAMES
from llmqgym.kernel.tables import PS_PER_S, Outcome

Mask = NDArray[np.bool_]
_MODES = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP)
_RENDER_MODES = ("rgb_array", "ansi")
#: As plain numbers: to compare an array with a member of an enumeration takes ten times as long.
_STALLED, _HORIZON = int(Outcome.STALLED), int(Outcome.HORIZON)
_RUN, _PASS_OVER = int(Command.RUN), int(Command.PASS_OVER)
_TERM_MARKS = tuple(f"_{name}" for name in TERM_NAMES)


class LLMServerVectorEnv(VectorEnv[Any, Any, Any]):
    """N environments `LLMServerEnv` in one; takes its settings, and gives what N of them give, bit for bit.

    `num_envs` is N. `autoreset_mode`: a server whose episode is over begins the next one in its NEXT_STEP (Gymnasium's
    default; that step's action is ignored and its reward 0), or in the SAME_STEP, with `infos["final_obs"]` and
    `infos["final_info"]`. `copies` = C: every C servers in a row meet the same arrivals, episode by episode, so that
    what one does better than another is not luck. `copy=False` returns the two buffers that are written in turn:
    observations and masks stand until the step after the next. `max_episode_steps` is `max_decisions` by
    Gymnasium's name.

    `reset(seed=s)` seeds server i with s + i // C; a list gives one seed a server.
    """

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        copies: int = 1,
        copy: bool = True,
        max_episode_steps: int | None = None,
        render_mode: str | None = None,
        **settings: Any,
    ) -> None:
        check_count("num_envs", num_envs, 2**20)
        check_count("copies", copies, num_envs)
        if num_envs % copies:
            raise InputError(f"copies is {copies} and num_envs {num_envs}: give a divisor of num_envs.")
        mode = AutoresetMode(autoreset_mode)
        if mode not in _MODES:
            raise InputError(f"autoreset_mode is {mode}: give {' or '.join(str(each) for each in _MODES)}.")
        if max_episode_steps is not None:
            settings.setdefault("max_decisions", max_episode_steps)
        self.config = make_config(**settings)
        if render_mode not in (None, *_RENDER_MODES):
            raise unknown("render_mode", str(render_mode), _RENDER_MODES)
        self.num_envs, self.render_mode = num_envs, render_mode
        self.metadata = {"render_modes": list(_RENDER_MODES), "render_fps": 20, "autoreset_mode": mode}
        self.single_observation_space = observation_space(self.config)
        self.single_action_space = action_space(self.config)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.servers = Servers(self.config, num_envs, buffers=1 if copy else 2)
        self._same_step, self._copies, self._copy = mode == AutoresetMode.SAME_STEP, copies, copy
        self._cut = Cutter(self.config)
        self._viewers = [Viewer(self.servers, render_mode, place) for place in range(num_envs)] if render_mode else []
        self._ended = np.zeros(num_envs, np.bool_)
        self._num_decisions = np.zeros(num_envs, np.int64)
        self._generators: list[np.random.Generator] = []

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode on every server."""
        self._seed(seed)
        self._ended = np.zeros(self.num_envs, np.bool_)
        infos: dict[str, Any] = {}
        for place in range(self.num_envs):
            self._begin(place, infos)
        self._put_masks(infos)
        return self._observations(), infos

    def _seed(self, seed: int | list[int | None] | None) -> None:
        if isinstance(seed, list) and len(seed) != self.num_envs:
            raise InputError(f"{len(seed)} seeds for {self.num_envs} servers: give one a server.")
        if seed is None and self._generators:
            return
        if not isinstance(seed, list):
            groups = range(self.num_envs // self._copies)
            first = seeding.np_random(None)[1] % 2**31 if seed is None and self._copies > 1 else seed
            seeds = [None if first is None else first + group for group in groups for _ in range(self._copies)]
        else:
            seeds = seed
        self._generators = [
            self._generators[place] if each is None and self._generators else seeding.np_random(each)[0]
            for place, each in enumerate(seeds)
        ]

    def step(self, actions: NDArray[Any]) -> tuple[Any, NDArray[np.float64], Mask, Mask, dict[str, Any]]:
        """Carry out a command (or scores) on every server; see `LLMServerEnv` and `gymnasium.vector.VectorEnv`."""
        servers, agents = self.servers, self.servers.agents
        for viewer, action in zip(self._viewers, actions if self._viewers else (), strict=True):
            viewer.note(action)
        if not self._copy:
            servers.flip()
        if self.config.action == "priority":
            servers.scores[:] = actions
            agents["command"] = _RUN
        else:
            agents["command"] = actions
        reset_mask = self._ended
        resets = bool(reset_mask.any())
        if resets:
            agents["command"][reset_mask] = _PASS_OVER
        servers.act()
        outcomes = agents["outcome"].copy()
        rewards, dt_ps, invalid = agents["reward"].copy(), agents["dt_ps"].copy(), agents["invalid"] != 0
        terms = servers.terms.T.copy()
        terminations, truncations = self._ends(outcomes)
        if resets:
            for values in (rewards, dt_ps, invalid, terminations, truncations):
                values[reset_mask] = 0
            terms[:, reset_mask] = 0.0
        ended = terminations | truncations
        infos: dict[str, Any] = {}
        over = np.flatnonzero(ended) if ended.any() else ()
        if self._same_step:
            for place in over:
                final = self._info(place, dt_ps, invalid, terms) | {"metrics": self._metrics(place, outcomes)}
                self._add_info(infos, {"final_obs": self._one(place), "final_info": final}, int(place))
                self._begin(int(place), infos)
            self._put(infos, ended, len(over), dt_ps, invalid, terms)
        else:
            for place in over:
                self._add_info(infos, {"metrics": self._metrics(place, outcomes)}, int(place))
            begun = np.flatnonzero(reset_mask) if resets else ()
            for place in begun:
                self._begin(int(place), infos)
            self._put(infos, reset_mask, len(begun), dt_ps, invalid, terms)
            self._ended = ended
        self._put_masks(infos)
        return self._observations(), rewards, terminations, truncations, infos

    def _ends(self, outcomes: NDArray[np.int64]) -> tuple[Mask, Mask]:
        self._num_decisions += 1
        terminations, truncations = outcomes <= _STALLED, outcomes == _HORIZON
        if self.config.max_decisions is not None:
            truncations |= (self._num_decisions >= self.config.max_decisions) & ~terminations
        return terminations, truncations

    def _begin(self, place: int, infos: dict[str, Any]) -> None:
        self.servers.begin(place, self._generators[place])
        self._num_decisions[place] = 0
        if self._viewers:
            self._viewers[place].begin()
        self._add_info(infos, {"drawn": dict(self.servers.drawn[place])}, place)

    def _metrics(self, place: Any, outcomes: NDArray[np.int64]) -> dict[str, Any]:
        simulator = self.servers.simulators[place]
        return episode_metrics(simulator, Outcome(int(outcomes[place])), self.config.num_requests)

    def _info(self, place: Any, dt_ps: Any, invalid: Any, terms: Any) -> dict[str, Any]:
        """That of one server, as the single environment has it."""
        return {
            "action_mask": self.servers.masks[place].copy(),
            "dt_s": float(dt_ps[place] / PS_PER_S),
            "invalid_action": bool(invalid[place]),
            "terms": dict(zip(TERM_NAMES, terms[:, place].tolist(), strict=True)),
        }

    def _put(self, infos: dict[str, Any], others: Mask, num_others: int, dt_ps: Any, invalid: Any, terms: Any) -> None:
        """What the servers have done but `num_others` of a mask, by name, each beside the mask of those who have."""
        if num_others == self.num_envs:
            return
        stepped, dt_s = ~others, dt_ps / float(PS_PER_S)
        if num_others:
            dt_s[others], invalid[others], terms[:, others] = 0.0, False, 0.0
        named = dict(zip(TERM_NAMES, terms, strict=True))
        named.update(dict.fromkeys(_TERM_MARKS, stepped))
        infos["dt_s"], infos["invalid_action"], infos["terms"] = dt_s, invalid, named
        infos["_dt_s"] = infos["_invalid_action"] = infos["_terms"] = stepped

    def _put_masks(self, infos: dict[str, Any]) -> None:
        masks = self.servers.masks
        infos["action_mask"] = masks.copy() if self._copy else masks
        infos["_action_mask"] = np.ones(self.num_envs, np.bool_)

    def _observations(self) -> Any:
        flat, masks = self.servers.observations, self.servers.masks
        if self._copy:
            flat, masks = flat.copy(), masks.copy()
        return flat if self.config.observation == "flat" else self._cut.many(flat, masks)

    def _one(self, place: Any) -> Any:
        flat = self.servers.observations[place].copy()
        if self.config.observation == "flat":
            return flat
        return self._cut.one(flat, self.servers.masks[place].copy())

    def action_masks(self) -> Mask:
        """The commands allowed now, bool [N, A]."""
        return self.servers.masks.astype(np.bool_)

    def render(self) -> tuple[Any, ...] | None:
        """What there is to see of each server, as `LLMServerEnv.render` has it: N frames (7 ms and 1.8 MB each), or N
        texts. Changes nothing. Warns, and returns None, without a render mode."""
        if not self._viewers:
            gym.logger.warn("render() needs a render_mode: make the environment with one, e.g. 'rgb_array'.")
            return None
        return tuple(viewer.render() for viewer in self._viewers)

    def state(self) -> dict[str, Any]:
        """Everything that the steps so far have made of the servers, copied, in dicts and lists of arrays and plain
        values: for `restore`."""
        return {
            "servers": self.servers.state(),
            "ended": self._ended.copy(),
            "num_decisions": self._num_decisions.copy(),
            "generators": [each.bit_generator.state for each in self._generators],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from the `state` of an environment of the same settings, of this process or another."""
        self.servers.restore(state["servers"])
        self._ended, self._num_decisions = state["ended"].copy(), state["num_decisions"].copy()
        self._generators = [np.random.Generator(np.random.PCG64()) for _ in state["generators"]]
        for generator, its_state in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = its_state

    @property
    def copies(self) -> int:
        """Servers in a row that meet the same arrivals."""
        return self._copies
