"""Origin: which versions made a board, and when it matters that they are others."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path
from typing import Any

import llmqgym
from llmqgym.leaderboard.work import dynamics


def origin(command: str) -> dict[str, Any]:
    """The versions of all that results depend on, the commit if this is a checkout, and the command."""
    import numba
    import numpy
    import scipy

    return {
        "version": llmqgym.__version__,
        "dynamics": dynamics(),
        "commit": _commit(),
        "command": command,
        "versions": {
            "python": platform.python_version(),
            "numpy": numpy.__version__,
            "numba": numba.__version__,
            "scipy": scipy.__version__,
            "platform": platform.platform(),
        },
    }


def changes_since(made: dict[str, Any]) -> list[str]:
    """What is other here than where a board was made, as sentences; differences of dynamics come first."""
    told = []
    if made.get("dynamics") != dynamics():
        told.append("the sources that determine results are others than those that made the board")
    if made.get("version") != llmqgym.__version__:
        told.append(f"llmqgym is {llmqgym.__version__}, the board was made by {made.get('version')}")
    here = origin("")["versions"]
    for name, version in (made.get("versions") or {}).items():
        if here.get(name) != version:
            told.append(f"{name} is {here.get(name)}, the board was made with {version}")
    return told


def _commit() -> str | None:
    """The commit of the checkout that the package lies in, with a plus if files differ from it; None outside of one."""
    folder = Path(llmqgym.__file__).parent
    if not (folder.parent / ".git").exists():
        return None
    try:
        head = _git(folder, "rev-parse", "HEAD")
        return head + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()
