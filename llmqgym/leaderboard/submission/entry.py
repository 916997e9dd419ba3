"""An entry: a folder with a policy's file, its board on the test seeds, and what its author declared."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from llmqgym.errors import InputError
from llmqgym.files import atomic_bytes, make_folder, write_json
from llmqgym.leaderboard.contestant import MakeContestant
from llmqgym.leaderboard.make import Maker
from llmqgym.leaderboard.submission.policy_file import DEVELOPMENT_SEEDS, PREFIX, PolicyFile
from llmqgym.leaderboard.submission.trial import try_out
from llmqgym.leaderboard.suite import Suite
from llmqgym.leaderboard.work import Piece

ENTRY = "entry.json"
#: Of a maker of contestants that looks for files in a folder: make_contestant(spec, folder=...).
MakeIn = Callable[..., Any]


def name_of(file: PolicyFile) -> str:
    """A policy's name as a folder's. Raises InputError for one that leaves nothing."""
    name = re.sub(r"[^a-z0-9.+-]+", "-", file.policy.name.lower()).strip("-.")
    if not name:
        raise InputError(f"the policy's name {file.policy.name!r} makes no folder: use letters and digits.")
    return name


def rehearse(
    file: PolicyFile, suite: Suite, make_in: MakeIn, folder: str | Path, on_piece: Callable[[Piece], None] | None = None
) -> dict[str, Any]:
    """The board's document of a policy on the development seeds, made in `folder`; no entry. Raises InputError."""
    try_out(file.policy)
    suite = dataclasses.replace(suite, first_seed=DEVELOPMENT_SEEDS.start)
    return _make(file, suite, make_in, Path(folder), on_piece, "").document


def enter(
    file: PolicyFile,
    suite: Suite,
    make_in: MakeIn,
    folder: str | Path,
    *,
    command: str,
    on_piece: Callable[[Piece], None] | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Try the policy out, run it and the reference on the suite, and add folder/NAME: its path, the board's document.

    `make_in` is importable by name: make_in(spec, folder=..) makes contestants from files in a folder, in other
    processes too. An interrupted entry goes on when it is entered again. Raises InputError for a policy that its trial
    finds at fault, and for a name that another file has taken; OutputError.
    """
    home = Path(folder) / name_of(file)
    _check_free(home, file)
    try_out(file.policy)
    made = _make(file, suite, make_in, home, on_piece, command)
    write_json(home / ENTRY, made.entry())
    return home, made.document


def read_entry(folder: str | Path) -> dict[str, Any]:
    """What `enter` wrote. Raises InputError."""
    path = Path(folder) / ENTRY
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): name the folder of an entry.") from error
    if (
        not isinstance(entry, dict)
        or not isinstance(entry.get("sha256"), str)
        or not isinstance(entry.get("file"), str)
    ):
        raise InputError(f"{path} is no entry: enter the policy again.")
    return entry


@dataclasses.dataclass(frozen=True)
class _Made:
    """A board of one policy and the reference."""

    file: PolicyFile
    spec: str
    suite: Suite
    document: dict[str, Any]

    def entry(self) -> dict[str, Any]:
        """What is worth knowing without reading the board."""
        row = next(each for each in self.document["overall"] if each["policy"] == self.spec)
        return {
            "name": self.file.policy.name,
            "file": self.spec.removeprefix(PREFIX),
            "sha256": self.file.sha256,
            "about": dataclasses.asdict(self.file.about),
            "settings": self.file.policy.settings(),
            "oracle": self.file.policy.oracle,
            "suite": self.suite.name,
            "seeds": self.document["seeds"],
            "overall": row,
            **{name: self.document[name] for name in ("version", "dynamics", "commit", "command", "versions")},
        }


def _make(
    file: PolicyFile,
    suite: Suite,
    make_in: MakeIn,
    home: Path,
    on_piece: Callable[[Piece], None] | None,
    command: str,
) -> _Made:
    """With a copy of the file in the folder, which is what runs: the entry needs nothing from outside."""
    make_folder(home)
    copy = f"{name_of(file)}.py"
    content = file.path.read_bytes()
    with atomic_bytes(home / copy) as written:
        written.write(content)
    spec = PREFIX + copy
    maker = Maker(dataclasses.replace(suite, policies=(spec,)), contestants_in(make_in, home), home)
    maker.run(on_piece=on_piece)
    return _Made(file, spec, suite, maker.write(command))


def contestants_in(make_in: MakeIn, folder: str | Path) -> MakeContestant:
    """From a spec to a contestant, files being looked for in the folder; it can be handed to another process."""
    return partial(make_in, folder=str(folder))


def _check_free(home: Path, file: PolicyFile) -> None:
    if (home / ENTRY).exists() and read_entry(home)["sha256"] != file.sha256:
        raise InputError(
            f"{home} is the entry of another file: name the policy otherwise, or delete that folder if it is yours."
        )
