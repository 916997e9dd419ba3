"""The crowd that a rate needs: a server that gets through its requests in time has many in the system.

The other bounds let a fast machine serve one request after the other; this one knows that a pass is only efficient when
many share it, and that all of these are in the system meanwhile. It is the strongest where a busy server is stable.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from llmqgym.bounds.alone import Alone
from llmqgym.bounds.minorant import Line, lines
from llmqgym.bounds.needs import Needs
from llmqgym.hardware.integers import IntegerProfile

Floats = NDArray[np.float64]

#: Batches that are aimed at, of the one that the rate needs if only decodes are counted; 0: pairs are left out.
_BATCHES = (0.0, *(1.3**power for power in range(-6, 12)))
#: Levels of the pairs' kernel.
_LEVELS = 12
#: Candidates of which the end is looked at.
_TRIED = 3
#: Around the best price of time without the end, and the length of the end in times of the mean request.
_PRICES = tuple(1.25**power for power in range(-12, 3))
_ENDS = tuple(2.0**power for power in range(-6, 10))


@dataclass(frozen=True, eq=False)
class _Shares:
    """What a pass lasts at least: `fixed` + b of each token made + z of each prompt chunk; of requests [n], in ps."""

    fixed: float
    chunks: Floats  #: passes for the prompt that the request takes part in
    prompt: Floats  #: z, over all chunks
    made: Floats  #: tokens made after the first
    total: Floats  #: sum of b over them
    roots: Floats  #: sum of sqrt(b) over them, at least
    levels: Floats  #: of z / made, [levels], from above 0
    reaches: NDArray[np.bool_]  #: [levels, n]: z / made is at least the level

    @cached_property
    def steps(self) -> Floats:
        """d_l: differences of the levels."""
        return np.diff(self.levels, prepend=0.0)

    @cached_property
    def sums(self) -> dict[str, float]:
        """Over all requests."""
        return {name: float(getattr(self, name).sum()) for name in ("chunks", "prompt", "made", "total", "roots")}

    @cached_property
    def pairs(self) -> Floats:
        """n sum_(l: R_l <= r) d_l u_l [n], for a batch of 1."""
        return np.asarray(self.made * ((self.steps * self.share) @ self.reaches))

    @cached_property
    def diagonal(self) -> Floats:
        """n sum_(l: R_l <= r) d_l / 2 [n]."""
        return np.asarray(self.made * (self.steps @ self.reaches) / 2)

    @cached_property
    def share(self) -> Floats:
        """Of all tokens made, those of requests that reach the level [levels]."""
        return np.asarray(self.reaches @ self.made / max(float(self.made.sum()), 1.0))


@dataclass(frozen=True, eq=False)
class _Multipliers:
    """k, and what follows from the batch that is aimed at."""

    price: float  #: k
    batch: float  #: u_l = batch x share of level l; 0: no pairs
    spare: float  #: x = k a' - sum d u^2 / 2, not negative

    def scaled(self, factor: float) -> _Multipliers:
        return _Multipliers(factor * self.price, factor**0.5 * self.batch, factor * self.spare)


def crowding(needs: Needs, profile: IntegerProfile, least: Alone) -> float:
    """Least sum of E2E times in ps. Own derivation, step by step in docs/bounds.md ("Crowding").

    A pass lasts a + sum b + sum z at least (`_Shares`), and by another line below the profile a' + sum b' + sum z'. It
    costs all N >= m in the system its time, m those that take part, and k >= 0 more is paid for time as such. Requests
    whose tokens share a pass have waited for one another's prompts, which counts by levels R_l of r = z / n with
    multipliers u_l. With x = k a' - sum_l d_l u_l^2 / 2 >= 0, d_l = R_l - R_(l-1), every request brings

        V_i = a (chunks + n) + z + k (z' + sum b') + 2 sqrt(x) sum sqrt b + n sum_(l: R_l <= r) d_l (u_l - 1/2).

    k falls to 0 within L after the last arrival T; w_i in [0, 1] of the time of i is used for all this, and the rest
    makes up for what the fall loses: 1 - w_i = l_i / (L + T - arrival_i), l_i = V_i - V_i(k = 0); where that is above
    1, w_i = 0 and the least time of i counts. So, with a, z, n and the pairs' term times w_i and b under the root too,

        sum E2E >= sum of V_i(w_i), or of least times, - k (T + L / 2).

    The best is taken over the lines below the profile, k, u and L. Nothing is assumed of the arrivals, but it is of use
    only where they go on for much longer than a request takes.
    """
    span = float(needs.release_ps[-1])
    floor = least.prefill + least.decodes(needs)
    below = [_shares(needs, profile, line) for line in lines(profile, needs.max_tokens)]
    found = []
    for others in below:
        left = span - float(others.total.sum() + others.prompt.sum())
        for shares in below:
            found += [_Candidate(shares, others, at, span) for at in _without_end(shares, others, left, span)]
    best = float(floor.sum())
    for candidate in sorted(found, key=lambda each: -each.value)[:_TRIED]:
        best = max(best, _best_end(needs, candidate, span, floor))
    return best


class _Candidate:
    """Two lines and multipliers, and the bound without the end that they give."""

    def __init__(self, shares: _Shares, others: _Shares, at: _Multipliers, span: float) -> None:
        self.shares, self.others, self.at = shares, others, at
        paired = 0.0
        if at.batch > 0:
            paired = float(shares.steps @ ((at.batch * shares.share - 0.5) * shares.share)) * shares.sums["made"]
        own = shares.fixed * (shares.sums["chunks"] + shares.sums["made"]) + shares.sums["prompt"] + paired
        bought = at.price * (others.sums["prompt"] + others.sums["total"])
        self.value = own + bought + 2 * at.spare**0.5 * shares.sums["roots"] - at.price * span

    def parts(self, at: _Multipliers) -> tuple[Floats, Floats, Floats]:
        """V_i with weight w is (first of these) w + second + (third) sqrt(w), [n] each."""
        shares, others = self.shares, self.others
        own = shares.fixed * (shares.chunks + shares.made) + shares.prompt
        if at.batch > 0:
            own = own + at.batch * shares.pairs - shares.diagonal
        return own, at.price * (others.prompt + others.total), 2 * at.spare**0.5 * shares.roots


def _without_end(shares: _Shares, others: _Shares, left: float, span: float) -> list[_Multipliers]:
    """For each batch the k at which sum V - k span is largest: sqrt(x) = a' sum sqrt b / (span - sum b' - sum z')."""
    if span <= 0 or others.fixed <= 0:
        return []
    left = max(left, 0.02 * span)
    spare = (others.fixed * shares.sums["roots"] / left) ** 2
    needed = others.fixed * shares.sums["made"] / left
    taken = float(shares.steps @ shares.share**2) / 2
    batches = [factor * needed for factor in _BATCHES]
    return [_Multipliers((spare + taken * batch**2) / others.fixed, batch, spare) for batch in batches]


