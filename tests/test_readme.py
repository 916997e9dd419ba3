"""What the README shows works: its Python runs, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmqgym import __version__
from llmqgym.cli.app import app
from llmqgym.kernel.jit import COMPILED
from llmqgym.leaderboard.sheet import NOTES, TITLES
from llmqgym.leaderboard.suite import load_suite

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
COMMANDS = sorted(set(re.findall(r"^llmqgym ([a-z]+)", README.read_text(), flags=re.MULTILINE)))


@pytest.mark.skipif(not COMPILED, reason="twenty thousand requests take minutes in plain Python")
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python(number: int) -> None:
    exec(compile(BLOCKS[number], f"README block {number}", "exec"), {})


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command: str) -> None:
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_both_are_there() -> None:
    assert len(BLOCKS) == 3
    assert "simulate" in COMMANDS


def test_the_leaderboard_is_the_quick_one() -> None:
    """Written by this version, of what the quick suite is now (benchmarks/leaderboard_page.py)."""
    text = README.read_text().partition("<!-- leaderboard: begin")[2].partition("<!-- leaderboard: end -->")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    suite = load_suite("quick")
    assert rows[0] == ["policy", *suite.scenarios, "ratio to vllm", "better than vllm"]
    names = [row[0].removesuffix(" (oracle)") for row in rows[2:-1]]
    assert sorted(names) == sorted(suite.contestants)
    assert rows[-1][0] == "no schedule is below"
    assert f"{suite.num_seeds} seeds of {suite.num_requests:,} requests" in text
    for told in (f"llmqgym {__version__}", NOTES[1:].replace("* ", r"\* "), TITLES["mean_e2e_s"][1:]):
        assert told in text
