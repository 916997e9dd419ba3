"""TimedPPO: sb3-contrib's MaskablePPO with time in its discount, and guards against leaving a good policy.

What it collects goes into a `TimedRolloutBuffer`. The update is PPO's clipped objective (arXiv 1707.06347), with a
learning rate of the policy that follows how far it moves from the one that collected (`target_kl`), and with a price
`teacher_kl` on the divergence from a teacher: the policy as it was when `set_teacher` was called, after cloning.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from agents.policy import SchedulingPolicy
from agents.rollout_buffer import TimedRolloutBuffer

#: How fast the scale of the values follows what returns are like.
_SCALE_MOMENTUM = 0.2
#: A decision in which other commands than the most probable have less than this probability leaves no choice.
_NO_CHOICE = 1e-4
#: An update stops when a minibatch finds so many times `target_kl`.
_TOO_FAR = 4.0
#: The policy's learning rate stays within this factor of the schedule's.
_LARGEST_STRIDE = 3.0
#: Of a minibatch: (loss, figures).
Loss = Callable[[dict[str, Tensor]], tuple[Tensor, dict[str, Tensor]]]
#: Episodes that the figures of training are taken over.
_RECENT = 100


class TimedPPO(MaskablePPO):
    """Takes what MaskablePPO takes, and `horizon_s`, `trace_s`, `copies` (`TimedRolloutBuffer`); `reward_scale`, by
    which rewards are multiplied; `teacher_kl`; `final_ent_coef`, to which `ent_coef` moves after a share
    `ent_coef_moves_from` of a run; and `learn_values_only` updates that leave the policy as it is.

    The environment is an `llmqgym.sb3.SB3VecEnv` with flat observations. `statistics` has what the last update came to.
    """

    policy: SchedulingPolicy
    rollout_buffer: TimedRolloutBuffer  # type: ignore[assignment]

    def __init__(
        self,
        policy: type[SchedulingPolicy],
        env: VecEnv,
        *,
        horizon_s: float | None = 30.0,
        trace_s: float = 10.0,
        copies: int = 1,
        reward_scale: float = 1.0,
        teacher_kl: float = 0.0,
        final_ent_coef: float | None = None,
        ent_coef_moves_from: float = 0.0,
        learn_values_only: int = 0,
        **settings: Any,
    ) -> None:
        timing = {"horizon_s": horizon_s, "trace_s": trace_s, "copies": copies}
        self.reward_scale, self.teacher_kl, self.learn_values_only = reward_scale, teacher_kl, learn_values_only
        self.final_ent_coef, self.ent_coef_moves_from = final_ent_coef, ent_coef_moves_from
        self.num_updates = 0
        self.stride = 1.0  # the policy's learning rate as a multiple of the schedule's
        self.teacher: SchedulingPolicy | None = None
        self.statistics: dict[str, float] = {}
        self.recent: deque[dict[str, Any]] = deque(maxlen=_RECENT)
        super().__init__(
            policy, env, rollout_buffer_class=TimedRolloutBuffer, rollout_buffer_kwargs=timing, **settings
        )  # fmt: skip
        self.clocks_s = np.zeros(self.n_envs)
        self.episodes = np.zeros(self.n_envs, np.int64)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "teacher", "recent"]

    def set_teacher(self) -> None:
        """The policy as it is becomes the one that `teacher_kl` holds on to."""
        self.teacher = copy.deepcopy(self.policy)
        self.teacher.requires_grad_(False)

    def begin(self) -> None:
        """Reset the environment, for `collect` to begin with."""
        assert self.env is not None
        self._last_obs = self.env.reset()  # type: ignore[assignment]
        self._last_episode_starts = np.ones(self.n_envs, np.bool_)
        self.clocks_s[:], self.episodes[:] = 0.0, 0
        self.rollout_buffer.rate_per_s = None  # that of other traffic, if there has been any

    def set_progress(self, remaining: float) -> None:
        """How much of the run remains, 1 to 0: schedules follow it."""
        self._current_progress_remaining = remaining

    def state(self) -> dict[str, Any]:
        """What the updates so far have made of the learner beside its weights, for `restore`."""
        return {
            "num_timesteps": self.num_timesteps,
            "num_updates": self.num_updates,
            "stride": self.stride,
            "clocks_s": self.clocks_s.copy(),
            "episodes": self.episodes.copy(),
            "episode_starts": np.asarray(self._last_episode_starts),
            "rate_per_s": self.rollout_buffer.rate_per_s,
            "recent": [dict(each) for each in self.recent],
        }

    def restore(self, state: dict[str, Any], observations: Any) -> None:
        """Go on from the `state` of a learner of the same settings; the environment has been restored."""
        self.num_timesteps, self.num_updates = state["num_timesteps"], state["num_updates"]
        self.stride = state["stride"]
        self.clocks_s, self.episodes = state["clocks_s"].copy(), state["episodes"].copy()
        self._last_episode_starts = state["episode_starts"].copy()
        self.rollout_buffer.rate_per_s = state["rate_per_s"]
        self.recent.clear()
        self.recent.extend(state["recent"])
        self._last_obs = observations

    # Collecting

    def collect_rollouts(
        self,
        env: VecEnv,
        callback: BaseCallback | None,
        rollout_buffer: TimedRolloutBuffer,  # type: ignore[override]
        n_rollout_steps: int,
        use_masking: bool = True,
    ) -> bool:
        """As MaskablePPO's, which `learn` calls; `callback` None: nobody listens."""
        self.policy.set_training_mode(False)
        rollout_buffer.reset()
        if callback is not None:
            callback.on_rollout_start()
        for _ in range(n_rollout_steps):
            self._step(env, rollout_buffer)
            if callback is not None and not callback.on_step():
                return False
        rollout_buffer.finish(self._values(self._last_obs))
        if callback is not None:
            callback.on_rollout_end()
        return True

    def collect(self) -> None:
        """Fill the buffer: `n_steps` decisions of every server."""
        assert self.env is not None
        self.collect_rollouts(self.env, None, self.rollout_buffer, self.n_steps)

    @torch.no_grad()
    def _step(self, env: VecEnv, buffer: TimedRolloutBuffer) -> None:
        observations, masks = self._last_obs, env.action_masks()  # type: ignore[attr-defined]
        seen = self._tensor(observations)
        found = self.policy.log_probs(seen, self._tensor(masks))
        actions = found.exp().multinomial(1)
        values, log_probs = self.policy.predict_values(seen).cpu().flatten(), found.gather(1, actions).cpu().flatten()
        chosen = actions.cpu().numpy()
        after, rewards, ends, infos = env.step(chosen[:, 0])
        durations_s = env.dt_s  # type: ignore[attr-defined]
        chances = 1.0 - found.max(-1).values.exp().cpu().numpy()
        buffer.note(durations_s, ends, self._last_values(ends, infos), self.clocks_s, self.episodes, chances)
        buffer.add(
            observations, chosen, rewards * self.reward_scale, self._last_episode_starts, values, log_probs,
            action_masks=masks,
        )  # fmt: skip
        self._last_obs, self._last_episode_starts = after, ends  # type: ignore[assignment]
        self.num_timesteps += env.num_envs
        self.clocks_s = np.where(ends, 0.0, self.clocks_s + durations_s)
        self.episodes = self.episodes + ends
        for place in np.flatnonzero(ends):
            self.recent.append(infos[place]["metrics"] | {"return": infos[place]["episode"]["r"]})

    def _last_values(self, ends: NDArray[np.bool_], infos: list[dict[str, Any]]) -> NDArray[np.float32]:
        """Of the observations that truncated episodes ended with; 0 elsewhere."""
        found = np.zeros(len(ends), np.float32)
        places = [place for place in np.flatnonzero(ends) if infos[place]["TimeLimit.truncated"]]
        if places:
            found[places] = self._values(np.stack([infos[place]["terminal_observation"] for place in places]))
        return found

    def _tensor(self, array: Any) -> Tensor:
        return torch.as_tensor(array, device=self.device)

    @torch.no_grad()
    def _values(self, observations: Any) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self.policy.predict_values(self._tensor(observations)).cpu().numpy()[:, 0]
        return found

    # Updating

    def train(self) -> None:
        """Update on what was collected: the values on all of it, the policy where it had a choice. Most decisions leave
        none, and would only dilute what is learnt, and cost time."""
        self.policy.set_training_mode(True)
        self._set_learning_rates()
        data = self._data()
        self._rescale(data["returns"])
        data["targets"] = (data["returns"] - self.policy.value_mean) / self.policy.value_std
        open_ = torch.nonzero(data["chances"] > _NO_CHOICE).flatten()
        found: list[dict[str, Tensor]] = []
        for _ in range(self.n_epochs):
            found += self._epoch(data, torch.arange(len(data["chances"]), device=self.device), self._value_loss)
        if self.num_updates >= self.learn_values_only and len(open_):
            self._add_teacher(data, open_)
            for _ in range(self.n_epochs):
                found += self._epoch(data, open_, self._policy_loss)
                if self._moved_too_far(found):
                    break
        self._adapt_stride(found)
        self.num_updates += 1
        self._n_updates += self.n_epochs
        self._report(found, data, len(open_))

    def _set_learning_rates(self) -> None:
        rate = self.lr_schedule(self._current_progress_remaining)
        for group, factor in zip(self.policy.optimizer.param_groups, (self.stride, 1.0), strict=True):
            group["lr"] = rate * factor

    def _adapt_stride(self, found: list[dict[str, Tensor]]) -> None:
        """Let the next update of the policy take it about as far as `target_kl` says."""
        kls = [float(each["kl"]) for each in found if "kl" in each]
        if self.target_kl is None or not kls:
            return
        kl = float(np.mean(kls[-max(len(kls) // self.n_epochs, 1) :]))
        if kl < self.target_kl / 1.5:
            self.stride = min(self.stride * 1.3, _LARGEST_STRIDE)
        elif kl > self.target_kl * 1.5:
            self.stride = max(self.stride / 1.3, 1.0 / _LARGEST_STRIDE)

    def _epoch(self, data: dict[str, Tensor], places: Tensor, loss_of: Loss) -> list[dict[str, Tensor]]:
        """Once over some of the decisions, in minibatches."""
        found: list[dict[str, Tensor]] = []
        order = places[torch.randperm(len(places)).to(self.device)]
        for batch in order.split(self.batch_size or len(order)):
            loss, figures = loss_of({name: values[batch] for name, values in data.items()})
            self.policy.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            # Apart: the errors of the values are no reason for the policy to move less.
            for parameters in self.policy.network.parameter_groups():
                nn.utils.clip_grad_norm_(parameters, self.max_grad_norm)
            self.policy.optimizer.step()
            found.append({name: value.detach() for name, value in figures.items()})
            if self._moved_too_far(found):
                break
        return found

    def _moved_too_far(self, found: list[dict[str, Tensor]]) -> bool:
        return self.target_kl is not None and "kl" in found[-1] and float(found[-1]["kl"]) > _TOO_FAR * self.target_kl

    def _data(self) -> dict[str, Tensor]:
        """Everything collected, [T N] of each."""
        buffer = self.rollout_buffer
        data = {
            "observations": buffer.observations, "masks": buffer.action_masks != 0.0,
            "actions": buffer.actions.astype(np.int64)[..., 0], "log_probs": buffer.log_probs,
            "advantages": buffer.advantages, "returns": buffer.returns, "chances": buffer.chances,
        }  # fmt: skip
        return {name: self._tensor(values).flatten(0, 1) for name, values in data.items()}

    @torch.no_grad()
    def _add_teacher(self, data: dict[str, Tensor], places: Tensor) -> None:
        """What the teacher would do, where it will be asked for."""
        if self.teacher is None or self.teacher_kl <= 0.0:
            return
        data["teacher"] = torch.zeros(data["masks"].shape, device=self.device)
        for part in places.split(4096):
            data["teacher"][part] = self.teacher.log_probs(data["observations"][part], data["masks"][part])

    def _rescale(self, returns: Tensor) -> None:
        """Let the scale of the values follow the returns."""
        momentum = 1.0 if self.num_updates == 0 else _SCALE_MOMENTUM
        policy = self.policy
        policy.value_mean += momentum * (returns.mean() - policy.value_mean)
        policy.value_std += momentum * (returns.std().clamp(min=1e-3) - policy.value_std)

    def _value_loss(self, data: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (self.policy.scaled_values(data["observations"]) - data["targets"]).square().mean()
        return self.vf_coef * loss, {"value_loss": loss}

    def _policy_loss(self, data: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        objective, figures = self._objective(data)
        return -objective, figures

    def _objective(self, data: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """What the policy is to make large, and figures of it."""
        found = self.policy.log_probs(data["observations"], data["masks"])
        logs = found.masked_fill(~data["masks"], 0.0)
        change = found.gather(1, data["actions"].unsqueeze(-1))[:, 0] - data["log_probs"]
        ratio = change.exp()
        gain = data["advantages"]
        spread = gain.std() if len(gain) > 1 else torch.zeros_like(gain)  # of what is left over, one decision may be
        gain = (gain - gain.mean()) / (spread + 1e-8)
        clip = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        surrogate = torch.min(ratio * gain, ratio.clamp(1.0 - clip, 1.0 + clip) * gain).mean()
        entropy = -(found.exp() * logs).sum(-1).mean()
        figures = {
            "kl": (ratio - 1.0 - change).mean(), "entropy": entropy,
            "clip_share": ((ratio - 1.0).abs() > clip).float().mean(),
        }  # fmt: skip
        objective = surrogate + self._entropy_weight() * entropy
        if "teacher" in data:
            teacher = data["teacher"]
            figures["teacher_kl"] = (teacher.exp() * (teacher.masked_fill(~data["masks"], 0.0) - logs)).sum(-1).mean()
            objective = objective - self.teacher_kl * figures["teacher_kl"]
        return objective, figures

    def _entropy_weight(self) -> float:
        """Now: it moves linearly, once its time has come."""
        if self.final_ent_coef is None:
            return float(self.ent_coef)
        gone = 1.0 - self._current_progress_remaining
        share = max(gone - self.ent_coef_moves_from, 0.0) / (1.0 - self.ent_coef_moves_from)
        return float(self.ent_coef + share * (self.final_ent_coef - self.ent_coef))

    def _report(self, found: list[dict[str, Tensor]], data: dict[str, Tensor], num_open: int) -> None:
        buffer = self.rollout_buffer
        names = {name for figures in found for name in figures}
        means = {name: float(torch.stack([each[name] for each in found if name in each]).mean()) for name in names}
        variance = float(data["returns"].var())
        residual = float((data["returns"] - self._tensor(buffer.values).flatten()).var())
        seconds = max(float(buffer.durations_s.sum()), 1e-9)
        self.statistics = means | {
            "explained_variance": 1.0 - residual / variance if variance > 0.0 else float("nan"),
            "reward_per_s": float(buffer.rewards.sum()) / self.reward_scale / seconds,
            "choice_share": num_open / len(data["chances"]),
            "simulated_s": seconds,
            "learning_rate": float(self.policy.optimizer.param_groups[0]["lr"]),  # the policy's
        }
