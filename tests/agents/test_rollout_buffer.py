"""Advantages that know about time, against sums written down one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

WHY = "torch and Stable-Baselines3 are not installed: the extra [train], which `make test-train` installs"
pytest.importorskip("torch", reason=WHY)
pytest.importorskip("sb3_contrib", reason=WHY)

from agents.rollout_buffer import TimedRolloutBuffer  # noqa: E402

STEPS, NUM = 12, 6


def filled(rng: np.random.Generator, **settings: Any) -> tuple[TimedRolloutBuffer, dict[str, np.ndarray], np.ndarray]:
    """A buffer of random transitions, in which episodes end by termination and by truncation."""
    buffer = TimedRolloutBuffer(
        STEPS, spaces.Box(0.0, 1.0, (3,)), spaces.Discrete(4), "cpu", n_envs=NUM, **settings
    )  # fmt: skip
    buffer.reset()
    clocks, episodes = np.zeros(NUM), np.zeros(NUM, np.int64)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in ("rewards", "values", "dt", "ends", "last", "clock")}
    for _ in range(STEPS):
        rewards, values = rng.normal(size=NUM).astype(np.float32), rng.normal(size=NUM).astype(np.float32)
        dt = np.where(rng.random(NUM) < 0.4, 0.0, rng.exponential(2.0, NUM))
        ends = rng.random(NUM) < 0.2
        last = np.where(ends & (rng.random(NUM) < 0.5), rng.normal(size=NUM), 0.0).astype(np.float32)
        for name, each in (("rewards", rewards), ("values", values), ("dt", dt), ("ends", ends), ("last", last)):
            drawn[name].append(each)
        drawn["clock"].append(clocks.copy())
        import torch

        buffer.note(dt, ends, last, clocks, episodes, np.zeros(NUM, np.float32))
        buffer.add(
            np.zeros((NUM, 3)), np.zeros((NUM, 1)), rewards, np.zeros(NUM), torch.as_tensor(values), torch.zeros(NUM),
            action_masks=np.ones((NUM, 4)),
        )  # fmt: skip
        clocks, episodes = np.where(ends, 0.0, clocks + dt), episodes + ends
    following = rng.normal(size=NUM).astype(np.float32)
    buffer.finish(following)
    return buffer, {name: np.array(values) for name, values in drawn.items()}, following


def naive(drawn: dict[str, np.ndarray], following: np.ndarray, place: int, horizon_s: float, decay: Any) -> list[float]:
    """The generalised advantages of one server by their definition, a sum over all that follows."""
    found = []
    for start in range(STEPS):
        total, weight = 0.0, 1.0
        for step in range(start, STEPS):
            dt, ends = drawn["dt"][step, place], drawn["ends"][step, place]
            after = drawn["values"][step + 1, place] if step + 1 < STEPS else following[place]
            after = drawn["last"][step, place] if ends else after
            discount = np.exp(-dt / horizon_s)
            total += weight * (drawn["rewards"][step, place] + discount * after - drawn["values"][step, place])
            if ends:
                break
            weight *= discount * decay(dt)
        found.append(total)
    return found


def test_advantages_are_the_sums_of_their_definition() -> None:
    rng = np.random.default_rng(1)
    buffer, drawn, following = filled(rng, horizon_s=5.0, trace_s=3.0, gae_lambda=0.9)
    wanted = [naive(drawn, following, place, 5.0, lambda dt: 0.9 * np.exp(-dt / 3.0)) for place in range(NUM)]
    np.testing.assert_allclose(buffer.advantages, np.array(wanted).T, rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(buffer.returns, buffer.advantages + drawn["values"], rtol=1e-5, atol=1e-6)


def test_with_a_full_trace_returns_are_discounted_by_time_and_bootstrapped_where_truncated() -> None:
    """exp(-t / H) of the time between, whatever the number of decisions; a truncation with its own duration."""
    buffer, drawn, following = filled(np.random.default_rng(2), horizon_s=4.0, trace_s=1e12, gae_lambda=1.0)
    for place in range(NUM):
        for start in range(STEPS):
            total, time = 0.0, 0.0
            for step in range(start, STEPS):
                total += np.exp(-time / 4.0) * drawn["rewards"][step, place]
                time += drawn["dt"][step, place]
                if drawn["ends"][step, place]:
                    total += np.exp(-time / 4.0) * drawn["last"][step, place]
                    break
            else:
                total += np.exp(-time / 4.0) * following[place]
            assert buffer.returns[start, place] == pytest.approx(total, rel=2e-4, abs=2e-5)


def test_the_average_reward_takes_the_mean_rate_away() -> None:
    buffer, drawn, _ = filled(np.random.default_rng(3), horizon_s=None, trace_s=1e12, gae_lambda=1.0)
    rate = drawn["rewards"].sum() / drawn["dt"].sum()
    assert buffer.rate_per_s == pytest.approx(rate, rel=1e-5)
    place = int(np.argmax(drawn["ends"].any(axis=0)))
    end = int(np.argmax(drawn["ends"][:, place]))
    total = (drawn["rewards"][: end + 1, place] - rate * drawn["dt"][: end + 1, place]).sum() + drawn["last"][
        end, place
    ]
    assert buffer.returns[0, place] == pytest.approx(total, rel=1e-4, abs=1e-4)


def test_copies_are_compared_at_the_same_time_of_the_same_episode() -> None:
    """Two copies; the second one's advantages are read off, between its steps, where the first one's steps lie."""
    rng = np.random.default_rng(4)
    buffer, drawn, _ = filled(rng, horizon_s=5.0, copies=2)
    plain, again, _ = filled(np.random.default_rng(4), horizon_s=5.0, copies=1)
    np.testing.assert_array_equal(drawn["rewards"], again["rewards"])
    taken = plain.advantages - buffer.advantages
    compared = 0
    for place in range(NUM):
        other = place + 1 if place % 2 == 0 else place - 1
        for step in range(STEPS):
            same = plain.episodes[:, other] == plain.episodes[step, place]
            times, at = plain.clocks_s[same, other], plain.clocks_s[step, place]
            if not same.any() or not times[0] <= at <= times[-1]:
                assert taken[step, place] == pytest.approx(0.0, abs=1e-6)
                continue
            compared += 1
            after = int(np.searchsorted(times, at, side="right"))
            low = plain.advantages[same, other][after - 1]
            if after < len(times) and times[after] > times[after - 1]:
                high, share = plain.advantages[same, other][after], (at - times[after - 1]) / np.diff(times)[after - 1]
                low = low + share * (high - low)
            if (times == at).sum() <= 1:  # where several decisions share a time, any of them will do
                assert taken[step, place] == pytest.approx(low, rel=1e-4, abs=1e-5)
    assert compared > STEPS
