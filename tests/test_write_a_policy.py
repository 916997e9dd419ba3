"""docs/write_a_policy.md does what it says, compiled and in plain Python."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llmqgym.kernel.jit import COMPILED

PAGE = Path(__file__).parents[1] / "docs" / "write_a_policy.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


def test_the_page_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All blocks, one after the other, as one file: the cache wants to see the sources."""
    script = tmp_path / "page.py"
    script.write_text("\n\n".join(BLOCKS))
    names: dict[str, Any] = {"__name__": "page", "__file__": str(script)}
    exec(compile(script.read_text(), str(script), "exec"), names)
    mean, p99 = map(float, capsys.readouterr().out.split())
    assert 1.0 < mean < 60.0
    assert p99 > 0.0
    assert names["patient_spjf"]().name == "patient-spjf"


def test_a_policy_is_a_file_of_twenty_lines() -> None:
    assert len(BLOCKS) == 4
    assert len(BLOCKS[0].splitlines()) <= 21
    assert "import" in BLOCKS[0]


@pytest.mark.skipif(not COMPILED, reason="this suite runs without JIT already")
def test_it_runs_in_plain_python(tmp_path: Path) -> None:
    """The policy and its run, of fewer requests, give the same result without JIT."""
    script = tmp_path / "policy.py"
    script.write_text("\n\n".join(BLOCKS[:2]).replace("poisson_lognormal(300", "poisson_lognormal(60"))
    printed = [
        subprocess.run(
            [sys.executable, str(script)], env=os.environ | way, capture_output=True, text=True, check=True
        ).stdout
        for way in ({}, {"NUMBA_DISABLE_JIT": "1"})
    ]
    assert printed[0] == printed[1] != ""
