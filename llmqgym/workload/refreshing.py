"""Refreshing: how predictions change while a request runs; the settings of kernel/refreshing.py."""

from __future__ import annotations

from dataclasses import dataclass

from llmqgym.kernel.tables import MAX_BINS
from llmqgym.workload.checks import check_count, check_real


@dataclass(frozen=True)
class Refreshing:
    """TRAIL's refreshed predictions (arXiv 2410.01035): `bins` bins of `width` tokens, a look every `every` tokens.

    `scale` is of the classifier's error and `spread` of the weights that it gives to bins about the one that it
    points at, both in tokens. With probability `persistence` it errs by the same number of tokens as always with this
    request. Raises InputError for a value out of its bounds.
    """

    seed: int
    every: int = 8
    bins: int = 10
    width: float = 51.2
    scale: float = 60.0
    spread: float = 25.6
    persistence: float = 0.95

    def __post_init__(self) -> None:
        check_count("refreshing: seed", self.seed, 2**63 - 1, 0)
        check_count("refreshing: every", self.every, 10**6)
        check_count("refreshing: bins", self.bins, MAX_BINS, 2)
        check_real("refreshing: width", self.width, 1.0, 1e6)
        check_real("refreshing: scale", self.scale, 0.0, 1e6)
        check_real("refreshing: spread", self.spread, 1e-3, 1e6)
        check_real("refreshing: persistence", self.persistence, 0.0, 1.0)
