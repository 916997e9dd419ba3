"""Material that is not part of the project: the folder `shared` beside a checkout, or beside where one stands."""

from __future__ import annotations

from pathlib import Path

import llmqgym
from llmqgym.validation.check import NotRun


def beside(*parts: str) -> Path:
    """A file or folder in `../shared`. Raises NotRun if it is not there."""
    bases = (Path(llmqgym.__file__).resolve().parents[2], Path.cwd().parent)
    for base in bases:
        path = base.joinpath("shared", *parts)
        if path.exists():
            return path
    raise NotRun(f"there is no ../shared/{'/'.join(parts)}: it is not part of the project")
