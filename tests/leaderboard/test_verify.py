"""Verify finds what was changed after a board was made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_board import SUITE, board
from typer.testing import CliRunner

from llmqgym.cli.app import app
from llmqgym.cli.contestants import make_contestant
from llmqgym.leaderboard.make import DOCUMENT
from llmqgym.leaderboard.verify import verify
from llmqgym.leaderboard.work import CELL

LITTLE = replace(SUITE, scenarios=("kv-bound",), policies=("vllm", "spjf"), stability=False)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("board")
    board(out, LITTLE)
    return out


@pytest.fixture
def copied(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "board"))


def edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, indent=2))


def a_cell(folder: Path) -> Path:
    """A stored run."""
    return next(path for path in sorted((folder / "cells").iterdir()) if json.loads(path.read_text())["kind"] == CELL)


def cli(folder: Path, *arguments: str) -> Any:
    return CliRunner().invoke(app, ["leaderboard", "verify", str(folder), *arguments])


def test_an_honest_board_holds(copied: Path) -> None:
    result = cli(copied, "--all")
    assert result.exit_code == 0
    assert "6 of 6 replayed results are the same, bit for bit." in result.stdout
    assert "note" not in result.stdout


def test_rows_are_chosen_at_random(copied: Path) -> None:
    chosen = [
        tuple(each.piece.key for each in verify(copied, make_contestant, 2, seed).replays) for seed in (1, 1, 2, 3, 4)
    ]
    assert chosen[0] == chosen[1]
    assert len(set(chosen)) > 1
    assert {len(set(keys)) for keys in chosen} == {2}


def test_a_changed_run_is_found(copied: Path) -> None:
    edit(a_cell(copied), lambda run: run["metrics"].update(mean_e2e_s=run["metrics"]["mean_e2e_s"] * (1 - 1e-15)))
    result = cli(copied, "--all")
    assert result.exit_code == 1
    assert "5 of 6 replayed results are the same" in result.stdout
    assert "metrics.mean_e2e_s" in result.stdout


def test_a_changed_run_with_a_board_to_match_is_found(copied: Path) -> None:
    edit(a_cell(copied), lambda run: run["metrics"].update(p99_e2e_s=0.1))
    board(copied, LITTLE)  # which does nothing again, and writes the document of what is stored
    verdict = verify(copied, make_contestant, None)
    assert not verdict.misread
    assert [replay.differences for replay in verdict.replays if replay.differences] == [["metrics.p99_e2e_s"]]
    assert not verdict.holds


def test_a_changed_board_is_found(copied: Path) -> None:
    def change(document: dict[str, Any]) -> None:
        document["cells"][1]["metrics"]["mean_ttft_s"]["mean"] = 0.001

    edit(copied / DOCUMENT, change)
    verdict = verify(copied, make_contestant, 1)
    assert not verdict.holds
    assert verdict.misread == ["cells: kv-bound, spjf: metrics.mean_ttft_s"]
    assert cli(copied, "--rows", "1").exit_code == 1


def test_a_removed_row_is_found(copied: Path) -> None:
    edit(copied / DOCUMENT, lambda document: document["cells"].pop())
    assert verify(copied, make_contestant, 1).misread == ["cells: 1 rows, the runs make 2"]


def test_other_sources_are_said_first(copied: Path) -> None:
    edit(copied / DOCUMENT, lambda document: document.update(dynamics="of another version"))
    result = cli(copied, "--rows", "1")
    assert result.stdout.splitlines()[0].startswith("note: the sources that determine results are others")
    assert result.exit_code == 0  # other sources, the same bits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: a_cell(folder).unlink(), "1 of 6 pieces are missing"),
        (lambda folder: (folder / DOCUMENT).write_text("[]"), "not the document of a leaderboard"),
        (lambda folder: (folder / DOCUMENT).write_text("{"), "cannot be read"),
        (lambda folder: a_cell(folder).write_text("{}"), "not the piece"),
        (
            lambda folder: edit(folder / DOCUMENT, lambda d: d["settings"].update(num_sedes=1)),
            "did you mean 'num_seeds'",
        ),
    ],
)
def test_a_board_that_is_not_whole_is_refused(copied: Path, change: Callable[[Path], None], message: str) -> None:
    change(copied)
    result = cli(copied)
    assert result.exit_code == 2
    assert message in result.stderr
