"""`llmqgym validate` and `llmqgym theory`: what they print, write and refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from llmqgym.cli import theory as theory_command
from llmqgym.cli.app import app
from llmqgym.kernel.jit import COMPILED
from llmqgym.validation import Measured, checks_of
from llmqgym.validation import run as running
from llmqgym.validation.check import Check

compiled = pytest.mark.skipif(not COMPILED, reason="so many jobs take minutes in plain Python")


def cli(*args: object) -> Result:
    return CliRunner().invoke(app, [str(arg) for arg in args])


@compiled
def test_validate_writes_what_it_shows(tmp_path: Path) -> None:
    page, out = tmp_path / "v.md", tmp_path / "v.json"
    result = cli("validate", "--quick", "--only", "multi-bin,unit-rounds", "--markdown", page, "--json", out)
    assert result.exit_code == 0, result.output
    checks = checks_of(["multi-bin", "unit-rounds"], quick=True)
    assert f"{len(checks)} ok, 0 outside, 0 not run" in result.stdout
    document = json.loads(out.read_text())
    assert [row["name"] for row in document["checks"]] == [check.name for check in checks]
    assert document["command"] == f"llmqgym validate --quick --only multi-bin,unit-rounds --markdown {page}"
    assert page.read_text().count("| ok |") == len(checks)


def test_validate_ends_with_1_where_something_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Check("bounds", "wrong on purpose", "nowhere", 1.0, 0.0, lambda quick: Measured(2.0))
    monkeypatch.setattr(running, "run_checks", lambda checks, quick, **_: [running.make(wrong, quick)])
    result = cli("validate", "--only", "bounds")
    assert result.exit_code == 1
    assert "outside bounds: wrong on purpose (nowhere): 1 from what is expected, allowed 0" in result.stdout


def test_validate_lists_its_groups() -> None:
    result = cli("validate", "--list")
    assert result.exit_code == 0
    assert "token-rounds" in result.stdout
    assert str(len(checks_of(["textbook"]))) in result.stdout
    assert "did you mean 'vllm'" in cli("validate", "--only", "vlm").stderr


@compiled
def test_theory_prints_formula_and_simulation_side_by_side() -> None:
    result = cli(
        "theory", "--law", "exp", "--predictor", "exponential", "--load", 0.7, "--policy", "sprpt,trail:cutoff=0.5",
        "--policy", "sprpt-bounce", "--simulate", 100_000, "--json", "-",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    sprpt, trail, bounce = document["policies"]
    for row in (sprpt, trail):
        assert row["verdict"] == "agree"
        assert abs(row["simulated"] - row["formula"]) <= 2 * row["half_width_95"] < 0.04 * row["formula"]
    assert trail["policy_spec"] == "trail:c=0.5,mode=hold"
    assert bounce["formula"] is None
    assert bounce["verdict"] == "nothing to compare"
    assert bounce["simulated"] < sprpt["simulated"]


def test_theory_of_a_formula_alone() -> None:
    result = cli("theory", "--load", 0.5, "--policy", "fcfs,one-bit:variant=in-order,threshold=2", "--simulate", 0)
    assert result.exit_code == 0, result.output
    assert "2.0000" in result.stdout
    assert "one-bit:threshold=2,variant=in-order" in result.stdout


@compiled
def test_theory_says_that_jobs_are_too_few() -> None:
    result = cli("theory", "--law", "lognormal:sigma=2.5", "--load", 0.95, "--policy", "fcfs", "--simulate", 2000)
    assert "too few jobs" in result.stdout
    assert "N is too small for its interval to be trusted" in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--law", "expnential"), "did you mean 'exponential'"),
        (("--policy", "srtp"), "did you mean 'srpt'"),
        (("--policy", "trail:cutof=1"), "did you mean 'cutoff'"),
        (("--policy", "one-bit:variant=frnt"), "did you mean 'front'"),
        (("--predictor", "uniform:b=1"), "unknown setting"),
        (("--load", "1"), "load is 1"),
        (("--simulate", "10"), "from 1000"),
        (("--policy", "trail:cutoff=2"), "cutoff of trail is 2"),
    ],
)
def test_theory_refuses(options: tuple[str, str], message: str) -> None:
    result = cli("theory", *options)
    assert result.exit_code == 2
    assert message in result.stderr


def test_lists_of_policies_are_told_from_settings() -> None:
    given = ["srpt,one-bit:threshold=1,variant=front,fcfs", "las"]
    assert theory_command._specs(given) == ["srpt", "one-bit:threshold=1,variant=front", "fcfs", "las"]
