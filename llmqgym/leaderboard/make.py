"""Make: a suite from its plan to the files of its board, going on where an earlier run has stopped."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from llmqgym.errors import InputError
from llmqgym.files import write_json
from llmqgym.leaderboard import board, tables
from llmqgym.leaderboard.contestant import MakeContestant
from llmqgym.leaderboard.origin import origin
from llmqgym.leaderboard.plan import Plan, plan_of
from llmqgym.leaderboard.report.page import write_page
from llmqgym.leaderboard.report.words import recommend
from llmqgym.leaderboard.schedule import do_all, do_all_on_ray
from llmqgym.leaderboard.store import Store
from llmqgym.leaderboard.suite import Suite
from llmqgym.leaderboard.work import Piece

DOCUMENT, RUNS, CELLS, PAGE = "leaderboard.json", "leaderboard.csv", "board.csv", "leaderboard.html"


class Maker:
    """A board in the making, in the folder `out`. Making a Maker reads what is named and makes the folder."""

    def __init__(self, suite: Suite, make_contestant: MakeContestant, out: str | Path) -> None:
        self.plan: Plan = plan_of(suite, make_contestant)
        self.store = Store(out)
        self._make_contestant = make_contestant
        self.store.make()

    def missing(self) -> list[Piece]:
        """What is still to be done."""
        return [piece for piece in self.plan.pieces if not self.store.has(piece.key)]

    def run(
        self,
        *,
        jobs: int | None = None,
        ray: bool = False,
        address: str | None = None,
        on_piece: Callable[[Piece], None] | None = None,
    ) -> None:
        """Do what is missing: see `schedule.do_all` and `schedule.do_all_on_ray`. Raises InputError, OutputError."""
        pieces = self.missing()
        if not pieces:
            return
        asked: dict[str, Any] = {"make_contestant": self._make_contestant, "store": self.store, "jobs": jobs}
        if ray:
            do_all_on_ray(pieces, address=address, on_piece=on_piece, **asked)
        else:
            do_all(pieces, on_piece=on_piece, **asked)

    def write(self, command: str) -> dict[str, Any]:
        """Write leaderboard.json, leaderboard.csv, board.csv and leaderboard.html, the JSON last, and return it. Raises
        InputError for a piece that is not there, OutputError."""
        read = lru_cache(maxsize=None)(self.store.get)
        made = {**board.document(self.plan, read), **origin(command)}
        made["recommendation"] = recommend(made)
        tables.write_runs(self.store.folder / RUNS, self.plan, read)
        tables.write_cells(self.store.folder / CELLS, made)
        write_page(self.store.folder / PAGE, made)
        write_json(self.store.folder / DOCUMENT, made)
        return made


def read_document(folder: str | Path) -> dict[str, Any]:
    """The document of the board in a folder. Raises InputError for a folder without one."""
    path = Path(folder) / DOCUMENT
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): name the folder of a leaderboard (--out).") from error
    if not isinstance(told, dict) or not isinstance(told.get("settings"), dict) or "pieces" not in told:
        raise InputError(f"{path} is not the document of a leaderboard: name the folder that --out was.")
    return told
