"""TimedRolloutBuffer: a rollout whose transitions have a duration, and advantages that know about time.

A step is one decision: it takes no time, or that of many iterations. SB3's buffer discounts by a constant per step, and
its MaskablePPO bootstraps a truncated episode with that same constant.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sb3_contrib.common.maskable.buffers import MaskableRolloutBuffer

Floats = NDArray[np.float32]


class TimedRolloutBuffer(MaskableRolloutBuffer):
    """With `horizon_s` H, a reward t seconds away counts exp(-t / H); None: it counts in full, less the mean reward
    rate times the duration (the average-reward criterion), where `rate_per_s` is a running estimate of that mean.

    Generalised advantage estimation (arXiv 1506.02438) with a trace of gae_lambda per step and exp(-dt / `trace_s`)
    per time: commands that take no time do not shorten what a step is made responsible for. A step that ends an episode
    by truncation is bootstrapped with the value of the observation it led to, discounted by its own duration.

    With `copies` C > 1, every C servers in a row meet the same arrivals. From each advantage the mean of those of the
    other copies at the same time of the same episode is taken away (input-dependent baseline, arXiv 1807.02264, left
    one out, so that it does not depend on the own actions).
    """

    def __init__(
        self,
        *args: Any,
        horizon_s: float | None = 30.0,
        trace_s: float = 10.0,
        copies: int = 1,
        rate_momentum: float = 0.05,
        **kwargs: Any,
    ) -> None:
        self.horizon_s, self.trace_s, self.copies = horizon_s, trace_s, copies
        self._rate_momentum = rate_momentum
        self.rate_per_s: float | None = None
        super().__init__(*args, **kwargs)

    def reset(self) -> None:
        """Empty it; the estimate of the reward rate stays."""
        super().reset()
        shape = (self.buffer_size, self.n_envs)
        self.durations_s = np.zeros(shape)
        self.last_values = np.zeros(shape, np.float32)
        self.ends = np.zeros(shape, np.bool_)
        self.clocks_s = np.zeros(shape)  # before the step
        self.episodes = np.zeros(shape, np.int64)
        self.chances = np.zeros(shape, np.float32)

    def note(
        self,
        durations_s: NDArray[np.float64],
        ends: NDArray[np.bool_],
        last_values: Floats,
        clocks_s: NDArray[np.float64],
        episodes: NDArray[np.int64],
        chances: Floats,
    ) -> None:
        """Of the step about to be added, each [N]: how long it took; whether it ended its episode, and what the last
        observation of that episode is worth (0 after a termination); the time in the episode before it; the number of
        the episode; the probability of any other command than the most probable."""
        place = self.pos
        self.durations_s[place], self.ends[place], self.last_values[place] = durations_s, ends, last_values
        self.clocks_s[place], self.episodes[place], self.chances[place] = clocks_s, episodes, chances

    @property
    def discounts(self) -> Floats:
        """What the value after a step counts before it, [T, N]."""
        if self.horizon_s is None:
            return np.ones(self.durations_s.shape, np.float32)
        return np.exp(-self.durations_s / self.horizon_s).astype(np.float32)

    def finish(self, following_values: Floats) -> None:
        """Compute `advantages` and `returns`, once every step is in; `following_values` [N] are those of the
        observations after the last."""
        next_values = np.where(self.ends, self.last_values, np.concatenate([self.values[1:], following_values[None]]))
        rewards = self.rewards
        if self.horizon_s is None:
            self._estimate_rate()
            assert self.rate_per_s is not None
            rewards = rewards - (self.rate_per_s * self.durations_s).astype(np.float32)
        discounts = self.discounts
        errors = rewards + discounts * next_values - self.values
        trace = self.gae_lambda * np.exp(-self.durations_s / self.trace_s).astype(np.float32) * discounts * ~self.ends
        following = np.zeros(self.n_envs, np.float32)
        for step in reversed(range(self.buffer_size)):
            following = errors[step] + trace[step] * following
            self.advantages[step] = following
        self.returns = self.advantages + self.values
        if self.copies > 1:
            self.advantages -= self.baseline()

    def _estimate_rate(self) -> None:
        found = float(self.rewards.sum() / max(self.durations_s.sum(), 1e-9))
        old = self.rate_per_s
        self.rate_per_s = found if old is None else old + self._rate_momentum * (found - old)

    def baseline(self) -> Floats:
        """The mean advantage of the other copies at the same time of the same episode, [T, N]; 0: there is none."""
        total, number = np.zeros_like(self.advantages), np.zeros_like(self.advantages)
        for place in range(self.n_envs):
            first = place - place % self.copies
            for other in range(first, first + self.copies):
                if other != place:
                    self._add_copy(place, other, total[:, place], number[:, place])
        return total / np.maximum(number, 1.0)

    def _add_copy(self, place: int, other: int, total: Floats, number: Floats) -> None:
        """What another copy has to say of one server's steps."""
        mine, theirs = self.episodes[:, place], self.episodes[:, other]
        for episode in np.intersect1d(mine, theirs):
            here, there = mine == episode, theirs == episode
            times_s = self.clocks_s[there, other]
            at_s = self.clocks_s[here, place]
            known = (at_s >= times_s[0]) & (at_s <= times_s[-1])
            found = np.interp(at_s, times_s, self.advantages[there, other])
            total[here] += np.where(known, found, 0.0).astype(np.float32)
            number[here] += known
