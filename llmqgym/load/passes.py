"""The passes of a saturated server at a given mean batch, and how long they last.

The mean batch alone does not give the mean time of a pass: the token table is a staircase that is flat below some 100
tokens, and most passes of a server with long outputs have no prefill while a few have a large one. So a pass draws its
newcomers from a Poisson law and does their prefill up to the budget that the decodes leave; the rest comes first in the
next. Work is fluid: of a backlog cut short, requests, tokens and squares go in the same share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmqgym.hardware.integers import IntegerProfile
from llmqgym.load.lengths import Lengths

Floats = NDArray[np.float64]

#: Seed of the draws: the same model gives the same figures.
SEED = 20_240_501
#: Chains of passes side by side, passes of each that are thrown away, and passes that count.
_CHAINS, _WARM_UP, _COUNTED = 2048, 24, 48
#: From this share of the budget on every pass is full.
_FULL = 0.9995
_PS_PER_S = 1e12


@dataclass(frozen=True)
class Batch:
    """The mean batch of a pass."""

    arrivals: float  #: x, requests that enter
    decodes: float  #: B
    decode_kv_tokens: float  #: S, held by the decodes before the pass
    prefill_budget: int  #: tokens that the decodes leave to prefill


class Newcomers:
    """Draws the prompts of newcomers: windows of the sample in random order."""

    def __init__(self, lengths: Lengths, rng: np.random.Generator) -> None:
        prompts = rng.permutation(lengths.prompt_tokens).astype(np.float64)
        self.rng = rng
        self.size = len(prompts)
        self.tokens = np.concatenate(([0.0], np.cumsum(prompts)))
        self.squares = np.concatenate(([0.0], np.cumsum(prompts**2)))

    def draw(self, number: NDArray[np.int64]) -> Floats:
        """Requests, tokens and sum of squares [3, chains] of so many newcomers, `number` [chains]."""
        first = self.rng.integers(self.size, size=len(number))
        rounds, last = np.divmod(first + number, self.size)
        sums = (table[-1] * rounds + table[last] - table[first] for table in (self.tokens, self.squares))
        return np.array((number, *sums), np.float64)


def mean_pass_s(lengths: Lengths, profile: IntegerProfile, batch: Batch, spread: float) -> float:
    """Mean seconds of a pass of a saturated server with this mean batch; deterministic.

    `spread` is the standard deviation of the decodes.
    The newcomers of different passes are independent: each waits for a request that leaves, not for time to go by.
    """
    clock, mean_prefill = Clock(profile), batch.arrivals * lengths.mean_prompt
    if mean_prefill >= _FULL * batch.prefill_budget:
        full = (mean_prefill, batch.arrivals * lengths.mean_square, batch.decodes, batch.decode_kv_tokens)
        return float(clock.times_s(*(np.array([value]) for value in full))[0])
    rng = np.random.default_rng(SEED)
    normal = rng.standard_normal(_CHAINS // 2)
    drawn = batch.decodes + spread * np.concatenate((normal, -normal))
    decodes = np.floor(np.maximum(drawn, 0.0) + rng.permutation(_CHAINS) / _CHAINS)
    held = decodes * (batch.decode_kv_tokens / batch.decodes if batch.decodes else 0.0)
    newcomers, backlog, records = Newcomers(lengths, rng), np.zeros((3, _CHAINS)), []
    for number in range(_WARM_UP + _COUNTED):
        backlog += newcomers.draw(rng.poisson(batch.arrivals, _CHAINS))
        done = backlog * np.minimum(1.0, batch.prefill_budget / np.maximum(backlog[1], 1.0))
        backlog -= done
        if number >= _WARM_UP:
            records.append((done[1], clock.times_s(done[1], done[2], decodes, held)))
    return _mean_at(mean_prefill, *np.array(records).transpose(1, 0, 2))


class Clock:
    """How long passes last: `IntegerProfile.iteration_ps` for arrays of numbers that need not be whole."""

    def __init__(self, profile: IntegerProfile) -> None:
        self.profile = profile
        self.table = np.array(profile.table, np.float64)

    def times_s(self, prefill: Floats, two_f: Floats, decodes: Floats, held: Floats) -> Floats:
        """Seconds [chains] of passes with so many prefill tokens, 2F, decodes and KV tokens that these hold."""
        profile, tokens, last = self.profile, prefill + decodes, len(self.table) - 1
        tiles = np.ceil(tokens / profile.tile)
        time = self.table[np.minimum(tiles, last).astype(np.int64)] + np.maximum(tiles - last, 0) * profile.tail
        time = time + profile.base + profile.token * tokens + profile.decode * decodes + profile.kv * held
        time = time + profile.decode_base * np.minimum(decodes, 1.0)
        attention = profile.prefill_base + profile.root * np.sqrt(two_f / 2) + profile.square * two_f
        seconds: Floats = np.maximum(time + np.where(prefill > 0, attention, 0.0), 1.0) / _PS_PER_S
        return seconds


def _mean_at(mean_prefill: float, prefill: Floats, times: Floats) -> float:
    """Mean of the times, corrected to first order by what the sample's mean prefill lacks of the known one."""
    excess = prefill - prefill.mean()
    variance = (excess**2).mean()
    slope = (excess * times).mean() / variance if variance > 0 else 0.0
    return float(times.mean() + slope * (mean_prefill - prefill.mean()))
