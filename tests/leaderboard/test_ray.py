"""The same board on a local Ray cluster of two workers; `make test-ray` installs what it needs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_board import SUITE, board, refuses

from llmqgym.cli.contestants import make_contestant
from llmqgym.errors import InputError
from llmqgym.leaderboard.make import CELLS, DOCUMENT, RUNS, Maker

ray = pytest.importorskip("ray", reason="the extra [cluster] is not installed: make test-ray")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.usefixtures("ray_workers"),
    pytest.mark.filterwarnings("ignore"),  # ray's own
]


def test_ray_changes_no_bit(tmp_path: Path) -> None:
    board(tmp_path / "here")
    maker = Maker(SUITE, make_contestant, tmp_path / "ray")
    done = []
    maker.run(ray=True, jobs=2, on_piece=done.append)
    maker.write("on two workers")
    here, there = (json.loads((tmp_path / name / DOCUMENT).read_text()) for name in ("here", "ray"))
    assert here.pop("command") != there.pop("command")
    assert here == there
    for name in (RUNS, CELLS):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "ray" / name).read_bytes()
    assert len(done) == len(maker.plan.pieces)
    assert not ray.is_initialized()


def test_an_error_on_a_worker_is_told(tmp_path: Path) -> None:
    maker = Maker(SUITE, refuses, tmp_path)
    with pytest.raises(InputError, match="this one does not run"):
        maker.run(ray=True, jobs=2)
    assert not ray.is_initialized()
