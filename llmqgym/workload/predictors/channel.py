"""Channel: what a predictor of length classes makes of the truth: a confusion matrix, and what goes with it."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from llmqgym.errors import InputError
from llmqgym.workload.predictors.predictor import Floats, Ints
from llmqgym.workload.workload import MAX_TOKENS

MAX_CLASSES = 1000
#: How far a row of a confusion matrix may be from a sum of 1, so that rounded figures pass.
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Channel:
    """K classes of output length, and how often a request of one is taken for another. Raises InputError.

    A length is of class k when k of the `edges` are below it. Rows of `confusion` are true classes, columns predicted
    ones. Within a true class the longer requests are predicted longer: `within` is the correlation, between normal
    scores, of a request's rank in its class and the luck that chooses the column; 0 is the bare matrix.
    """

    edges: tuple[float, ...]  # [K - 1], tokens, increasing
    shares: tuple[float, ...]  # [K - 1], share of requests up to each edge where the matrix was measured
    confusion: tuple[tuple[float, ...], ...]  # [K, K]
    mean_tokens: tuple[float, ...]  # [K], mean true length given the predicted class
    within: float = 0.0

    def __post_init__(self) -> None:
        num = len(self.edges) + 1
        _require(2 <= num <= MAX_CLASSES, f"{num} classes", f"give 1 to {MAX_CLASSES - 1} edges")
        edges, shares = np.array(self.edges), np.array(self.shares)
        _require(bool((np.diff(edges) >= 0).all() and edges[0] > 0), f"edges {edges.tolist()}", "let them increase")
        _require(shares.shape == edges.shape, f"{len(shares)} shares", f"give {num - 1}, one an edge")
        _require(bool(((shares >= 0) & (shares <= 1)).all()), f"shares {shares.tolist()}", "give 0 to 1")
        means = np.array(self.mean_tokens)
        _require(means.shape == (num,), f"{means.size} class means", f"give {num}, one a class")
        _require(bool(((means >= 0) & (means <= MAX_TOKENS)).all()), f"class means {means.tolist()}", "give lengths")
        square = len(self.confusion) == num and all(len(row) == num for row in self.confusion)
        _require(square, f"a confusion matrix of {len(self.confusion)} rows", f"give {num} rows of {num}, one a class")
        for row in self.confusion:
            good = min(row) >= 0 and abs(sum(row) - 1) <= _SUM_TOLERANCE
            _require(good, f"row {list(row)} of the confusion matrix", "give shares that add up to 1")
        _require(-1 < self.within < 1, f"within {self.within}", "give a correlation between -1 and 1")

    def true_class(self, output_tokens: NDArray[Any]) -> Ints:
        """The class of each length [n]."""
        return np.searchsorted(self.edges, output_tokens)

    def predicted_class(self, output_tokens: Ints, reference_tokens: Ints, normal: Floats) -> Ints:
        """The class that is predicted for each length [n]; `reference_tokens` [m] are sorted, `normal` N(0, 1) [n]."""
        true_class = self.true_class(output_tokens)
        rank = self._normal_scores(output_tokens, true_class, reference_tokens)
        luck = ndtr(self.within * rank + np.sqrt(1 - self.within**2) * normal)
        bounds = np.cumsum(self.confusion, axis=1)
        bounds = (bounds / bounds[:, -1:])[:, :-1]
        predicted: Ints = (luck[:, None] >= bounds[true_class]).sum(axis=1)
        return predicted

    def scaled_to(self, reference_tokens: Ints) -> Channel:
        """The same matrix between classes of the same shares of these lengths [m], with class means of their own."""
        edges = np.quantile(reference_tokens, self.shares, method="inverted_cdf")
        classes = np.searchsorted(edges, reference_tokens)
        counts, totals = (np.bincount(classes, weights, len(edges) + 1) for weights in (None, reference_tokens))
        means = class_means(totals @ np.array(self.confusion), counts @ np.array(self.confusion), edges)
        return replace(self, edges=tuple(edges.tolist()), mean_tokens=tuple(means.tolist()))

    def document(self) -> dict[str, Any]:
        """As plain values: what `read_channel` reads."""
        return asdict(self)

    def _normal_scores(self, output_tokens: Ints, true_class: Ints, reference_tokens: Ints) -> Floats:
        """The normal quantile of each length's mid-rank among the reference lengths of its class [n]."""
        ends = np.searchsorted(reference_tokens, self.edges, side="right")
        starts, stops = np.r_[0, ends], np.r_[ends, len(reference_tokens)]
        start, num = starts[true_class], np.maximum(stops - starts, 1)[true_class]
        below = np.searchsorted(reference_tokens, output_tokens)
        through = np.searchsorted(reference_tokens, output_tokens, side="right")
        scores: Floats = ndtri(np.clip(((below + through) / 2 - start) / num, 0.5 / num, 1 - 0.5 / num))
        return scores


def read_channel(path: str | os.PathLike[str]) -> Channel:
    """A channel from JSON: an object with its fields, or one that has it as `fitted` (`llmqgym predictor report`).

    Raises InputError, beginning with the path.
    """
    try:
        document = json.loads(Path(path).read_text("utf-8"))
        return _channel(document)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}: check the path.") from error
    except (ValueError, RecursionError) as error:
        prefix = "" if isinstance(error, InputError) else "it is not JSON: "
        raise InputError(f"{path}: {prefix}{error}") from error


def _channel(document: Any) -> Channel:
    found = document.get("fitted", document) if isinstance(document, dict) else document
    needed = ("edges", "shares", "confusion", "mean_tokens")
    if not isinstance(found, dict) or not set(needed) <= set(found):
        raise InputError(f"it is no channel: give an object with {', '.join(needed)} and perhaps within.")
    try:
        return Channel(
            edges=tuple(map(float, found["edges"])),
            shares=tuple(map(float, found["shares"])),
            confusion=tuple(tuple(map(float, row)) for row in found["confusion"]),
            mean_tokens=tuple(map(float, found["mean_tokens"])),
            within=float(found.get("within", 0.0)),
        )
    except (TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"it is no channel ({error}): give lists of numbers.") from error


def class_means(totals: NDArray[Any], counts: NDArray[Any], edges: Floats) -> Floats:
    """totals / counts [K], and the lower edge of a class with no count."""
    lower = np.r_[0.0, edges]
    means: Floats = np.divide(totals, counts, out=lower, where=counts > 0)
    return means


def _require(good: bool, found: str, remedy: str) -> None:
    if not good:
        raise InputError(f"classes of output length: {found}: {remedy}.")
