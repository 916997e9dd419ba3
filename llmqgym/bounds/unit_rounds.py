"""The unit-round model of the theory papers (arXiv 2502.07115), and lower bounds on its total completion time.

In round t every running request makes one token. One that starts after round k holds prompt + (t - k) tokens in the
rounds t = k + 1, .., k + output and completes at k + output; all that run hold at most `capacity_tokens`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmqgym.bounds.single_machine import least_total_mean_busy_wait, least_total_response
from llmqgym.errors import InputError

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class UnitRounds:
    """An instance: arrivals (whole rounds), prompts and outputs in tokens, each int64 [n], and the KV capacity.

    Requests are kept in order of arrival. Raises InputError for a request that could never run.

    >>> e1 = UnitRounds.of([0, 0, 0, 0], [8, 1, 1, 1], [1, 2, 2, 2], 9)
    >>> e1.trivial(), round(e1.srpt_pooling(), 3), round(e1.mean_busy_time(), 3)
    (7.0, 6.0, 7.867)
    """

    arrival: Ints
    prompt_tokens: Ints
    output_tokens: Ints
    capacity_tokens: int

    @classmethod
    def of(cls, arrival: ArrayLike, prompt_tokens: ArrayLike, output_tokens: ArrayLike, capacity: int) -> UnitRounds:
        """From columns in any order."""
        columns = [np.asarray(column, np.int64) for column in (arrival, prompt_tokens, output_tokens)]
        order = np.argsort(columns[0], kind="stable")
        made = cls(columns[0][order], columns[1][order], columns[2][order], capacity)
        peak = int((made.prompt_tokens + made.output_tokens).max())
        if peak > capacity:
            raise InputError(f"a request grows to {peak} tokens, and the capacity is {capacity}: raise the capacity.")
        if made.arrival[0] < 0 or made.prompt_tokens.min() < 0 or made.output_tokens.min() < 1:
            raise InputError("arrivals and prompts must be 0 or more, outputs 1 or more: correct the instance.")
        return made

    @property
    def volume(self) -> Ints:
        """Memory x time of each request: the sum over its rounds of the tokens held, s o + o (o + 1) / 2."""
        s, o = self.prompt_tokens, self.output_tokens
        return s * o + o * (o + 1) // 2

    def trivial(self) -> float:
        """Sum of completion times >= sum of (arrival + output): nobody waits. For any schedule."""
        return float((self.arrival + self.output_tokens).sum())

    def srpt_pooling(self) -> float:
        """SRPT on one machine of speed M with the volumes as sizes.

        Proof: at most M tokens are held in a round, so that any schedule, read as work of request i at the rate of the
        tokens that it holds, is a schedule of that machine with the same completions; SRPT's are the best there. Holds
        with preemption too (swap, recompute, restart): these only add to what is held. policies.md 9.2.
        """
        release = self.arrival.astype(np.float64)
        return float(release.sum()) + least_total_response(release, self.volume / self.capacity_tokens)

    def mean_busy_time(self) -> float:
        """Sum of (mean busy time in the pooled schedule of smallest volume first + output - mu).

        Proof: token j of request i is made, in the end, in a round t_j <= C_i - (o_i - j) in which s_i + j tokens are
        held; that memory is in use at t_j - 1/2 on average. Weighted by memory, M_i <= C_i - o_i + mu_i with
        mu_i = sum_j j (s_i + j) / v_i - 1/2. The sum of M_i is least under smallest volume first (Goemans). Holds with
        swap, recompute that keeps what was generated, and restart (take the last run). policies.md 9.3.
        """
        s, o, release = self.prompt_tokens, self.output_tokens, self.arrival.astype(np.float64)
        moment = s * (o * (o + 1) // 2) + o * (o + 1) * (2 * o + 1) // 6
        mu = moment / self.volume - 0.5
        waits = least_total_mean_busy_wait(release, self.volume / self.capacity_tokens)
        return float((release + o - mu).sum()) + waits


@dataclass(frozen=True, eq=False)
class Optimum:
    """A best schedule: the round after which each request starts, int64 [n], and what its completions add up to."""

    starts: Ints
    total_completion: int
