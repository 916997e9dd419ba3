"""The statistics of a board against scipy's, and the coverage of its intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from llmqgym.leaderboard.statistics import NUM_BOOTSTRAPS, improvement, interval, iqm, iqm_interval, mean_of, ranks


def strata(seed: int, num: int = 6, runs: int = 10) -> list[np.ndarray]:
    """Ratios to a reference in several scenarios, each with a level of its own."""
    rng = np.random.default_rng(seed)
    return [rng.lognormal(rng.normal(0, 0.3), 0.1, runs) for _ in range(num)]


def test_interval_is_student_s() -> None:
    values = np.random.default_rng(0).normal(5, 2, 7)
    found = interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), rel=1e-12)


def test_one_value_has_no_interval() -> None:
    assert interval([3.0]) == {"mean": 3.0, "low": None, "high": None}
    assert interval([]) == {"mean": None, "low": None, "high": None}


def test_figures_that_some_runs_lack_are_counted() -> None:
    assert "num_runs" not in mean_of([1.0, 2.0])
    assert mean_of([1.0, None, 3.0])["num_runs"] == 2


def test_intervals_hold_as_often_as_they_say() -> None:
    """2,000 intervals of 10 normal values: 95 % hold the mean, give or take four deviations of a binomial."""
    rng = np.random.default_rng(1)
    found = [interval(rng.normal(1, 1, 10)) for _ in range(2000)]
    held = np.mean([each["low"] <= 1 <= each["high"] for each in found])
    assert abs(held - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)


def test_ranks_are_paired_t_tests() -> None:
    rng = np.random.default_rng(2)
    common = rng.normal(0, 5, 8)
    samples = [common + rng.normal(level, 0.5, 8) for level in (0, 0.2, 1, 1, 3)]
    surely = np.array([[stats.ttest_rel(a, b, alternative="less").pvalue < 0.025 for b in samples] for a in samples])
    expected = [(1 + surely[:, i].sum(), 5 - surely[i].sum()) for i in range(5)]
    assert ranks(samples) == expected
    assert len(set(expected)) > 2


def test_equal_samples_and_single_runs_tie() -> None:
    assert ranks([[1.0, 2.0], [1.0, 2.0]]) == [(1, 2), (1, 2)]
    assert ranks([[1.0], [5.0], [9.0]]) == [(1, 3)] * 3
    assert ranks([]) == []


def test_a_constant_advantage_is_sure() -> None:
    assert ranks([[1.0, 7.0, 3.0], [2.0, 8.0, 4.0]]) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("num", [4, 5, 6, 7, 80])
def test_iqm_is_a_trimmed_mean(num: int) -> None:
    values = np.random.default_rng(num).lognormal(0, 1, num)
    assert iqm(values) == pytest.approx(stats.trim_mean(values, 0.25), rel=1e-14)


def test_iqm_interval_is_a_stratified_bootstrap() -> None:
    given = strata(3)

    def statistic(*drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        return stats.trim_mean(np.concatenate(drawn, axis=axis), 0.25, axis=axis)

    theirs = stats.bootstrap(
        given, statistic, n_resamples=20_000, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    ours = iqm_interval(given)
    close = 0.1 * (theirs.high - theirs.low)  # a percentile of 2,000 draws errs by some 3 % of the width
    assert ours["low"] == pytest.approx(theirs.low, abs=close)
    assert ours["high"] == pytest.approx(theirs.high, abs=close)
    assert ours["mean"] == iqm(np.concatenate(given))
    assert NUM_BOOTSTRAPS == 2000


def test_strata_are_drawn_within_themselves() -> None:
    """Constant strata have no spread, however far apart they are."""
    found = iqm_interval([np.full(5, 1.0), np.full(5, 2.0), np.full(5, 30.0), np.full(5, 4.0)])
    assert found["low"] == found["mean"] == found["high"] == 3.0


def test_improvement_counts_pairs() -> None:
    found = improvement([np.array([0.5, 0.9, 1.0, 1.2]), np.array([0.9, 0.9])])
    assert found["mean"] == pytest.approx(((1 + 1 + 0.5 + 0) / 4 + 1) / 2)
    given = strata(4)
    theirs = stats.bootstrap(
        given,
        lambda *drawn, axis=-1: np.mean([(each < 1).mean(axis=axis) for each in drawn], axis=0),
        n_resamples=20_000, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    ours = improvement(given)
    assert (ours["low"], ours["high"]) == pytest.approx((theirs.low, theirs.high), abs=0.02)


def test_the_same_runs_give_the_same_interval() -> None:
    assert iqm_interval(strata(5)) == iqm_interval(strata(5))
