"""The server as one fast machine: a price for everything that a pass holds, and what shortest-first does then."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

from llmqgym.bounds.alone import Alone
from llmqgym.bounds.minorant import corners
from llmqgym.bounds.needs import Needs
from llmqgym.bounds.single_machine import least_total_mean_busy_wait, least_total_response
from llmqgym.hardware.integers import UNLIMITED_BLOCKS, IntegerProfile

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Rows that the linear program takes up at a time, and how often at most.
_ROWS, _ROUNDS = 60, 40


@dataclass(frozen=True)
class Prices:
    """Least server time in ps that a request brings to a pass, by what it does there.

    They are such that every pass lasts at least as long as the prices of all that is in it add up to: with m requests,
    B decodes, p prefill tokens and all K blocks held, request m + decode B + prefill p + block K <= the pass without
    its KV reads and its squares, which are priced at `kv` <= the profile's and `square`.
    """

    request: float  #: per request in the pass
    decode: float  #: per decode
    prefill: float  #: per prefill token
    block: float  #: per block held
    kv: float  #: per KV token that a decode reads
    square: float  #: per unit of 2F


def prices(needs: Needs, profile: IntegerProfile, weights: Floats, *, prefill_only: bool = False) -> Prices:
    """The prices for which the needs, weighted by `weights` [n], cost most: a linear program in five unknowns.

    The constraint of `Prices` for all passes: given N tokens, m = min(N, slots) costs most, both sides are linear in
    B between 1 and its largest value and, for B = 0, 1, N or slots - 1, linear in N between the corners, so that these
    are enough. What HiGHS returns is scaled down until it meets them all.
    A token may come from a prefill of c + 1 tokens after a preemption instead of a decode at c: a further constraint
    keeps decode + kv c <= prefill (c + 1) + square (c + 1)^2 (convex in c: value and slope at the least context), with
    prefix caching <= prefill + square (2 c + 1).
    """
    rows, limits = _passes(needs, profile)
    if limits.min() < 1:  # there are passes that cost nothing but attention: nothing else has a price
        return Prices(0.0, 0.0, 0.0, 0.0, 0.0, float(profile.square))
    gains = _needs_of(needs, prefill_only) @ weights
    return _feasible(_solve(rows, limits, gains, needs, profile), rows, limits, needs, profile)


def work_ps(needs: Needs, price: Prices, *, prefill_only: bool = False) -> Floats:
    """What each request [n] costs in every schedule, or its prompt alone."""
    amounts = np.array([price.request, price.decode, price.prefill, price.block, price.kv])
    return np.asarray(amounts @ _needs_of(needs, prefill_only) + price.square * needs.two_f)


def shortest_first(needs: Needs, work: Floats) -> float:
    """Least sum of response times in ps, first token or last as `work` [n] in ps says.

    Proof: by `Prices` a pass lasts at least as long as the work in it, so that every schedule is one of a machine of
    speed 1 which does the work of a pass during the pass; no schedule of that machine has a smaller sum than SRPT.
    """
    return least_total_response(needs.release_ps, _whole(work))


def mean_busy(needs: Needs, price: Prices, least: Alone) -> float:
    """Least sum of E2E times in ps by way of mean busy times.

    Proof: spread the work of each pass evenly over it. Work of request i that is done by an instant e <= C_i - R has
    its mean at e - (half of it) or earlier, as it is done at speed 1 at most. R is the least time of the tokens that
    follow (`alone`): of the prompt, all decodes; of decode k of n, those after it. So C_i >= M_i + delta_i, delta_i the
    mean of these R + half, weighted by work. The sum of M_i is least under smallest work first (Goemans). For the
    k-th decode the work is taken as linear in k, a block being at least a block_size-th of its tokens.
    """
    n, P = needs.decodes.astype(np.float64), needs.prompt.astype(np.float64)
    flat = price.request + price.decode + price.kv * (P - 1) + price.block * needs.block_share
    slope = price.kv + price.block / needs.block_size
    one, k1, k2, k3 = n, n * (n + 1) / 2, n * (n + 1) * (2 * n + 1) / 6, (n * (n + 1) / 2) ** 2
    first, each = least.first + least.per_context * (P - 1), least.per_context
    # After decode k: first (n - k) + each (n (n + 1) - k (k + 1)) / 2.
    constant, linear, square = first * n + each * n * (n + 1) / 2, -first - each / 2, -each / 2
    decodes = flat * one + slope * k1
    after = flat * (constant * one + linear * k1 + square * k2) + slope * (constant * k1 + linear * k2 + square * k3)
    prompt = work_ps(needs, price, prefill_only=True)
    work = prompt + decodes
    with np.errstate(invalid="ignore", divide="ignore"):
        delta = (prompt * (least.decodes(needs) + prompt / 2) + after) / work
    delta = np.where(work > 0, delta, least.prefill + least.decodes(needs))
    waits = least_total_mean_busy_wait(needs.release_ps, _whole(work))
    return waits + float(delta.sum())


def _whole(work: Floats) -> Ints:
    """Work in whole ps, rounded down: less of each request is still done in every schedule, at the same mean time."""
    return np.floor(work * (1 - 1e-12)).astype(np.int64)


def _needs_of(needs: Needs, prefill_only: bool) -> Floats:
    """The needs [5, n] that request, decode, prefill, block and kv are the prices of."""
    later = 0.0 if prefill_only else 1.0
    decodes = needs.decodes.astype(np.float64)
    return np.array(
        [
            needs.own_chunks + later * decodes,
            later * decodes,
            needs.new.astype(np.float64),
            needs.prefill_blocks + later * needs.decode_blocks,
            later * needs.context,
        ]
    )


def _passes(needs: Needs, profile: IntegerProfile) -> tuple[Floats, Floats]:
    """Amounts [R, 5] of the passes that matter, and their times in ps without KV reads and squares [R]."""
    slots = needs.max_requests
    tokens, time = corners(profile, needs.max_tokens, (1, 2, slots - 1, slots, slots + 1))
    rows, limits = [], []
    blocks = 0 if needs.max_blocks >= UNLIMITED_BLOCKS else needs.max_blocks
    for decodes in (np.zeros_like(tokens), np.ones_like(tokens), tokens, tokens - 1, np.full_like(tokens, slots - 1)):
        prefill = tokens - decodes
        real = (decodes >= 0) & (prefill >= 0) & (decodes + np.minimum(prefill, 1) <= slots)
        B, p, g = decodes[real], prefill[real], time[real]
        requests = np.minimum(B + p, slots)
        rows.append(np.stack([requests, B, p, np.full_like(B, blocks), np.zeros_like(B)], axis=1).astype(np.float64))
        decode_ps = np.where(B > 0, profile.decode_base, 0) + float(profile.decode) * B
        limits.append(g + decode_ps + np.where(p > 0, profile.prefill_base, 0))
    return np.concatenate(rows), np.concatenate(limits)


def _replaced(needs: Needs, profile: IntegerProfile) -> tuple[Floats, Floats]:
    """Rows [2, 5] and limits [2] that keep a decode at most as dear as the prefill that may stand in for it."""
    c, square = float(needs.least_context), float(profile.square)
    if needs.caching:
        return np.array([[0, 1, -1, 0, c], [0, 0, 0, 0, 1.0]]), np.array([square * (2 * c + 1), 2 * square])
    limits = np.array([square * (c + 1) ** 2, 2 * square * (c + 1)])
    return np.array([[0, 1, -(c + 1), 0, c], [0, 0, -1, 0, 1.0]]), limits


def _solve(rows: Floats, limits: Floats, gains: Floats, needs: Needs, profile: IntegerProfile) -> Floats:
    """The five prices; rows are taken up as they are found to be violated."""
    unit = float(limits.min())
    scale = np.where(rows.max(axis=0) > 0, unit / np.maximum(rows.max(axis=0), 1.0), 0.0)
    scale[4] = float(profile.kv)
    # A price of something that no pass has is of no use and would be free: 0.
    most = np.where(scale > 0, np.inf, 0.0)
    most[4] = 1.0 if profile.kv > 0 else 0.0
    if needs.max_blocks >= UNLIMITED_BLOCKS:
        most[3] = 0.0
    scale = np.where(scale > 0, scale, 1.0)
    extra, extra_limits = _replaced(needs, profile)
    scaled, scaled_limits = rows * scale / unit, limits / unit
    chosen = np.unique(np.linspace(0, len(rows) - 1, _ROWS).astype(int))
    chosen = np.union1d(chosen, [int(np.argmax(rows[:, k] / limits)) for k in range(4)])
    value = gains * scale
    value = value / max(float(value.max()), 1e-300)
    found = np.zeros(5)
    for _ in range(_ROUNDS):
        A = np.concatenate([scaled[chosen], extra * scale / unit])
        b = np.concatenate([scaled_limits[chosen], extra_limits / unit])
        size = np.maximum(np.abs(A).max(axis=1), 1e-300)
        result = linprog(-value, A_ub=A / size[:, None], b_ub=b / size, bounds=[(0.0, float(m)) for m in most])
        if result.x is None:
            return np.zeros(5)
        found = result.x
        excess = scaled @ found / scaled_limits
        worst = np.argsort(-excess)[:_ROWS]
        if excess[worst[0]] <= 1 + 1e-9:
            break
        chosen = np.union1d(chosen, worst[excess[worst] > 1])
    return np.asarray(found * scale)


def _feasible(found: Floats, rows: Floats, limits: Floats, needs: Needs, profile: IntegerProfile) -> Prices:
    """Scaled down to meet every row, however HiGHS has rounded."""
    request, decode, prefill, block, kv = np.maximum(found, 0.0)
    most = float((rows @ np.array([request, decode, prefill, block, 0.0]) / limits).max())
    request, decode, prefill, block = np.array([request, decode, prefill, block]) * (1 - 1e-12) / max(most, 1.0)
    (first, slope), (level, steepness) = _replaced(needs, profile)
    kv = min(kv, float(profile.kv), max(steepness - slope[2] * prefill, 0.0))
    room = level - first[2] * prefill
    kv = min(kv, room / max(first[4], 1.0)) if first[4] > 0 else kv
    decode = min(decode, max(room - first[4] * kv, 0.0))
    return Prices(float(request), float(decode), float(prefill), float(block), float(kv), float(profile.square))
