"""Runs beside each other write what each writes alone; what fails or is killed ends no other; train.py's options."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

WHY = "torch and Stable-Baselines3 are not installed: the extra [train], which `make test-train` installs"
pytest.importorskip("torch", reason=WHY)
pytest.importorskip("sb3_contrib", reason=WHY)
pytest.importorskip("tensorboard", reason=WHY)

from scripts import load_script  # noqa: E402
from small_runs import OWNER, TOML, breaks, kills, refuses, small_config, what_lies_in  # noqa: E402

from agents.jobs import Job, do, do_all  # noqa: E402
from agents.outcome import Outcome  # noqa: E402
from agents.telling import Teller  # noqa: E402
from baselines.registry import make_policy  # noqa: E402
from llmqgym.errors import InputError  # noqa: E402
from llmqgym.kernel.jit import COMPILED  # noqa: E402

if not COMPILED:
    pytest.skip("learning in plain Python takes too long", allow_module_level=True)


@pytest.fixture(scope="module")
def train() -> ModuleType:
    """train.py, which is no part of a package."""
    return load_script("train.py")


def call(train: ModuleType, monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["train.py", *map(str, words)])
    code: int = train.main()
    return code


def test_seeds_side_by_side_write_what_each_writes_alone(
    train: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "small.toml").write_text(TOML)
    where = ("--config", tmp_path / "small.toml", "--runs", tmp_path, "--device", "cpu")
    assert call(train, monkeypatch, *where, "--seeds", "1,2", "--jobs", 2, "--name", "beside") == 0
    lines = capfd.readouterr().out.splitlines()
    for seed in (1, 2):
        said: list[str] = []
        outcome = do(Job(small_config(seed), tmp_path / f"alone-{seed}", make_policy, "cpu"), Teller(said.append))
        alone, beside = (what_lies_in(tmp_path / f"{name}-{seed}") for name in ("alone", "beside"))
        assert alone == beside
        looks = [line.removeprefix(f"beside-{seed}: ") for line in lines if line.startswith(f"beside-{seed}: ")]
        assert [line for line in looks if "done in" not in line] == [
            line.removeprefix(f"alone-{seed}: ") for line in said if "done in" not in line
        ]
        row = next(line for line in lines if line.startswith(f"beside-{seed} "))
        assert f"{outcome.means['kv-bound']:.3f}" in row
        assert f"{outcome.num_decisions:,}" in row
    assert what_lies_in(tmp_path / "beside-1")["weights"] != what_lies_in(tmp_path / "beside-2")["weights"]
    assert lines[-1].startswith("mean of 2")
    assert call(train, monkeypatch, *where, "--seeds", "3,2", "--name", "beside") == 2
    assert "beside-2 is there already" in capfd.readouterr().err
    assert not (tmp_path / "beside-3").exists()


def test_what_fails_or_is_killed_ends_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OWNER, str(os.getpid()))
    makers = (kills, refuses, breaks, make_policy)
    jobs = [Job(small_config(1), tmp_path / make.__name__, make, "cpu") for make in makers]
    told: list[int] = []
    killed, refused, broken, done = do_all(jobs, processes=2, on_ended=lambda place, found: told.append(place))
    assert isinstance(killed, RuntimeError)
    assert "-9" in str(killed)
    assert isinstance(refused, InputError)
    assert "no such file" in str(refused)
    assert isinstance(broken, RuntimeError)
    assert "ZeroDivisionError: by nought" in str(broken)
    assert isinstance(done, Outcome)
    assert (tmp_path / "make_policy" / "small.safetensors").is_file()
    assert sorted(told) == [0, 1, 2, 3]


def test_a_run_killed_before_its_first_checkpoint_is_gone_on_with_from_its_beginning(
    train: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(small_config(1), tmp_path / "whole", make_policy, "cpu")
    do(job, Teller(lambda line: None))
    begun = tmp_path / "begun"
    begun.mkdir()
    (begun / "config.json").write_bytes((job.folder / "config.json").read_bytes())
    assert train.go_on(Job(job.config, begun, make_policy)) == f"go on with:  python train.py --resume {begun}"
    assert call(train, monkeypatch, "--resume", begun, "--device", "cpu") == 0
    assert what_lies_in(begun) == what_lies_in(job.folder)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--seeds", "1,1"), "each seed once"),
        (("--seeds", "1,b"), "whole numbers"),
        (("--seeds", "1,2", "--seed", "3"), "one of the two"),
        (("--seeds", "1,2", "--jobs", "0"), "--jobs is 0"),
        (("--seeds", "1,9999999"), "seed is 9999999"),
        (("--scenario", "chatt"), "'chat'"),
        (("--num-envs", "9"), "multiple"),
        (("--resume", "runs/x"), "--config FILE to begin"),
    ],
)
def test_options_that_do_not_go_are_refused_before_anything_is_made(
    words: tuple[str, ...],
    complaint: str,
    train: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "small.toml").write_text(TOML)
    assert call(train, monkeypatch, "--config", tmp_path / "small.toml", "--runs", tmp_path / "runs", *words) == 2
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_run_is_resumed_as_it_began(
    train: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(train, monkeypatch, "--resume", tmp_path, "--seeds", "1,2") == 2
    assert "--seeds with --resume" in capsys.readouterr().err
    assert call(train, monkeypatch, "--resume", tmp_path) == 2
    assert "not the folder of a run" in capsys.readouterr().err
