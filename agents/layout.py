"""Layout: how a flat observation is cut into the server's fields and a row for each request shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmqgym.kernel.observe import DEFAULT_RUNNING, DEFAULT_WAITING, SERVER_FIELDS


@dataclass(frozen=True)
class Layout:
    """Sizes of a flat observation, float32 [S + K W + B R]: the server's S fields, then K waiting requests of W fields,
    then B running ones of R fields, by name.

    >>> Layout(window=16, running=16).size, Layout(window=2, running=0).num_actions
    (203, 3)
    """

    window: int
    running: int
    waiting_fields: tuple[str, ...] = DEFAULT_WAITING
    running_fields: tuple[str, ...] = DEFAULT_RUNNING
    server_fields: tuple[str, ...] = tuple(each.name for each in SERVER_FIELDS)

    @classmethod
    def of(cls, config: Any) -> Layout:
        """Of the settings of an environment, an `EnvConfig`."""
        return cls(config.window, config.running, tuple(config.waiting_fields), tuple(config.running_fields))

    @property
    def num_server(self) -> int:
        """S."""
        return len(self.server_fields)

    @property
    def num_actions(self) -> int:
        """1 + K + B."""
        return 1 + self.window + self.running

    @property
    def first_running(self) -> int:
        """Where the rows of the running requests begin."""
        return self.num_server + self.window * len(self.waiting_fields)

    @property
    def size(self) -> int:
        """Of the whole observation."""
        return self.first_running + self.running * len(self.running_fields)
