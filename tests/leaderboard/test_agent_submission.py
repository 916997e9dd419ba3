"""Entries of trained agents: two files without code, entered, replayed and listed beside policies; flaws refused."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_agents import shortest_first
from small_board import board, cells
from typer.testing import CliRunner

from agents.brain import Brain
from agents.policy_file import write_agent
from agents.trained_agent import TrainedAgent
from llmqgym.cli.app import app
from llmqgym.cli.contestants import load_submission, make_contestant
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.leaderboard.submission.entry import contestants_in, enter
from llmqgym.leaderboard.submission.listing import write_table
from llmqgym.leaderboard.submission.trial import try_out
from llmqgym.leaderboard.suite import load_suite
from llmqgym.leaderboard.verify import verify

PAGE = Path(__file__).parents[2] / "docs" / "leaderboard_submission.md"
ABOUT = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[1]
SLOW = "an entry takes minutes in plain Python"
SMALL = replace(load_suite("quick"), scenarios=("chat", "kv-bound"), num_seeds=2, num_requests=300)


def written(folder: Path, agent: TrainedAgent | None = None, about: str = ABOUT) -> tuple[str, str]:
    """The spec of an agent whose files are in the folder, and the path of what is declared of it."""
    write_agent(folder / "mine", shortest_first() if agent is None else agent)
    (folder / "mine.toml").write_text(about, encoding="utf-8")
    return f"ppo:{folder / 'mine'}", str(folder / "mine.toml")


def changed(**tensors: float) -> TrainedAgent:
    """The agent with a number added to tensors, whose names are written with underscores."""
    agent = shortest_first()
    brain = agent.brain
    weights = {
        name: tensor + np.float32(tensors.get(name.replace(".", "_"), 0.0)) for name, tensor in brain.tensors.items()
    }
    return replace(agent, brain=Brain(brain.network, brain.layout, brain.hidden, weights))


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    if not COMPILED:
        pytest.skip(SLOW)
    folder = tmp_path_factory.mktemp("entries")
    mine = load_submission(*written(tmp_path_factory.mktemp("own")))
    home, document = enter(mine, SMALL, make_contestant, folder, command="llmqgym leaderboard submit ppo:mine")
    write_table(folder)
    return folder, home, document


def test_an_agent_is_entered_with_both_its_files(entries: Any, tmp_path: Path) -> None:
    folder, home, document = entries
    written(tmp_path)
    for ending in (".safetensors", ".json"):
        assert (home / f"shortest{ending}").read_bytes() == (tmp_path / f"mine{ending}").read_bytes()
    assert [each["spec"] for each in document["policies"]] == ["vllm", "ppo:shortest.safetensors"]
    entry = json.loads((home / "entry.json").read_text())
    assert list(entry["sha256"]) == ["shortest.safetensors", "shortest.json"]
    assert entry["about"]["needs"] == ["point prediction"]
    assert entry["about"]["tuned_on_scenarios"] == ["kv-bound", "chat"]  # trained on; looked at as well
    assert entry["settings"]["weights"] == entry["sha256"]["shortest.safetensors"]
    assert "| shortest | A. Learner | " in (folder / "README.md").read_text(encoding="utf-8")


def test_its_runs_are_those_of_the_agent_on_a_board(entries: Any, tmp_path: Path) -> None:
    spec, _ = written(tmp_path)
    beside = cells(board(tmp_path / "board", replace(SMALL, policies=("vllm", spec))))
    found = cells(entries[2])
    for scenario in SMALL.scenarios:
        assert found[scenario, "ppo:shortest.safetensors"]["metrics"] == beside[scenario, spec]["metrics"]
        assert found[scenario, "vllm"]["metrics"] == beside[scenario, "vllm"]["metrics"]


def test_it_replays_to_the_bit_anywhere_and_runs_no_code(entries: Any, tmp_path: Path, monkeypatch: Any) -> None:
    shutil.copytree(entries[1], tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["leaderboard", "verify", "elsewhere", "--all"])
    assert result.exit_code == 0, result.output
    assert "12 of 12 replayed results are the same, bit for bit." in result.stdout


@pytest.mark.parametrize("ending", [".safetensors", ".json"])
def test_a_tampered_file_is_refused(entries: Any, tmp_path: Path, ending: str) -> None:
    """Even one that is whole, of an agent that would play."""
    moved = tmp_path / "entry"
    shutil.copytree(entries[1], moved)
    write_agent(tmp_path / "other", changed(run_context_bias=0.25))
    shutil.copy(tmp_path / f"other{ending}", moved / f"shortest{ending}")
    result = CliRunner().invoke(app, ["leaderboard", "verify", str(moved)])
    assert result.exit_code == 2
    assert f"shortest{ending} is not the file that was entered" in result.stderr
    (moved / f"shortest{ending}").unlink()
    result = CliRunner().invoke(app, ["leaderboard", "verify", str(moved)])
    assert result.exit_code == 2
    assert f"shortest{ending} is missing" in result.stderr


def test_other_weights_that_entry_and_json_vouch_for_are_found(entries: Any, tmp_path: Path) -> None:
    """Whoever forges the hashes as well is found out by the runs."""
    moved = tmp_path / "entry"
    shutil.copytree(entries[1], moved)
    write_agent(moved / "shortest", changed(encoder_waiting_server_bias=-1.5))
    verdict = verify(moved, contestants_in(make_contestant, moved), None)
    assert {replay.piece.spec for replay in verdict.replays if replay.differences} == {"ppo:shortest.safetensors"}
    assert not verdict.holds


def test_a_board_of_another_agent_is_no_entry(entries: Any, tmp_path: Path) -> None:
    moved = tmp_path / "entry"
    shutil.copytree(entries[1], moved)
    document = moved / "leaderboard.json"
    document.write_text(document.read_text().replace("ppo:shortest.safetensors", "ppo:noisy-1"))
    result = CliRunner().invoke(app, ["leaderboard", "verify", str(moved)])
    assert result.exit_code == 2
    assert "its board is of 'ppo:noisy-1'" in result.stderr


def test_the_same_files_go_on_and_others_need_a_name(entries: Any, tmp_path: Path) -> None:
    folder, home, document = entries
    before = {path: path.stat().st_mtime_ns for path in (home / "cells").iterdir()}
    enter(load_submission(*written(tmp_path)), SMALL, make_contestant, folder, command=document["command"])
    assert {path: path.stat().st_mtime_ns for path in (home / "cells").iterdir()} == before
    spec, about = written(tmp_path)
    wider = load_submission(f"{spec},window=12", about)  # shown more, it is another agent, with files of its own
    assert json.loads(wider.contents[".json"])["view"]["window"] == 12
    with pytest.raises(InputError, match="give 'shortest' another name"):
        enter(wider, SMALL, make_contestant, folder, command="")


def test_who_needs_what_no_scenario_has_is_refused(tmp_path: Path) -> None:
    blind = replace(SMALL, usual_predictor=None)
    with pytest.raises(InputError, match=r"'shortest' needs point prediction: .* give a predictor; so it is in every"):
        enter(load_submission(*written(tmp_path)), blind, make_contestant, tmp_path / "entries", command="")
    assert not (tmp_path / "entries").exists()


@pytest.mark.skipif(not COMPILED, reason=SLOW)
def test_the_trial_finds_who_admits_nobody(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'shortest' has finished none of 150 requests"):
        try_out(load_submission(*written(tmp_path, changed(run_out_weight=100.0))))


BROKEN = {
    "no author": (ABOUT.replace("author", "autor"), r"mine.toml: unknown key of about 'autor': did you mean 'author'"),
    "missing": (ABOUT.replace("tuned_on_seeds", "# tuned_on_seeds"), r"mine.toml: about lacks tuned_on_seeds"),
    "its own": (ABOUT + 'needs = ["nothing"]\n', r"mine.toml: unknown key of about 'needs'"),
    "test seeds": (
        re.sub(r"tuned_on_seeds = \[", "tuned_on_seeds = [700_000, ", ABOUT),
        r"tuned on test seeds \(700000\)",
    ),
    "not TOML": ("author", r"mine.toml: not TOML"),
}


@pytest.mark.parametrize("flaw", BROKEN)
def test_what_is_declared_is_read_strictly(flaw: str, tmp_path: Path) -> None:
    about, message = BROKEN[flaw]
    assert about != ABOUT
    with pytest.raises(InputError, match=message):
        load_submission(*written(tmp_path, about=about))


def test_the_command_refuses(tmp_path: Path) -> None:
    spec, about = written(tmp_path)
    (tmp_path / "mine.py").write_text("raise SystemExit('run')")
    for given, message in (
        ([spec], "write author, parameters_tried"),
        ([spec, "--about", str(tmp_path / "none.toml")], "none.toml: cannot be read"),
        (["ppo:nobody", "--about", about], "there is no agent 'nobody'"),
        ([str(tmp_path / "mine.py"), "--about", about], "is for agents"),
        ([str(tmp_path / "gone.safetensors"), "--about", about], "there is no agent"),
    ):
        result = CliRunner().invoke(app, ["leaderboard", "submit", *given])
        assert result.exit_code == 2, given
        assert message in result.stderr.replace("\n", " "), given


def test_either_file_names_the_agent(tmp_path: Path) -> None:
    spec, about = written(tmp_path)
    path = spec.removeprefix("ppo:")
    made = [load_submission(given, about) for given in (spec, f"{path}.safetensors", f"{path}.json")]
    assert len({tuple(each.digests.items()) for each in made}) == 1
