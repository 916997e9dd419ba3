"""Verify: whether a board says what its runs say, and whether its runs can be had again, bit for bit."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmqgym.errors import InputError
from llmqgym.files import json_text
from llmqgym.leaderboard import board
from llmqgym.leaderboard.contestant import MakeContestant
from llmqgym.leaderboard.make import read_document
from llmqgym.leaderboard.origin import changes_since
from llmqgym.leaderboard.plan import Plan, plan_of
from llmqgym.leaderboard.report.words import recommend
from llmqgym.leaderboard.store import Store, as_kept
from llmqgym.leaderboard.suite import read_settings
from llmqgym.leaderboard.work import Piece, do

#: Of a piece: what is not a result.
_NO_RESULT = ("wall_s", "key")


@dataclass(frozen=True)
class Replay:
    """What came of a piece that was done again."""

    piece: Piece
    differences: list[str]  # names of results that are not what the store says; none: the same bits


@dataclass(frozen=True)
class Verdict:
    """What came of verifying a board."""

    changes: list[str]  # what is other here than where it was made
    misread: list[str]  # parts of the document that its runs do not bear out
    replays: list[Replay]

    @property
    def holds(self) -> bool:
        """Whether nothing was found."""
        return not self.misread and not any(replay.differences for replay in self.replays)


def verify(
    folder: str | Path,
    make_contestant: MakeContestant,
    num_rows: int | None,
    seed: int | None = None,
    on_start: Callable[[list[str], int], None] | None = None,
    on_replay: Callable[[Replay], None] | None = None,
) -> Verdict:
    """Make the document of the board in `folder` again from its stored pieces, and `num_rows` of these again from
    nothing, chosen at random (None: all). `on_start` is told what is other here, and how many will be replayed.

    Raises InputError for a folder without a board, one with pieces missing, and a number below 1.
    """
    if num_rows is not None and num_rows < 1:
        raise InputError(f"rows is {num_rows}: give 1 or more, or leave it out for 10.")
    store = Store(folder)
    told = read_document(store.folder)
    plan = plan_of(read_settings(told["settings"]), make_contestant)
    kept = _kept(store, plan, told)
    changes = changes_since(told)
    chosen = list(zip(plan.pieces, kept, strict=True))
    if num_rows is not None and num_rows < len(chosen):
        chosen = random.Random(seed).sample(chosen, num_rows)
    if on_start is not None:
        on_start(changes, len(chosen))
    by_key = {piece.key: each for piece, each in zip(plan.pieces, kept, strict=True)}
    misread = _misread(told, board.document(plan, by_key.__getitem__))
    replays = []
    for piece, each in chosen:
        replays.append(Replay(piece, _differences(each, as_kept(do(piece, make_contestant)))))
        if on_replay is not None:
            on_replay(replays[-1])
    return Verdict(changes, misread, replays)


def _kept(store: Store, plan: Plan, told: dict[str, Any]) -> list[dict[str, Any]]:
    """The stored pieces in the order of the plan, by the keys in the document: other sources make other keys."""
    if len(told["pieces"]) != len(plan.pieces):
        raise InputError(
            f"the board in {str(store.folder)!r} lists {len(told['pieces'])} pieces of work, its settings make "
            f"{len(plan.pieces)}: run the leaderboard again."
        )
    missing = [key for key in told["pieces"] if not store.has(key)]
    if missing:
        raise InputError(
            f"{len(missing)} of {len(plan.pieces)} pieces are missing in {str(store.folder / 'cells')!r}: the command "
            "that made the board makes them again."
        )
    return [store.get(key) for key in told["pieces"]]


def _misread(told: dict[str, Any], made: dict[str, Any]) -> list[str]:
    """Parts of the document that are others when it is made again from the stored pieces."""
    again = json.loads(json_text(made))
    found = []
    for name in ("scenarios", "policies", "cells", "overall"):
        rows, rows_again = told.get(name) or [], again[name]
        if len(rows) != len(rows_again):
            found.append(f"{name}: {len(rows)} rows, the runs make {len(rows_again)}")
            continue
        for row, row_again in zip(rows, rows_again, strict=True):
            if row != row_again:
                where = ", ".join(str(row[key]) for key in ("scenario", "policy", "name", "spec") if key in row)
                found.append(f"{name}: {where}: {', '.join(_unequal(row, row_again))}")
    if told.get("recommendation") != json.loads(json_text(recommend(again))):
        found.append("recommendation")
    return found


def _differences(kept: dict[str, Any], made: dict[str, Any]) -> list[str]:
    return [name for name in _unequal(kept, made) if name.partition(".")[0] not in _NO_RESULT]


def _unequal(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names at which two documents differ, one level down where both have a level."""
    found = []
    for name in {**one, **other}:
        left, right = one.get(name), other.get(name)
        if left == right:
            continue
        if isinstance(left, dict) and isinstance(right, dict):
            found += [f"{name}.{inner}" for inner in {**left, **right} if left.get(inner) != right.get(inner)]
        else:
            found.append(name)
    return found
