"""Submission: what is to be entered: a contestant, the files that it is made of, and what its author declares."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

from llmqgym.errors import InputError
from llmqgym.leaderboard.contestant import Contestant
from llmqgym.leaderboard.submission.about import About


@dataclass(frozen=True)
class Submission:
    """A policy, or an agent. Its spec is `prefix` and the first of its files."""

    name: str
    prefix: str
    contents: dict[str, bytes]  # of its files, by ending
    contestant: Contestant  # where its files are now
    about: About

    @cached_property
    def stem(self) -> str:
        """The name as one of a folder, and of files. Raises InputError for one that leaves nothing."""
        found = re.sub(r"[^a-z0-9.+-]+", "-", self.name.lower()).strip("-.")
        if not found:
            raise InputError(f"the name {self.name!r} makes no folder: use letters and digits.")
        return found

    @property
    def files(self) -> dict[str, bytes]:
        """The contents by name of file, in an entry."""
        return {self.stem + ending: content for ending, content in self.contents.items()}

    @property
    def spec(self) -> str:
        """In an entry."""
        return self.prefix + next(iter(self.files))

    @property
    def digests(self) -> dict[str, str]:
        """SHA-256 by name of file."""
        return {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}
