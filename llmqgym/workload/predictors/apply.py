"""Apply: the predictions of a spec written into the requests of a workload, or of any other source as they come."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from llmqgym.workload.predictors.predictor import Draws, Predictor
from llmqgym.workload.predictors.registry import make_predictor
from llmqgym.workload.source import PromptHashes, RequestSource
from llmqgym.workload.workload import Workload

#: A predictor that must know the trace is shown the true lengths of this many requests, the first ones.
REFERENCE_REQUESTS = 1 << 16


@dataclass(frozen=True, eq=False)
class PredictedSource:
    """A source of requests with predictions in place of those they have; each call of `chunks` draws the same."""

    requests: RequestSource
    predictor: Predictor
    spec: str
    seed: int

    @property
    def name(self) -> str:
        """The name of the requests' source."""
        return self.requests.name

    @property
    def source(self) -> dict[str, object]:
        """Where the requests come from, and the predictor."""
        return _source(self.requests.source, self.spec, self.predictor)

    @property
    def corrections(self) -> dict[str, int]:
        """Those of the requests' source."""
        return self.requests.corrections

    @property
    def hashes(self) -> PromptHashes | None:
        """Those of what is below."""
        return self.requests.hashes

    def __len__(self) -> int:
        return len(self.requests)

    def chunks(self) -> Iterator[NDArray[Any]]:
        """ARRIVAL[n] tables, copies."""
        draws = Draws(self.seed)
        for chunk in self.requests.chunks():
            yield _predicted(chunk, self.predictor, draws)


@overload
def apply_predictor(requests: Workload, spec: str, seed: int) -> Workload: ...
@overload
def apply_predictor(requests: RequestSource, spec: str, seed: int) -> RequestSource: ...
def apply_predictor(requests: Workload | RequestSource, spec: str, seed: int) -> Workload | RequestSource:
    """The requests with the predictions of `spec`, NAME:k=v,..., in place of those they have.

    They depend on the lengths and the seed alone: every policy, and every server, meets the same predictions, and a
    Workload the same as a source that hands it over in chunks. Raises InputError for an unknown name or setting.
    """
    predictor = make_predictor(spec)
    if not isinstance(requests, Workload):
        if predictor.needs_reference:
            predictor = predictor.prepare(_reference_tokens(requests))
        return PredictedSource(requests, predictor, spec, seed)
    table = predicted_table(requests.requests, predictor, seed)
    return dataclasses.replace(requests, requests=table, source=_source(requests.source, spec, predictor))


def predicted_table(requests: NDArray[Any], predictor: Predictor, seed: int) -> NDArray[Any]:
    """A copy of an ARRIVAL table with the predictions of a predictor, which is fitted to it if it needs that."""
    if predictor.needs_reference:
        predictor = predictor.prepare(requests["output_tokens"][:REFERENCE_REQUESTS].copy())
    return _predicted(requests, predictor, Draws(seed))


def _reference_tokens(requests: RequestSource) -> NDArray[np.int64]:
    """True output lengths of the first requests, at most REFERENCE_REQUESTS of them."""
    parts: list[NDArray[np.int64]] = []
    missing = REFERENCE_REQUESTS
    for chunk in requests.chunks():
        parts.append(chunk["output_tokens"][:missing].copy())
        missing -= len(parts[-1])
        if not missing:
            break
    return np.concatenate(parts)


def _predicted(requests: NDArray[Any], predictor: Predictor, draws: Draws) -> NDArray[Any]:
    table = requests.copy()
    said = predictor.predict(np.ascontiguousarray(requests["output_tokens"]), draws)
    table["predicted_output_tokens"] = said.point
    table["predicted_lower_tokens"] = said.lower
    table["predicted_upper_tokens"] = said.upper
    return table


def _source(source: dict[str, object], spec: str, predictor: Predictor) -> dict[str, object]:
    cost: dict[str, object] = {"predictor_cost_s": predictor.cost_s} if predictor.cost_s else {}
    return {**source, "predictor": spec, **cost}
