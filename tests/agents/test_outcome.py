"""The table of several runs, by hand."""

from __future__ import annotations

import pytest

from agents.outcome import COLUMNS, outcome_of, table_of
from agents.statistics import interval

BASELINES = {
    "chat": {"vllm": {"mean_e2e_s": [4.0, 4.0]}, "spjf": {"mean_e2e_s": [2.0, 2.0]}},
    "code": {"vllm": {"mean_e2e_s": [1.0, 1.0]}},
}


def look(chat: list[float], code: list[float]) -> dict[str, object]:
    return {"steps": 1000, "figures": {"chat": {"mean_e2e_s": chat}, "code": {"mean_e2e_s": code}}}


def test_rows_are_the_runs_by_scenario_and_then_their_means() -> None:
    first = outcome_of("a-1", look([1.0, 3.0], [1.0, 1.0]), BASELINES, "mean_e2e_s", 90.0)
    second = outcome_of("a-2", look([1.0, 1.0], [1.2, 1.2]), BASELINES, "mean_e2e_s", 30.0)
    rows = table_of([first, second])
    assert all(len(row) == len(COLUMNS) for row in rows)
    assert [row[:2] for row in rows] == [
        ("a-1", "chat"), ("a-1", "code"), ("a-2", "chat"), ("a-2", "code"), ("mean of 2", "chat"), ("mean of 2", "code")
    ]  # fmt: skip
    assert rows[0][2:] == ("1,000", "2.000", "spjf", "+0.00%", "[-635.31%, +635.31%]", "1.5")
    assert rows[3][3:6] == ("1.200", "vllm", "+20.00%")
    # means 2 and 1: 1.5 -+ 12.706 * 0.7071 / sqrt 2; differences 0 and -50 %
    assert rows[4][3:7] == ("1.500 [-4.853, 7.853]", "spjf", "-25.00%", "[-342.66%, +292.66%]")
    assert table_of([first]) == rows[:2]


def test_without_baselines_there_is_no_difference() -> None:
    found = outcome_of("a", look([1.0, 3.0], [1.0, 1.0]), {}, "mean_e2e_s", 0.0)
    rows = [row[3:7] for row in table_of([found, found])]
    assert rows[::2] == [("2.000", "-", "-", "-"), ("2.000", "-", "-", "-"), ("2.000 [2.000, 2.000]", "-", "-", "-")]


def test_student_of_a_textbook() -> None:
    """His sleep data (Biometrika 6, 1908): of ten patients; the interval is what R's help of t.test has."""
    mean, low, high = interval([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
    assert (mean, low, high) == pytest.approx((1.58, 0.7001142, 2.4598858))
