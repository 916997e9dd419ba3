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

from llmqgym.errors import InputError, unknown
from llmqgym.leaderboard.contestant import PolicyContestant
from llmqgym.leaderboard.suite import FIRST_SEED, MAX_SEEDS
from llmqgym.policy import Policy

#: Before the path, in a contestant's spec.
PREFIX = "file:"
#: For whoever makes a policy. Boards are made on the test seeds, which are for nothing else.
DEVELOPMENT_SEEDS = range(10_000)
TEST_SEEDS = range(FIRST_SEED, FIRST_SEED + MAX_SEEDS)


@dataclass(frozen=True)
class About:
    """What the file's `about` says: who made the policy, what it must be told, and how its parameters were chosen."""

    author: str
    summary: str
    needs: tuple[str, ...]  # words of `llmqgym list policies`
    parameters_tried: dict[str, str]  # of each parameter the values that were tried, and how one was chosen; {}: none
    tuned_on_scenarios: tuple[str, ...]  # scenarios or traces that were looked at meanwhile; (): none
    tuned_on_seeds: tuple[int, ...]
    link: str = ""  # a write-up


@dataclass(frozen=True)
class PolicyFile:
    """A file that has been run."""

    path: Path
    sha256: str
    policy: Policy
    about: About

    def contestant(self, spec: str) -> PolicyContestant:
        """Of the leaderboard."""
        about = self.about
        return PolicyContestant(spec, self.policy, family="submitted", summary=about.summary, needs=about.needs)


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
    digest = hashlib.sha256(content).hexdigest()
    module = _run(path, f"llmqgym_submitted_{digest[:16]}")
    policy = getattr(module, "policy", None)
    if not isinstance(policy, Policy):
        raise InputError(f"{path} defines no policy: write policy = Policy(...), see docs/leaderboard_submission.md.")
    return PolicyFile(path, digest, policy, _about(path, getattr(module, "about", None), known_needs))


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
    known = {field.name: field for field in fields(About)}
    required = [name for name in known if name != "link"]
    if not isinstance(told, dict):
        raise InputError(
            f"{path} defines no about: write about = dict({', '.join(f'{name}=..' for name in required)})."
        )
    for key, value in told.items():
        if key not in known:
            raise unknown(f"key of about in {path}", str(key), known)
        _check(path, key, str(known[key].type), value)
    missing = [name for name in required if name not in told]
    if missing:
        raise InputError(f"{path}: about lacks {', '.join(missing)}: say it, even if it is none.")
    given: dict[str, Any] = {
        key: value if isinstance(value, (str, dict)) else tuple(value) for key, value in told.items()
    }
    about = About(**given)
    for need in about.needs:
        if need not in known_needs:
            raise unknown(f"need of about in {path}", need, known_needs)
    leaked = [seed for seed in about.tuned_on_seeds if seed in TEST_SEEDS]
    if leaked:
        raise InputError(
            f"{path}: tuned on test seeds ({', '.join(map(str, leaked[:3]))}): tune on {DEVELOPMENT_SEEDS.start} to "
            f"{DEVELOPMENT_SEEDS.stop - 1}; {TEST_SEEDS.start} to {TEST_SEEDS.stop - 1} are for boards only."
        )
    return about


_KINDS: dict[str, tuple[type | tuple[type, ...], type | None, str]] = {
    "str": (str, None, "a text"),
    "tuple[str, ...]": ((list, tuple), str, "a list of texts"),
    "tuple[int, ...]": ((list, tuple, range), int, "a list of whole numbers"),
    "dict[str, str]": (dict, str, "a dict of texts"),
}


def _check(path: Path, key: str, kind: str, value: Any) -> None:
    outer, inner, words = _KINDS[kind]
    members = value.items() if isinstance(value, dict) else value
    fits = isinstance(value, outer)
    if fits and inner is not None:
        flat = [each for pair in members for each in pair] if isinstance(value, dict) else list(members)
        fits = all(isinstance(each, inner) and not isinstance(each, bool) for each in flat)
    if not fits:
        raise InputError(f"{path}: {key} of about is {value!r}: give {words}.")
