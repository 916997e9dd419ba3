"""RequestSource: requests in order of arrival, handed over in chunks: a run's memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from numpy.typing import NDArray

#: Requests a chunk: some 8 MB. What is drawn or read does not depend on it.
CHUNK_REQUESTS = 1 << 16


class RequestSource(Protocol):
    """What a run replays. `Workload` is one whose requests lie in memory; a generator draws them as they are needed.

    `source` says where the requests come from and `corrections` how many cells were changed in reading them.
    """

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> dict[str, object]: ...

    @property
    def corrections(self) -> dict[str, int]: ...

    def __len__(self) -> int:
        """How many requests there are, R >= 1."""
        ...

    def chunks(self) -> Iterator[NDArray[Any]]:
        """The requests as ARRIVAL[n] tables, in order of arrival; each call begins anew and yields the same ones."""
        ...
