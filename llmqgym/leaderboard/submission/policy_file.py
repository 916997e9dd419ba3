"""A policy in a Python file of a user's own: loaded by running the file, with what it says about itself, strictly."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType
from typing import Any

from llmqgym.errors import InputError
from llmqgym.leaderboard.contestant import PolicyContestant
from llmqgym.leaderboard.submission.about import About, read_about
from llmqgym.leaderboard.submission.submitted import Submission
from llmqgym.policy import Policy

#: Before the path, in a contestant's spec.
PREFIX = "file:"


@dataclass(frozen=True)
class PolicyFile:
    """A file that has been run."""

    path: Path
    content: bytes
    policy: Policy
    about: About

    def contestant(self, spec: str) -> PolicyContestant:
        """Of the leaderboard."""
        about = self.about
        return PolicyContestant(spec, self.policy, family="submitted", summary=about.summary, needs=about.needs)

    def submission(self) -> Submission:
        """Of the file, to be entered."""
        own = self.contestant(f"{PREFIX}{self.path}")
        return Submission(self.policy.name, PREFIX, {".py": self.content}, own, self.about)


def load_policy_file(path: str | Path, known_needs: Sequence[str]) -> PolicyFile:
    """Run the Python file, with all the rights of whoever runs this, and take its `policy` and its `about`.

    Raises InputError for a file that cannot be read or fails, has no Policy, or says something unknown about itself.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror or error}): name a Python file.") from error
    if path.suffix != ".py":
        raise InputError(f"{path} is no Python file: name one that ends in .py and defines policy and about.")
    module = _run(path, f"llmqgym_submitted_{hashlib.sha256(content).hexdigest()[:16]}")
    policy = getattr(module, "policy", None)
    if not isinstance(policy, Policy):
        raise InputError(f"{path} defines no policy: write policy = Policy(...), see docs/leaderboard_submission.md.")
    return PolicyFile(path, content, policy, _about(path, getattr(module, "about", None), known_needs))


def find_file(spec: str, folder: str | Path) -> Path:
    """The file that a spec `file:PATH` means: in `folder`, if there is such a one, else from where we are."""
    path = Path(spec.removeprefix(PREFIX))
    inside = Path(folder) / path
    return inside if inside.is_file() else path


def _run(path: Path, name: str) -> ModuleType:
    """The module; of the same content at the same place only once, so that its hooks are compiled only once."""
    there = sys.modules.get(name)
    if there is not None and there.__file__ == str(path):
        return there
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where the cache of compiled hooks looks for them
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever a stranger's code may raise
        del sys.modules[name]
        raise InputError(f"{path} does not run: {_where(error, path)}{type(error).__name__}: {error}") from error
    return module


def _where(error: Exception, path: Path) -> str:
    """The last line of the file that the error passed through."""
    if isinstance(error, SyntaxError):
        return ""
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f"line {line}: "


def _about(path: Path, told: Any, known_needs: Sequence[str]) -> About:
    if not isinstance(told, dict):
        asked = ", ".join(f"{field.name}=.." for field in fields(About) if field.name != "link")
        raise InputError(f"{path} defines no about: write about = dict({asked}).")
    try:
        return read_about(told, known_needs)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
