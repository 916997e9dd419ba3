"""Which look at the held-out requests was the best, by hand."""

from __future__ import annotations

import math

import pytest

from agents.looks import best_baseline, score

NAN = float("nan")


def look(**parts: list[float]) -> dict[str, object]:
    return {"figures": {part: {"mean_e2e_s": values, "requests_per_s": values} for part, values in parts.items()}}


def figures(**specs: list[float]) -> dict[str, dict[str, list[float]]]:
    return {spec: {"mean_e2e_s": values, "requests_per_s": values} for spec, values in specs.items()}


def test_beside_the_best_baseline_of_each_part() -> None:
    """chat: 3 beside 2 (and not 8), code: 1 beside 4."""
    baselines = {"chat": figures(vllm=[4.0, 12.0], spjf=[1.0, 3.0]), "code": figures(vllm=[4.0])}
    found = score(look(chat=[2.0, 4.0], code=[1.0]), baselines, "mean_e2e_s")
    assert found == pytest.approx((3.0 / 2.0 + 1.0 / 4.0) / 2.0)
    found = score(look(chat=[2.0, 4.0], code=[1.0]), baselines, "requests_per_s")
    assert found == pytest.approx((8.0 / 3.0 + 4.0 / 1.0) / 2.0)
    assert best_baseline(baselines["chat"], "mean_e2e_s") == "spjf"
    assert best_baseline(baselines["chat"], "requests_per_s") == "vllm"


def test_without_baselines_the_figure_itself() -> None:
    assert score(look(chat=[2.0, 4.0], code=[1.0]), {}, "mean_e2e_s") == 2.0
    assert score(look(chat=[2.0, 4.0]), {}, "requests_per_s") < score(look(chat=[2.0, 3.0]), {}, "requests_per_s")


@pytest.mark.parametrize("figure", ["mean_e2e_s", "requests_per_s"])
def test_who_lets_nobody_finish_is_never_the_best(figure: str) -> None:
    baselines = {"chat": figures(vllm=[1.0], hopeless=[NAN])}
    assert score(look(chat=[NAN, 1.0]), baselines, figure) == math.inf
    assert score(look(chat=[1.0]), baselines, figure) == 1.0
    assert score(look(chat=[0.0]), baselines, "requests_per_s") == math.inf