def _best_end(needs: Needs, candidate: _Candidate, span: float, floor: Floats) -> float:
    """Over prices and lengths of the end."""
    since = span - needs.release_ps
    best = 0.0
    for factor in _PRICES:
        at = candidate.at.scaled(factor)
        own, bought, rooted = candidate.parts(at)
        lost = bought + rooted + at.batch * candidate.shares.pairs  # all that is not there at k = 0
        scale = float(lost.mean())
        if scale <= 0:
            continue
        for length in _ENDS:
            end = length * scale
            weight = np.maximum(1.0 - lost / (end + since), 0.0)
            counted = np.where(weight > 0, own * weight + bought + rooted * np.sqrt(weight), floor)
            best = max(best, float(counted.sum()) - at.price * (span + end / 2))
    return best


def _shares(needs: Needs, profile: IntegerProfile, line: Line) -> _Shares:
    """With fixed + token N below the profile: prompt chunks bring token p + square 2F, decodes token + decode + kv c.

    A prefill of c + 1 tokens may stand in for a decode: its chunks bring token (c + 1) + square (c + 1)^2 in all, and
    roots are subadditive; `first` + `per_context` c is below both (as in `alone`). The sum of the roots of a linear
    function is at least its integral from half before to half behind (midpoint rule of a concave function).
    """
    c, square = float(needs.least_context), float(profile.square)
    if needs.caching:
        slope, value = 2 * square, line.token + square * (2 * c + 1)
    else:
        slope, value = line.token + 2 * square * (c + 1), line.token * (c + 1) + square * (c + 1) ** 2
    per_context = min(float(profile.kv), slope, value / max(c, 1.0))
    first = max(min(line.token + profile.decode, value - per_context * c), 0.0)
    prompt = line.token * needs.new + square * needs.two_f
    n, start = needs.decodes.astype(np.float64), needs.prompt - 0.5
    low, high = np.sqrt(first + per_context * start), np.sqrt(first + per_context * (start + n))
    mean_root = np.divide(2 * (low * low + low * high + high * high), 3 * (low + high), where=low > 0, out=0 * low)
    each = np.where(n > 0, prompt / np.maximum(n, 1.0), 0.0)
    quantiles = (np.arange(_LEVELS) + 0.5) / _LEVELS
    levels = np.unique(np.quantile(each[n > 0], quantiles)) if (n > 0).any() else np.zeros(0)
    return _Shares(
        fixed=line.fixed + min(profile.decode_base, profile.prefill_base),
        chunks=needs.own_chunks.astype(np.float64),
        prompt=prompt,
        made=n,
        total=first * n + per_context * needs.context,
        roots=n * mean_root,
        levels=levels,
        reaches=(each >= levels[:, None]) & (n > 0),
    )
