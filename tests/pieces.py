"""A source of requests that hands them over in pieces of any size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from llmqgym.workload.workload import Workload


@dataclass(frozen=True)
class InChunks:
    """A RequestSource: the requests of a workload, so many at a time."""

    workload: Workload
    size: int
    name: str = "in chunks"

    @property
    def source(self) -> dict[str, object]:
        return {}

    @property
    def corrections(self) -> dict[str, int]:
        return {}

    @property
    def hashes(self) -> None:
        return None

    def __len__(self) -> int:
        return len(self.workload)

    def chunks(self) -> Iterator[NDArray[Any]]:
        for first in range(0, len(self), self.size):
            yield self.workload.requests[first : first + self.size]
