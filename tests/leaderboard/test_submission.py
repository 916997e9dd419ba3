"""Entries: a good file is entered, replayed and listed; broken ones are refused with what is wrong."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmqgym.cli.app import app
from llmqgym.cli.contestants import load_file, make_contestant
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.leaderboard.submission.about import DEVELOPMENT_SEEDS, TEST_SEEDS
from llmqgym.leaderboard.submission.entry import contestants_in, enter, rehearse
from llmqgym.leaderboard.submission.listing import boards_in, code_of, write_table
from llmqgym.leaderboard.submission.trial import try_out
from llmqgym.leaderboard.suite import load_suite, shipped_suites
from llmqgym.leaderboard.verify import verify

PAGE = Path(__file__).parents[2] / "docs" / "leaderboard_submission.md"
GOOD = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[1]
SLOW = "an entry takes minutes in plain Python"
SMALL = replace(load_suite("quick"), scenarios=("chat", "kv-bound"), num_seeds=2, num_requests=300)


def written(folder: Path, text: str, name: str = "mine.py") -> str:
    (folder / name).write_text(text, encoding="utf-8")
    return str(folder / name)


@pytest.fixture(scope="module")
def entries(tmp_path_factory):
    if not COMPILED:
        pytest.skip(SLOW)
    folder = tmp_path_factory.mktemp("entries")
    mine = load_file(written(tmp_path_factory.mktemp("own"), GOOD)).submission()
    home, document = enter(mine, SMALL, make_contestant, folder, command="llmqgym leaderboard submit mine.py")
    write_table(folder)
    return folder, home, document


def test_the_documented_file_is_entered(entries):
    folder, home, document = entries
    assert home == folder / "patient-spjf"
    assert (home / "patient-spjf.py").read_text(encoding="utf-8") == GOOD
    assert [each["spec"] for each in document["policies"]] == ["vllm", "file:patient-spjf.py"]
    entry = json.loads((home / "entry.json").read_text())
    assert entry["about"]["parameters_tried"] == {
        "params[0], patience in seconds": "2, 5, 10, 20, 40; the lowest p99 on chat"
    }
    assert (entry["suite"], entry["seeds"]) == ("quick", [700_000, 700_001])
    assert set(entry["seeds"]) < set(TEST_SEEDS)
    assert entry["dynamics"] == document["dynamics"]
    assert entry["overall"]["mean_e2e_s"]["iqm_ratio_to_vllm"] is not None
    table = (folder / "README.md").read_text(encoding="utf-8")
    assert "| patient-spjf | A. Scheduler | " in table
    assert (home / "leaderboard.html").is_file()


def test_an_entry_replays_to_the_bit_anywhere(entries, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.copytree(entries[1], moved)
    verdict = verify(moved, contestants_in(make_contestant, moved), None)
    assert verdict.holds
    assert verdict.changes == []
    assert len(verdict.replays) == 2 * 2 * 3  # scenarios, seeds; two policies and a bound


def test_verify_runs_no_code_unasked(entries, tmp_path):
    folder = tmp_path / "entries"
    shutil.copytree(entries[0], folder)
    canary = tmp_path / "canary"
    code = folder / "patient-spjf" / "patient-spjf.py"
    code.write_text(f"open({str(canary)!r}, 'w')\n" + GOOD, encoding="utf-8")
    altered = CliRunner().invoke(app, ["leaderboard", "verify", str(folder), "--run-code"])
    assert altered.exit_code == 2
    assert "is not the file that was entered" in altered.stderr
    entry = code.with_name("entry.json")
    told = entry.read_text()
    entry.unlink()  # nothing says now what the file was, but it is code as before
    unasked = [CliRunner().invoke(app, ["leaderboard", "verify", str(code.parent)])]
    entry.write_text(told)
    code.write_text(GOOD, encoding="utf-8")
    unasked.append(CliRunner().invoke(app, ["leaderboard", "verify", str(folder)]))
    for result in unasked:
        assert result.exit_code == 2
        assert "--run-code" in result.stderr
    assert not canary.exists()
    asked = CliRunner().invoke(app, ["leaderboard", "verify", str(folder), "--run-code", "--rows", "2"])
    assert asked.exit_code == 0, asked.output
    assert "the board holds." in asked.stdout


def test_an_altered_result_is_found(entries, tmp_path):
    moved = tmp_path / "entry"
    shutil.copytree(entries[1], moved)
    piece = next(path for path in (moved / "cells").iterdir() if '"file:' in path.read_text())
    told = json.loads(piece.read_text())
    told["metrics"]["mean_e2e_s"] *= 0.5
    piece.write_text(json.dumps(told))
    verdict = verify(moved, contestants_in(make_contestant, moved), None)
    assert not verdict.holds
    assert [replay.differences for replay in verdict.replays if replay.differences] == [["metrics.mean_e2e_s"]]


def test_another_file_of_the_name_is_refused_and_the_same_goes_on(entries, tmp_path):
    folder, home, document = entries
    other = load_file(written(tmp_path, GOOD + "\n# another\n")).submission()
    with pytest.raises(InputError, match="the entry of another file"):
        enter(other, SMALL, make_contestant, folder, command="")
    same = load_file(written(tmp_path, GOOD, "same.py")).submission()
    before = {path: path.stat().st_mtime_ns for path in (home / "cells").iterdir()}
    again = enter(same, SMALL, make_contestant, folder, command=document["command"])[1]
    assert {path: path.stat().st_mtime_ns for path in (home / "cells").iterdir()} == before
    assert again["cells"] == document["cells"]


@pytest.mark.skipif(not COMPILED, reason=SLOW)
def test_a_rehearsal_is_on_development_seeds(tmp_path):
    suite = replace(SMALL, scenarios=("chat",))
    document = rehearse(load_file(written(tmp_path, GOOD)).submission(), suite, make_contestant, tmp_path / "try")
    assert set(document["seeds"]) < set(DEVELOPMENT_SEEDS)


def test_no_seed_is_for_both():
    assert not set(DEVELOPMENT_SEEDS) & set(TEST_SEEDS)
    for name in shipped_suites():
        assert set(load_suite(name).seeds) <= set(TEST_SEEDS)


BROKEN = {
    "syntax": ("def x(:", r"does not run: SyntaxError"),
    "raises": (GOOD + "\n1 / 0\n", r"does not run: line \d+: ZeroDivisionError"),
    "nothing": ("x = 1\n", "defines no policy"),
    "no about": (GOOD.replace("about = {", "other = {"), "defines no about"),
    "unknown key": (GOOD.replace('"author"', '"autor"'), "did you mean 'author'"),
    "missing": (GOOD.replace('    "author": "A. Scheduler",\n', ""), "about lacks author"),
    "type": (GOOD.replace('"A. Scheduler"', "7"), "author of about is 7: give a text"),
    "members": (GOOD.replace("[0, 1, 2, 3, 4]", "[0, '1']"), "give a list of whole numbers"),
    "need": (GOOD.replace('["point prediction"]', '["point predictions"]'), "did you mean 'point prediction'"),
    "test seeds": (GOOD.replace("[0, 1, 2, 3, 4]", "[700_003]"), r"tuned on test seeds \(700003\)"),
    "policy": (GOOD.replace("rekey=True", "rekey=True, miss='hop'"), "does not run: .*unknown miss"),
}


@pytest.mark.parametrize("flaw", BROKEN)
def test_broken_files_are_refused(flaw, tmp_path):
    text, message = BROKEN[flaw]
    assert text != GOOD
    with pytest.raises(InputError, match=message):
        load_file(written(tmp_path, text))


def test_files_that_are_not_python(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        load_file(str(tmp_path / "missing.py"))
    with pytest.raises(InputError, match=r"no Python file"):
        load_file(written(tmp_path, GOOD, "agent.safetensors"))


def with_gate(answer: str) -> str:
    """The good policy with a hook `fit` that gives this answer."""
    text = GOOD.replace("\npolicy =", f"\ndef gate(request, server):\n    return {answer}\n\n\npolicy =")
    return text.replace("order=overdue_or_short", "order=overdue_or_short, fit=gate")


LATE = "server.clock_ps - request.arrival_ps > 3 * 10**12"
FAULTS = {
    "wake": (
        with_gate(LATE).replace("rekey=True, wake=while_somebody_waits", "wake=math.inf"),
        "its wake promises too much",
    ),
    "closed": (with_gate("False"), "it admits nobody"),
}


@pytest.mark.skipif(not COMPILED, reason=SLOW)
@pytest.mark.parametrize("fault", FAULTS)
def test_the_trial_finds(fault, tmp_path):
    text, message = FAULTS[fault]
    with pytest.raises(InputError, match=message):
        try_out(load_file(written(tmp_path, text)).submission())


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
def test_the_trial_finds_what_does_not_compile(tmp_path):
    text = GOOD.replace("return request.predicted_output_tokens", "return request.no_such_field")
    with pytest.raises(InputError, match="does not compile"):
        try_out(load_file(written(tmp_path, text)).submission())


def test_the_command_says_that_it_runs_code(tmp_path):
    result = CliRunner().invoke(app, ["leaderboard", "submit", written(tmp_path, BROKEN["nothing"][0])])
    assert result.exit_code == 2
    assert "is code: it runs here with your rights" in result.stderr
    assert "defines no policy" in result.stderr


def test_hostile_words_stay_in_their_cell(entries, tmp_path):
    folder = tmp_path / "entries"
    shutil.copytree(entries[0], folder)
    path = folder / "patient-spjf" / "entry.json"
    entry = json.loads(path.read_text())
    entry["about"]["author"] = "a | <b>\n# x [y](z)"
    path.write_text(json.dumps(entry))
    line = write_table(folder).read_text().splitlines()[-1]
    assert r"a \| \<b\> # x \[y\](z)" in line


def test_folders_without_entries(tmp_path):
    with pytest.raises(InputError, match="holds no board and no entries"):
        boards_in(tmp_path)


def test_a_missing_file_is_named(entries, tmp_path):
    moved = tmp_path / "entry"
    shutil.copytree(entries[1], moved)
    assert code_of(moved) == [moved / "patient-spjf.py"]
    (moved / "patient-spjf.py").unlink()
    with pytest.raises(InputError, match=r"patient-spjf.py is missing"):
        code_of(moved)
