"""The cache on disk notices an edit in any kernel file, also of a callee in another file (numba issue 1833)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import llmqgym.kernel.jit as jit

pytestmark = pytest.mark.skipif(not jit.COMPILED, reason="without JIT there is nothing to cache")

CALLER = """
from kernel.jit import entry_point
from kernel.callee import constant

@entry_point
def answer(x):
    return x + constant()

print(answer(1), sum(answer.stats.cache_hits.values()))
"""
CALLEE = """
from kernel.jit import helper

@helper
def constant():
    return {value}
"""


def run(folder: Path) -> list[int]:
    """What the caller answers, and how many compilations it found in the cache."""
    command = [sys.executable, "-c", "import kernel.caller"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package of the kernel's jit.py, an entry point, and a helper of it in another file."""
    folder = tmp_path / "kernel"
    folder.mkdir()
    (folder / "__init__.py").touch()
    shutil.copy(jit.__file__, folder / "jit.py")
    (folder / "caller.py").write_text(CALLER)
    (folder / "callee.py").write_text(CALLEE.format(value=20))
    return folder


def test_an_edit_of_a_callee_is_seen(tmp_path: Path, package: Path) -> None:
    assert run(tmp_path) == [21, 0]
    assert run(tmp_path) == [21, 1]
    (package / "callee.py").write_text(CALLEE.format(value=30))
    assert run(tmp_path) == [31, 0]


def test_a_cache_cut_short_is_compiled_anew(tmp_path: Path, package: Path) -> None:
    assert run(tmp_path) == [21, 0]
    for index in (package / "__pycache__").glob("*.nbi"):
        index.write_bytes(index.read_bytes()[:60])
    assert run(tmp_path) == [21, 0]
    assert run(tmp_path) == [21, 1]


#: Ends the process where numba has written the index of the cache, and not yet the code.
ENDED_IN_BETWEEN = """
import os
from numba.core.caching import IndexDataCacheFile

IndexDataCacheFile._save_data = lambda *_: os._exit(0)
import kernel.caller
"""


def test_older_code_is_not_taken_for_what_was_about_to_be_written(tmp_path: Path, package: Path) -> None:
    assert run(tmp_path) == [21, 0]
    (package / "callee.py").write_text(CALLEE.format(value=30))
    subprocess.run([sys.executable, "-c", ENDED_IN_BETWEEN], cwd=tmp_path, check=True)
    assert run(tmp_path) == [31, 0]
    assert run(tmp_path) == [31, 1]
    assert len(list((package / "__pycache__").glob("*.nbc"))) == 1


def test_an_edit_of_a_helper_outside_the_kernel_is_seen(tmp_path: Path, package: Path) -> None:
    """A policy's hook may call helpers in files of its author's."""
    helper = tmp_path / "author.py"
    helper.write_text("from numba import njit\n\n@njit\ndef constant():\n    return 20\n")
    (package / "caller.py").write_text(CALLER.replace("from kernel.callee import", "from author import"))
    assert run(tmp_path) == [21, 0]
    assert run(tmp_path) == [21, 1]
    helper.write_text("from numba import njit\n\n@njit\ndef constant():\n    return 30\n")
    assert run(tmp_path) == [31, 0]
