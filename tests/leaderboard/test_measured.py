"""The measured set and the figures over it, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmqgym.hardware import load_profile
from llmqgym.kernel.tables import DEPARTURE, PS_PER_S, Status
from llmqgym.leaderboard.measured import counted_of, digest, figures, measured_rows, total_of
from llmqgym.metrics.alone import AloneTimes

S = PS_PER_S


def departures() -> np.ndarray:
    """Twelve requests, a second apart: ten count, the first is warm-up. Each is done after its number in seconds, the
    first token after half of that; request 3 is rejected, request 8 has its first token and does not finish, request 9
    has not even that. They leave in another order than they came in."""
    rows = np.zeros(12, DEPARTURE)
    rows["id"] = np.arange(12)
    rows["arrival_ps"] = rows["id"] * S
    rows["first_scheduled_ps"] = rows["arrival_ps"]
    rows["first_token_ps"] = rows["arrival_ps"] + rows["id"] * S // 2
    rows["finish_ps"] = rows["arrival_ps"] + rows["id"] * S
    rows["prompt_tokens"], rows["output_tokens"] = 1, 3
    rows["status"] = Status.FINISHED
    for name in ("ttft", "tpot", "e2e"):
        rows[f"{name}_limit_ps"] = -1
    rows["e2e_limit_ps"] = 5 * S
    rows["status"][3] = Status.REJECTED
    rows["status"][[8, 9]] = Status.UNFINISHED
    rows["finish_ps"][[3, 8, 9]] = -1
    rows["first_token_ps"][[3, 9]] = -1
    return rows[::-1].copy()


def measured(clock_s: int = 40) -> dict:
    alone = AloneTimes(load_profile("constant:iteration_ms=100").to_integers(16), 2048)
    return figures(departures(), 10, clock_s * S, alone)


def test_hand_example() -> None:
    found = measured()
    e2e = [1, 2, 4, 5, 6, 7, 40 - 8, 40 - 9]  # 1 to 9 without the rejected 3; the unfinished with their age
    ttft = [0.5, 1, 2, 2.5, 3, 3.5, 4, 40 - 9]
    metrics = found["metrics"]
    assert (found["num_measured"], found["num_finished"], found["num_unfinished"], found["num_rejected"]) == (
        8,
        6,
        2,
        1,
    )
    assert metrics["mean_e2e_s"] == pytest.approx(np.mean(e2e))
    assert metrics["p99_e2e_s"] == pytest.approx(np.percentile(e2e, 99))
    assert metrics["mean_ttft_s"] == pytest.approx(np.mean(ttft))
    assert metrics["mean_tpot_s"] == pytest.approx(np.mean([1, 2, 4, 5, 6, 7]) / 2 / 2)  # half of it, two gaps
    assert metrics["mean_slowdown"] == pytest.approx(np.mean(e2e) / 0.3)  # alone: three passes of 100 ms
    assert metrics["requests_per_s"] == pytest.approx(6 / 39)  # from 1 s to the end
    assert metrics["goodput_requests_per_s"] == pytest.approx(4 / 39)  # 1, 2, 4, 5
    assert found["quantiles"]["e2e_s"][50] == pytest.approx(np.median(e2e))
    assert found["num_late"] == 4  # done after the last arrival at 11 s: 6 at 12 s, 7 at 14 s, and the unfinished


def test_the_order_of_leaving_changes_nothing() -> None:
    rows = departures()
    shuffled = rows[np.random.default_rng(0).permutation(len(rows))]
    assert digest(rows) == digest(shuffled)
    shuffled["finish_ps"][0] += 1
    assert digest(rows) != digest(shuffled)


@settings(max_examples=300)
@given(st.integers(1, 10**7))
def test_counted_and_total_are_inverse(num: int) -> None:
    assert counted_of(total_of(num)) == num
    assert total_of(counted_of(num)) <= num < total_of(counted_of(num) + 1)


def test_the_first_tenth_is_warm_up() -> None:
    assert measured_rows(10_000) == slice(1000, 10_000)
    assert measured_rows(15) == slice(2, 15)
