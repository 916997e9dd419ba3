"""An interrupted board: nothing half-written, nothing done twice, and the same in the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small_board import SUITE, board

from llmqgym.cli.contestants import make_contestant
from llmqgym.errors import InputError
from llmqgym.files import OutputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.leaderboard.make import DOCUMENT, Maker
from llmqgym.leaderboard.store import Store
from llmqgym.leaderboard.work import Piece

LONG = (
    "--suite", "quick", "--scenarios", "kv-bound", "--policies", "vllm,past-future,multi-bin", "--seeds", "5",
    "--requests", "6000", "--jobs", "2",
)  # fmt: skip


def started(out: Path) -> subprocess.Popen[str]:
    """A run in a process of its own, once some of it is done."""
    command = [sys.executable, "-m", "llmqgym", "leaderboard", *LONG, "--out", str(out)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while len(list((out / "cells").glob("*.json"))) < 3:
        assert run.poll() is None, run.communicate()
        time.sleep(0.05)
    return run


@pytest.mark.skipif(not COMPILED, reason="would take minutes in plain Python")
def test_kill_loses_only_what_was_in_hand(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    run = started(killed)
    run.send_signal(signal.SIGKILL)
    run.communicate()
    kept = {path: path.stat().st_mtime_ns for path in (killed / "cells").glob("*.json")}
    for path in kept:
        assert json.loads(path.read_text())["key"] == path.stem  # whole
    assert not (killed / DOCUMENT).exists()
    assert len(list((killed / "cells").glob(".*.tmp"))) <= 2  # what two workers had in hand
    command = [sys.executable, "-m", "llmqgym", "leaderboard", *LONG, "--out"]
    again = subprocess.run([*command, str(killed)], capture_output=True, text=True, check=True)
    assert f"{len(kept)} of 20 results are in" in again.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # none was done again
    subprocess.run([*command, str(whole)], capture_output=True, text=True, check=True)
    first, second = (json.loads((out / DOCUMENT).read_text()) for out in (killed, whole))
    first.pop("command")
    second.pop("command")
    assert first == second


@pytest.mark.skipif(not COMPILED or sys.platform == "win32", reason="signals")
def test_an_interrupt_says_how_to_go_on(tmp_path: Path) -> None:
    run = started(tmp_path)
    run.send_signal(signal.SIGINT)
    _, told = run.communicate(timeout=120)
    assert run.returncode == 130
    num = len(list((tmp_path / "cells").glob("*.json")))
    assert f"stopped: {num} of 20 results are kept in {tmp_path}; the same command goes on from there." in told
    assert "Traceback" not in told
    assert not list((tmp_path / "cells").glob(".*.tmp"))


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    board(tmp_path, replace(SUITE, num_seeds=1))
    maker = Maker(SUITE, make_contestant, tmp_path)
    told: list[Piece] = []
    missing = maker.missing()
    assert {piece.seed for piece in missing} == {SUITE.seeds[1]}  # a further seed is all that is new
    maker.run(jobs=1, on_piece=told.append)
    assert told == missing
    assert maker.missing() == []


def test_another_setting_is_another_piece(tmp_path: Path) -> None:
    keys = {
        piece.key
        for suite in (
            SUITE,
            replace(SUITE, predictor="perfect"),
            replace(SUITE, num_requests=SUITE.num_requests + 1),
            replace(SUITE, loads=(0.5,)),
            replace(SUITE, profile="h100-llama-3-8b"),
            replace(SUITE, policies=("vllm", "mlfq:ratio=3")),
        )
        for piece in Maker(replace(suite, scenarios=("kv-bound",)), make_contestant, tmp_path).plan.pieces
        if piece.spec in ("vllm", "mlfq:ratio=3")
    }
    assert len(keys) == 2 * 5 + 2


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="--out"):
        Maker(SUITE, make_contestant, tmp_path / "file" / "board")


def test_a_broken_piece_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.make()
    store.path("abc").write_text("{")
    with pytest.raises(InputError, match=r"abc\.json cannot be read"):
        store.get("abc")
    store.path("abc").write_text('{"key": "other"}')
    with pytest.raises(InputError, match="not the piece"):
        store.get("abc")
    assert os.listdir(tmp_path) == ["cells"]
