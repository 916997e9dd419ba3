"""RequestSource: requests in order of arrival, handed over in chunks: a run's memory does not grow with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

#: Requests a chunk: some 8 MB. What is drawn or read does not depend on it.
CHUNK_REQUESTS = 1 << 16


#: Tokens that one hash of a Mooncake trace stands for.
DEFAULT_HASH_BLOCK_TOKENS = 512


@dataclass(frozen=True, eq=False)
class PromptHashes:
    """What is in the prompts of a trace: `ids` int64 [n], a request's from `first_hash` on, one for each `block_tokens`
    tokens and one for the rest. Equal ids stand for equal tokens after an equal beginning."""

    ids: NDArray[Any]
    block_tokens: int


class RequestSource(Protocol):
    """What a run replays. `Workload` is one whose requests lie in memory; a generator draws them as they are needed.

    `source` says where the requests come from, `corrections` how many cells were changed in reading them, and `hashes`
    what is in their prompts, where that is known.
    """

    @property
    def name(self) -> str: ...

    @property
    def source(self) -> dict[str, object]: ...

    @property
    def corrections(self) -> dict[str, int]: ...

    @property
    def hashes(self) -> PromptHashes | None: ...

    def __len__(self) -> int:
        """How many requests there are, R >= 1."""
        ...

    def chunks(self) -> Iterator[NDArray[Any]]:
        """The requests as ARRIVAL[n] tables, in order of arrival; each call begins anew and yields the same ones."""
        ...
