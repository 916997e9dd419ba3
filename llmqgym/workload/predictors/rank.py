"""Rank: a learned ranker's score, with a stated Kendall tau to the true lengths of the trace."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from llmqgym.errors import InputError
from llmqgym.workload.predictors.predictor import Draws, Floats, Ints, Predictions, Predictor

#: Quantiles of the reference lengths among which tau is computed pair by pair.
_NUM_QUANTILES = 1000


@dataclass(frozen=True)
class Rank(Predictor):
    """A score in (0, 1), shorter first, whose Kendall tau-b to the true lengths is tau (learning to rank)."""

    name = "rank"
    in_tokens = False
    needs_reference = True
    tau: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("tau", -1, 1)

    def prepare(self, reference_tokens: Ints) -> PreparedRank:
        """With the reference lengths in whose ranks it scores.

        Raises InputError for a tau that a score without ties cannot have with lengths that are tied.
        """
        reference = np.sort(reference_tokens)
        return PreparedRank(
            self.tau,
            missing=self.missing,
            cost_s=self.cost_s,
            reference_tokens=reference,
            correlation=correlation_for(self.tau, reference),
        )

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        return self.prepare(output_tokens)._predict(output_tokens, draws)


@dataclass(frozen=True, eq=False)
class PreparedRank(Rank):
    """A Gaussian copula: `correlation` between the normal score of a length's rank in the reference and the noise."""

    reference_tokens: Ints = field(kw_only=True)
    correlation: float = field(kw_only=True)

    def _predict(self, output_tokens: Ints, draws: Draws) -> Predictions:
        truth = normal_scores(output_tokens, self.reference_tokens)
        noise = draws.normal(len(output_tokens))
        return Predictions.of(ndtr(self.correlation * truth + math.sqrt(1 - self.correlation**2) * noise))


def normal_scores(tokens: Ints, reference_tokens: Ints) -> Floats:
    """The normal quantile of each length's mid-rank in the reference [m], sorted; finite beyond its ends too."""
    num = len(reference_tokens)
    twice = np.searchsorted(reference_tokens, tokens) + np.searchsorted(reference_tokens, tokens, side="right")
    scores: Floats = ndtri(np.clip(twice / (2 * num), 0.5 / num, 1 - 0.5 / num))
    return scores


def correlation_for(tau: float, reference_tokens: Ints) -> float:
    """The copula's correlation that gives Kendall's tau-b on lengths like the reference [m], sorted.

    Without ties it is sin(pi tau / 2). Ties among the lengths lower tau-b, since the scores have none: then the
    expected tau-b is solved for, pair by pair of the reference's quantiles. Raises InputError where ties forbid it.
    """
    num = len(reference_tokens)
    chosen = np.linspace(0, num - 1, min(num, _NUM_QUANTILES)).round().astype(np.int64)
    values, counts = np.unique(reference_tokens[chosen], return_counts=True)
    if abs(tau) == 1 or len(values) == 1:
        return math.sin(math.pi / 2 * tau)
    untied = 1 - float((counts * (counts - 1)).sum()) / (len(chosen) * (len(chosen) - 1))
    most = math.sqrt(untied)
    if abs(tau) >= most:
        raise InputError(
            f"predictor 'rank': tau is {tau:g}, but {1 - untied:.1%} of the pairs of output lengths are ties: "
            f"give less than {most:.3f} in size, or 1."
        )
    first, second = np.triu_indices(len(values), 1)
    scores = normal_scores(values, reference_tokens)
    gaps = (scores[second] - scores[first]) / math.sqrt(2)
    weights = counts[first] * counts[second]
    weights = weights / weights.sum()

    def excess(correlation: float) -> float:
        agreeing = ndtr(correlation / math.sqrt(1 - correlation**2) * gaps)
        return float(most * (weights @ (2 * agreeing - 1))) - abs(tau)

    return math.copysign(brentq(excess, 0.0, 1 - 1e-12, xtol=1e-6), tau)
