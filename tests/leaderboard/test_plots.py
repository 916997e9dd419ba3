"""Pictures of a board: which there are, that they show something, and what is said where matplotlib is missing."""

from __future__ import annotations

import sys

import pytest
from boards import board, cell, large, policy, scenario

from llmqgym.errors import InputError
from llmqgym.leaderboard.report.plots import check_matplotlib, write_plots


def test_without_matplotlib_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for call in (check_matplotlib, lambda: write_plots(tmp_path / "plots", large(5, 1))):
        with pytest.raises(InputError, match=r"matplotlib is not installed.*llmqgym\[plots\]"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_pictures_of_each_kind(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: the extra [plots]")
    image = pytest.importorskip("PIL.Image", reason="pillow is not installed: the extra [plots]")
    specs = ["vllm", "spjf", "srpt"]
    scenarios = [scenario(f"chat@{rho}", base="chat", rho=rho) for rho in (0.5, 0.9)]
    scenarios += [scenario(f"noisy-{sigma}") for sigma in (0, 1)]
    cells = [cell(of["name"], spec, 3.0 + place, 9.0) for of in scenarios for place, spec in enumerate(specs)]
    made = board([policy(spec, oracle=spec == "srpt") for spec in specs], scenarios, cells)
    paths = write_plots(tmp_path, made)
    kinds = {path.name for path in paths}
    assert kinds == {
        *(f"{kind}-{of['name']}.png" for kind in ("cdf", "gap") for of in scenarios),
        "load-chat.png",
        "misprediction-noisy.png",
    }
    assert kinds == {path.name for path in tmp_path.iterdir()}
    for path in paths:
        with image.open(path) as picture:
            assert picture.width > 600
            assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    again = {path.name: path.read_bytes() for path in paths}
    write_plots(tmp_path, made)
    assert {path.name: path.read_bytes() for path in paths} == again


def test_a_board_with_nothing_to_draw_draws_nothing(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed: the extra [plots]")
    skipped = {"scenario": "chat", "policy": "vllm", "num_runs": 0, "skipped": "needs tenants"}
    assert write_plots(tmp_path, board([policy("vllm")], [scenario("chat")], [skipped])) == []
