"""A server below its capacity: passes one after the other, newcomers as time goes by, decodes that leave one by one.

A long pass lets many requests in, whose prefill makes the next one long, and then they decode together: bursts that a
mean batch does not know, and that double the requests in the system where prompts are long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from llmqgym.config import ServerConfig
from llmqgym.hardware.integers import IntegerProfile
from llmqgym.load.lengths import Lengths
from llmqgym.load.passes import SEED, Clock, Floats, Newcomers

#: Passes in all, over all chains, and bounds of the passes of one chain.
_PASSES, _LEAST, _MOST = 2**18, 1024, 2**13
#: How often the decodes are replaced in a chain; the first half is thrown away.
_RENEWALS = 12


@dataclass(frozen=True)
class OpenPasses:
    """Means over the passes of an open server; passes are those with tokens in them."""

    arrivals: float  #: requests that enter in a pass
    iteration_s: float  #: duration of a pass
    decode_s: float  #: the same, as a decode sees it
    prefill_s: float  #: the same, as a prefill that ends sees it
    prefill_token_s: float  #: the same, as a token in prefill sees it
    cut_prefills: float  #: requests in prefill, over all time, whose prefill does not end with the pass


def open_passes(
    lengths: Lengths, profile: IntegerProfile, server: ServerConfig, rate_per_s: float, decodes: float
) -> OpenPasses:
    """The passes of a server that gets `rate_per_s` requests per second, Poisson; deterministic.

    A decode ends after each pass with probability 1 / E[O - 1] and holds the mean KV of a decode. KV blocks are
    taken to suffice. `decodes` is where the chains start.
    """
    length = int(min(max(_RENEWALS * lengths.mean_decodes, _LEAST), _MOST))
    chains = _Chains(lengths, profile, server, rate_per_s, decodes, num=max(_PASSES // length, 16))
    totals = np.zeros(len(_Sums._fields))
    for number in range(length):
        sums = chains.step()
        if number >= length // 2:
            totals += sums
    total = _Sums(*totals.tolist())
    iteration_s = total.time / total.passes
    return OpenPasses(
        arrivals=total.prefills / total.passes,
        iteration_s=iteration_s,
        decode_s=total.decodes_time / total.decodes if total.decodes else iteration_s,
        prefill_s=total.prefills_time / total.prefills if total.prefills else iteration_s,
        prefill_token_s=total.tokens_time / total.tokens if total.tokens else iteration_s,
        cut_prefills=total.cut_time / (total.time + total.waits / rate_per_s),
    )


class _Sums(NamedTuple):
    """Sums over chains and passes; `_time`: times the duration of the pass."""

    passes: float
    time: float
    decodes: float
    decodes_time: float
    prefills: float
    prefills_time: float
    tokens: float  # prefilled
    tokens_time: float
    waits: float  # for the next request, by a server without work
    cut_time: float  # prompts that the end of the pass cuts


class _Chains:
    """Passes of many servers side by side."""

    def __init__(
        self, lengths: Lengths, profile: IntegerProfile, server: ServerConfig, rate: float, decodes: float, num: int
    ) -> None:
        self.rng = np.random.default_rng(SEED)
        self.newcomers = Newcomers(lengths, self.rng)
        self.clock, self.server, self.rate = Clock(profile), server, rate
        self.leave_prob = 1 / max(lengths.mean_decodes, 1.0)
        self.decode_share = min(lengths.mean_decodes, 1.0)  # below 1, so many of the prefills have a decode after them
        self.held = lengths.mean_decode_kv / lengths.mean_decodes if lengths.mean_decodes else 0.0
        self.decodes = np.floor(decodes + np.arange(num) / num)
        self.backlog = np.zeros((3, num))
        self.begun = np.zeros(num)  # prefill done, in requests, of which none has come out whole yet
        self.times = np.zeros(num)  # of the last pass, s
        self.idle_mask = np.zeros(num, np.bool_)  # there was none: the server waited for the next request

    def step(self) -> _Sums:
        """One pass of each, and its sums over the chains."""
        self.backlog += self.newcomers.draw(np.where(self.idle_mask, 1, self.rng.poisson(self.rate * self.times)))
        done = self.backlog * self._share()
        self.backlog -= done
        prefills, tokens, two_f = done
        decodes = self.decodes
        times = self.clock.times_s(tokens, two_f, decodes, decodes * self.held)
        self.idle_mask = (decodes == 0) & (prefills == 0)
        self.times = np.where(self.idle_mask, 0.0, times)
        waits = int(np.count_nonzero(self.idle_mask))
        sums = _Sums(
            passes=len(times) - waits,
            time=float(self.times.sum()),
            decodes=float(decodes.sum()),
            decodes_time=float(decodes @ times),
            prefills=float(prefills.sum()),
            prefills_time=float(prefills @ times),
            tokens=float(tokens.sum()),
            tokens_time=float(tokens @ times),
            waits=waits,
            cut_time=float(self._num_cut(prefills) @ times),
        )
        self._end_pass(prefills)
        return sums

    def _share(self) -> Floats:
        """How much of the backlog is prefilled in this pass [chains]: as far as tokens and slots go."""
        requests, tokens = self.backlog[0], self.backlog[1]
        most = np.maximum(self.server.max_batched_tokens - self.decodes, 0.0)
        if self.server.long_prefill_token_threshold:
            most = np.minimum(most, self.server.long_prefill_token_threshold * np.ceil(requests))
        slots = np.maximum(self.server.max_running - self.decodes, 0.0)
        share: Floats = np.minimum(1.0, np.minimum(most / np.maximum(tokens, 1.0), slots / np.maximum(requests, 1e-9)))
        return share

    def _num_cut(self, prefills: Floats) -> Floats:
        """Prompts begun and not done in this pass [chains]: one, or as many as have chunks of the threshold in it."""
        threshold = self.server.long_prefill_token_threshold
        left = np.maximum(self.server.max_batched_tokens - self.decodes, 0.0)
        most = np.floor(left / threshold) if threshold else 1.0
        slots = np.maximum(self.server.max_running - self.decodes - prefills, 0.0)
        waiting = np.where(self.backlog[1] > 0.5, np.ceil(self.backlog[0]), 0.0)
        cut: Floats = np.minimum(np.minimum(waiting, most), slots)
        return cut

    def _end_pass(self, prefilled: Floats) -> None:
        self.begun += prefilled * self.decode_share
        new = np.floor(self.begun + 1e-9)
        self.begun -= new
        self.decodes = self.decodes - self.rng.binomial(self.decodes.astype(np.int64), self.leave_prob) + new
