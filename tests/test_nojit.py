"""The same source runs as plain Python: a few of the vLLM logs and random cases with NUMBA_DISABLE_JIT=1.

The whole suite without JIT is `make test-nojit`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmqgym.kernel.jit import COMPILED

HERE = Path(__file__).parent
SHORT = "validation/test_quick.py", "test_hooks.py"


@pytest.mark.skipif(not COMPILED, reason="this suite runs without JIT already")
def test_without_jit() -> None:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-k",
        "log and (t0 or t1) or hook",
        *(str(HERE / name) for name in SHORT),
    ]
    done = subprocess.run(
        command,
        cwd=HERE.parent,
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "passed" in done.stdout
