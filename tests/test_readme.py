"""What the README shows works: its Python runs, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmqgym.cli.app import app
from llmqgym.kernel.jit import COMPILED

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
