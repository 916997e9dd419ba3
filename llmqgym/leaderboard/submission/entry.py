"""An entry: a folder with a policy's or an agent's files, its board on the test seeds, and what its author declared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from llmqgym.errors import InputError
from llmqgym.files import atomic_bytes, make_folder, write_json
from llmqgym.leaderboard.contestant import MakeContestant
from llmqgym.leaderboard.make import Maker
from llmqgym.leaderboard.plan import plan_of
from llmqgym.leaderboard.submission.about import DEVELOPMENT_SEEDS
from llmqgym.leaderboard.submission.submitted import Submission
from llmqgym.leaderboard.submission.trial import try_out
from llmqgym.leaderboard.suite import Suite
from llmqgym.leaderboard.work import Piece

ENTRY = "entry.json"
#: Of a maker of contestants that looks for files in a folder: make_contestant(spec, folder=...).
MakeIn = Callable[..., Any]


def rehearse(
    submission: Submission,
    suite: Suite,
    make_in: MakeIn,
    folder: str | Path,
    on_piece: Callable[[Piece], None] | None = None,
) -> dict[str, Any]:
    """The board's document of a submission on the development seeds, made in `folder`; no entry. Raises InputError."""
    suite = dataclasses.replace(suite, first_seed=DEVELOPMENT_SEEDS.start)
    _check_place(submission, suite, make_in)
    try_out(submission)
    return _make(submission, suite, make_in, Path(folder), on_piece, "")


def enter(
    submission: Submission,
    suite: Suite,
    make_in: MakeIn,
    folder: str | Path,
    *,
    command: str,
    on_piece: Callable[[Piece], None] | None = None,
) -> tuple[Path, dict[str, Any]]:
    """Try the submission out, run it and the reference on the suite, and add folder/NAME: its path, the board's
    document.

    `make_in` is importable by name: make_in(spec, folder=..) makes contestants from files in a folder, in other
    processes too. An interrupted entry goes on when it is entered again. Raises InputError for one that its trial finds
    at fault, that needs what no scenario has, and whose name another file has taken; OutputError.
    """
    home = Path(folder) / submission.stem
    _check_free(home, submission)
    _check_place(submission, suite, make_in)
    try_out(submission)
    document = _make(submission, suite, make_in, home, on_piece, command)
    write_json(home / ENTRY, _entry(submission, suite, document))
    return home, document


def read_entry(folder: str | Path) -> dict[str, Any]:
    """What `enter` wrote. Raises InputError."""
    path = Path(folder) / ENTRY
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): name the folder of an entry.") from error
    if not isinstance(entry, dict) or not isinstance(entry.get("sha256"), dict):
        raise InputError(f"{path} is no entry: enter the policy again.")
    return entry


def _entry(submission: Submission, suite: Suite, document: dict[str, Any]) -> dict[str, Any]:
    """What is worth knowing without reading the board."""
    return {
        "name": submission.name,
        "sha256": submission.digests,
        "about": dataclasses.asdict(submission.about),
        "settings": submission.contestant.settings(),
        "oracle": submission.contestant.oracle,
        "suite": suite.name,
        "seeds": document["seeds"],
        "overall": next(each for each in document["overall"] if each["policy"] == submission.spec),
        **{name: document[name] for name in ("version", "dynamics", "commit", "command", "versions")},
    }


def _make(
    submission: Submission,
    suite: Suite,
    make_in: MakeIn,
    home: Path,
    on_piece: Callable[[Piece], None] | None,
    command: str,
) -> dict[str, Any]:
    """The document of its board, with copies of its files in the folder, which are what runs: the entry needs nothing
    from outside."""
    make_folder(home)
    for name, content in submission.files.items():
        with atomic_bytes(home / name) as written:
            written.write(content)
    maker = Maker(dataclasses.replace(suite, policies=(submission.spec,)), contestants_in(make_in, home), home)
    maker.run(on_piece=on_piece)
    return maker.write(command)


def contestants_in(make_in: MakeIn, folder: str | Path) -> MakeContestant:
    """From a spec to a contestant, files being looked for in the folder; it can be handed to another process."""
    return partial(make_in, folder=str(folder))


def _check_free(home: Path, submission: Submission) -> None:
    if (home / ENTRY).exists() and read_entry(home)["sha256"] != submission.digests:
        raise InputError(
            f"{home} is the entry of another file: give {submission.name!r} another name, or delete that folder if it "
            "is yours."
        )


def _check_place(submission: Submission, suite: Suite, make_in: MakeIn) -> None:
    """Raises InputError where the contestant would stay out of every scenario."""
    own = submission.contestant
    plan = plan_of(
        dataclasses.replace(suite, policies=(own.spec,)), lambda spec: own if spec == own.spec else make_in(spec)
    )
    reasons = [plan.skipped.get((arena.name, own.spec)) for arena in plan.arenas]
    if all(reasons):
        raise InputError(
            f"{submission.name!r} {reasons[0]}; so it is in every scenario of the suite {suite.name!r}: choose another."
        )
