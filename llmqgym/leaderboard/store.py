"""The store of a board: a folder with one file for each piece of work that is done, whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from llmqgym.errors import InputError
from llmqgym.files import OutputError, json_text, write_json

_FOLDER = "cells"


class Store:
    """The pieces under `folder`/cells, each named by its key."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._cells = self.folder / _FOLDER

    def make(self) -> None:
        """Make the folders. Raises OutputError."""
        try:
            self._cells.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the folder {str(self._cells)!r}: {error.strerror}: choose another --out."
            ) from error

    def path(self, key: str) -> Path:
        """Of a piece."""
        return self._cells / f"{key}.json"

    def put(self, piece: dict[str, Any]) -> None:
        """Keep a piece. Raises OutputError."""
        write_json(self.path(piece["key"]), piece)

    def has(self, key: str) -> bool:
        """Whether the piece is there."""
        return self.path(key).is_file()

    def get(self, key: str) -> dict[str, Any]:
        """A piece that is there, as it is read from its file. Raises InputError for a file that is no piece."""
        path = self.path(key)
        try:
            piece = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}): delete it and run the leaderboard again.") from error
        if not isinstance(piece, dict) or piece.get("key") != key:
            raise InputError(f"{path} is not the piece that its name says: delete it and run the leaderboard again.")
        return piece


def as_kept(piece: dict[str, Any]) -> dict[str, Any]:
    """A piece as it is read back from its file."""
    kept: dict[str, Any] = json.loads(json_text(piece))
    return kept
