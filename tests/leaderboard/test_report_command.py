"""`llmqgym leaderboard report`, and what a board says when it is made."""

from __future__ import annotations

import json
import sys

import pytest
from boards import large
from typer.testing import CliRunner

from llmqgym.cli.app import app
from llmqgym.leaderboard.report.page import page
from llmqgym.leaderboard.report.words import recommend


@pytest.fixture
def folder(tmp_path):
    document = large(5, 2) | {"settings": {}, "pieces": []}
    (tmp_path / "leaderboard.json").write_text(json.dumps(document), encoding="utf-8")
    return tmp_path


def cli(*args):
    return CliRunner().invoke(app, ["leaderboard", *map(str, args)])


def test_the_page_comes_from_the_document_alone(folder):
    result = cli("report", folder)
    assert result.exit_code == 0, result.output
    document = json.loads((folder / "leaderboard.json").read_text())
    recommendation = recommend(document)
    assert (folder / "leaderboard.html").read_text(encoding="utf-8") == page(
        document | {"recommendation": recommendation}
    )
    for advice in recommendation["scenarios"]:
        assert f"{advice['scenario']}: {advice['text']}" in result.stdout
    assert f"to look at: {(folder / 'leaderboard.html').as_uri()}" in result.stdout


@pytest.mark.parametrize(
    ("option", "module", "extra"),
    [(["--plots"], "matplotlib", "[plots]"), (["--tensorboard", "runs"], "tensorboard", "[train]")],
)
def test_a_missing_extra_is_named_before_anything_is_done(folder, monkeypatch, option, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    for command in (["report", folder, *option], ["--suite", "quick", "--out", folder / "board", *option]):
        result = cli(*command)
        assert result.exit_code == 2
        assert extra in result.stderr
    assert [path.name for path in folder.iterdir()] == ["leaderboard.json"]


@pytest.mark.filterwarnings("ignore")  # TensorBoard's own
def test_pictures_and_runs(folder):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: the extra [plots]")
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: the extra [train]")
    result = cli("report", folder, "--plots", "--tensorboard", folder / "runs")
    assert result.exit_code == 0, result.output
    assert len(list((folder / "plots").glob("*.png"))) == 4
    assert len(list((folder / "runs").glob("*/events.*"))) == 5


def test_a_folder_without_a_board(tmp_path):
    result = cli("report", tmp_path)
    assert result.exit_code == 2
    assert "cannot be read" in result.stderr
