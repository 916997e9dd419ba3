"""Suites: the shipped ones, and what is refused before any work is done."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_board import SUITE

from baselines.registry import POLICIES, real_name
from llmqgym.cli.contestants import make_contestant
from llmqgym.errors import InputError
from llmqgym.leaderboard.arena import arenas_of
from llmqgym.leaderboard.plan import plan_of
from llmqgym.leaderboard.suite import FIRST_SEED, Suite, load_suite, read_settings, shipped_suites


def refused(**settings: object) -> str:
    with pytest.raises(InputError) as error:
        read_settings({"name": "mine", "scenarios": ["chat"], **settings})
    return str(error.value)


def test_default_is_what_was_asked_for() -> None:
    suite = load_suite("default")
    policies = [spec for spec in suite.policies if not make_contestant(spec).oracle]
    assert len(policies) == 20
    assert len(suite.scenarios) == 8
    assert (suite.num_seeds, suite.num_requests) == (10, 10_000)


def test_full_has_every_policy() -> None:
    assert shipped_suites() == ["default", "full", "quick"]
    assert {real_name(spec) for spec in load_suite("full").policies} == set(POLICIES)


@pytest.mark.parametrize(
    "name", ["quick", *(pytest.param(name, marks=pytest.mark.slow) for name in ("default", "full"))]
)
def test_shipped_suites_make_plans(name: str) -> None:
    plan = plan_of(load_suite(name), make_contestant)
    assert len({piece.key for piece in plan.pieces}) == len(plan.pieces)
    nowhere = {each.spec for each in plan.contestants if not any(plan.cell(arena, each.spec) for arena in plan.arenas)}
    assert nowhere == ({"sglang-lpm", "a-max", "a-min"} if name == "full" else set())  # prefixes, intervals


def test_unknown_keys_and_names_are_refused() -> None:
    assert "did you mean 'num_seeds'" in refused(num_seed=3)
    assert "num_seeds is '3'" in refused(num_seeds="3")
    assert "given twice" in refused(policies=["vllm", "vllm"])
    with pytest.raises(InputError, match="did you mean 'quick'"):
        load_suite("quik")
    with pytest.raises(InputError, match="did you mean 'vllm'"):
        plan_of(Suite("mine", scenarios=("chat",), policies=("vlm",)), make_contestant)
    with pytest.raises(InputError, match="unknown scenario 'chatt'"):
        arenas_of(Suite("mine", scenarios=("chatt",)))
    with pytest.raises(InputError, match="unknown predictor"):
        arenas_of(Suite("mine", scenarios=("chat",), predictor="lognorml"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_seeds": 0}, "seeds"),
        ({"num_requests": 0}, "num_requests"),
        ({"loads": [0.0]}, "rho"),
        ({"scenarios": []}, "one of the two"),
        ({"trace": "a.csv"}, "one of the two"),
    ],
)
def test_values_out_of_bounds_are_refused(settings: dict, message: str) -> None:
    assert message in refused(**settings)


def test_settings_are_read_back() -> None:
    assert read_settings(SUITE.settings()) == SUITE


def test_predictors_in_their_order() -> None:
    """The one asked for, else the scenario's own, else the usual one."""
    usual, other = "lognormal:sigma=0.5", "perfect"
    suite = Suite("mine", scenarios=("chat", "noisy-1"), usual_predictor=usual)
    assert [arena.scenario.predictor for arena in arenas_of(suite)] == [usual, "lognormal:sigma=1"]
    asked = Suite("mine", scenarios=("chat", "noisy-1"), usual_predictor=usual, predictor=other)
    assert [arena.scenario.predictor for arena in arenas_of(asked)] == [other, other]


def test_several_loads_are_several_arenas() -> None:
    arenas = arenas_of(Suite("mine", scenarios=("chat",), loads=(0.5, 0.9)))
    assert [arena.name for arena in arenas] == ["chat@0.5", "chat@0.9"]
    rates = [arena.scenario.workload.rate_per_s for arena in arenas]
    assert rates[1] / rates[0] == pytest.approx(0.9 / 0.5)
    assert arenas[0].seeds[0] == FIRST_SEED


def trace(path: Path, num: int) -> Path:
    lines = [f"{0.1 * row},{10 + row % 7},{5 + row % 11}" for row in range(num)]
    path.write_text("arrival_time_s,prompt_tokens,output_tokens\n" + "\n".join(lines) + "\n")
    return path


def test_a_trace_is_cut_into_windows(tmp_path: Path) -> None:
    file = trace(tmp_path / "mine.csv", 3000)
    (arena,) = arenas_of(Suite("trace", trace=str(file), num_seeds=5))
    assert (arena.name, arena.seeds, arena.num_counted) == ("mine", (0, 1), 1250)
    first, second = (arena.workload(seed).requests for seed in arena.seeds)
    assert len(first) == len(second) == 1500
    assert second["arrival_ps"][0] == 0
    assert second["prompt_tokens"].tolist() == [10 + row % 7 for row in range(1500, 3000)]


def test_a_short_trace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give at least 1200"):
        arenas_of(Suite("trace", trace=str(trace(tmp_path / "mine.csv", 500))))


def test_a_moved_trace_is_the_same_arena(tmp_path: Path) -> None:
    a, b = trace(tmp_path / "a.csv", 1300), trace(tmp_path / "b.csv", 1300)
    prints = [arenas_of(Suite("trace", trace=str(file)))[0].fingerprint() for file in (a, b)]
    assert prints[0] == prints[1]
    c = tmp_path / "c.csv"
    c.write_text(b.read_text().replace("\n0.2,12,7\n", "\n0.2,12,8\n"))
    assert arenas_of(Suite("trace", trace=str(c)))[0].fingerprint() not in prints
