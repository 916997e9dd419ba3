"""The least time of a request, whoever else is there: the trivial bound, and the floor under the others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmqgym.bounds.minorant import Line, least_from, lines
from llmqgym.bounds.needs import Needs
from llmqgym.hardware.integers import IntegerProfile

Floats = NDArray[np.float64]
#: What rounding the root term to whole ps may take away from a pass.
_ROUNDED = 0.5


@dataclass(frozen=True, eq=False)
class Alone:
    """Least times in ps for requests [n]; a token at context c takes `first` + `per_context` c at least."""

    prefill: Floats  #: from arrival to the first token
    first: float
    per_context: float

    def decodes(self, needs: Needs) -> Floats:
        """From the first token to the last."""
        return np.asarray(self.first * needs.decodes + self.per_context * needs.context)


def alone(needs: Needs, profile: IntegerProfile) -> Alone:
    """Each request by itself, with no waiting.

    Statement: in every schedule TTFT >= `prefill` and E2E >= `prefill` + `decodes`. Proof: by `Needs`, the prompt and
    then every token has passes of its own, and a pass lasts at least as long as what this one request brings to it.
    Prompt in q chunks: with fixed + token N below g, the sum over its passes is at least q (fixed + prefill_base) +
    token new + square 2F + root sqrt(F) (roots are subadditive), least for the fewest chunks; a prompt in one chunk
    takes the least g(N), N >= new, if it is not cut after all. A token at context c: a decode, or a prefill of c + 1
    tokens, which is convex in c; a line in c below both is below the decode, and at the least context below the
    prefill in value and slope.
    """
    found = lines(profile, needs.max_tokens)
    return Alone(_prefill(needs, profile, found), *_token(needs, profile, found))


def _prefill(needs: Needs, profile: IntegerProfile, found: list[Line]) -> Floats:
    """A pass loses at most half a ps to the rounding of its root; without a line that bears that, no root."""
    root, fixed = profile.root, float(profile.prefill_base)
    if root > 0:
        if max(line.fixed for line in found) + fixed >= _ROUNDED:
            fixed -= _ROUNDED
        else:
            root = 0
    new, chunks = needs.new.astype(np.float64), needs.chunks.astype(np.float64)
    time = _in_chunks(new, chunks, fixed, found)
    short = needs.chunks == 1
    whole = least_from(profile, needs.max_tokens, needs.new[short]) + fixed
    time[short] = np.maximum(time[short], np.minimum(whole, _in_chunks(new[short], 2.0, fixed, found)))
    return np.asarray(time + profile.square * needs.two_f + root * np.sqrt(needs.two_f * 0.5))


def _in_chunks(new: Floats, chunks: Floats | float, fixed: float, found: list[Line]) -> Floats:
    """At least so many chunks, each `fixed` longer than its tokens take, without attention."""
    time = np.full(len(new), -np.inf)
    for line in found:
        if line.fixed + fixed >= 0:
            time = np.maximum(time, (line.fixed + fixed) * chunks + line.token * new)
    return time


def _token(needs: Needs, profile: IntegerProfile, found: list[Line]) -> tuple[float, float]:
    """(first, per_context): of those that the lines give, the pair with the largest sum over the requests."""
    at = float(needs.least_context)
    least = max(line.fixed + line.token for line in found)
    decode = least + profile.decode_base + profile.decode
    best, best_total = (0.0, 0.0), -1.0
    for line in found:
        if needs.caching:  # one token is enough, at context c
            slope, value = 2.0 * profile.square, least + profile.prefill_base + profile.square * (2 * at + 1)
        else:
            slope = line.token + 2.0 * profile.square * (at + 1)
            value = line.fixed + line.token * (at + 1) + profile.prefill_base + profile.square * (at + 1) ** 2
        per_context = min(float(profile.kv), slope)
        first = min(decode, value - per_context * at)
        if first < 0:
            first, per_context = 0.0, min(per_context, value / max(at, 1.0))
        total = first * float(needs.decodes.sum()) + per_context * float(needs.context.sum())
        if total > best_total:
            best, best_total = (first, per_context), total
    return best
