"""How long a pass takes, in integers (docs/model.md, "Iteration time"), and how many passes fit before an instant."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from llmqgym.kernel.division import quotient
from llmqgym.kernel.jit import helper
from llmqgym.kernel.memory import peek, profile_at

#: Longest jump: keeps sums of squares of pass numbers times requests within 62 bits.
MAX_JUMP = 1 << 14
#: A pass longer than this (17 minutes) is never jumped over, so that no product overflows.
_LONG_PS = 1_000_000_000_000_000


@helper
def iteration_time(sim: Any, prefill_tokens: int, two_f: int, decodes: int, decode_kv_tokens: int) -> int:
    """Time in ps of a pass over `prefill_tokens` in chunks with sum p (2k + p) = `two_f`, and `decodes` one-token
    steps of requests that hold `decode_kv_tokens` in all."""
    profile = profile_at(sim.profile, 0)
    tokens = prefill_tokens + decodes
    tiles = quotient(tokens + profile.tile_tokens - 1, profile.tile_tokens)
    last = profile.table_len - 1
    duration = profile.base_ps + profile.token_ps * tokens + peek(profile.table, min(tiles, last))
    if tiles > last:
        duration += (tiles - last) * profile.tail_ps
    if decodes > 0:
        duration += profile.decode_base_ps + profile.decode_ps * decodes + profile.kv_ps * decode_kv_tokens
    if prefill_tokens > 0:
        root = np.rint(profile.root_ps * math.sqrt(two_f * 0.5))
        duration += profile.prefill_base_ps + np.int64(root) + profile.square_ps * two_f
    return max(duration, 1)


@helper
def span_of(passes: int, first: int, growth: int) -> int:
    """Time of `passes` passes of which the first takes `first` and each `growth` longer than the one before."""
    return passes * first + growth * (passes * (passes - 1) >> 1)


@helper
def passes_until(gap: int, first: int, growth: int, limit: int) -> int:
    """The least number of passes that last `gap` or longer, at least 1 and at most `limit`."""
    if first >= gap or limit <= 1 or first > _LONG_PS:
        return 1
    if growth == 0:
        return min(limit, quotient(gap + first - 1, first))
    if float(first) * limit + 0.5 * growth * limit * (limit - 1.0) < 0.999 * gap:
        return limit
    b = first - 0.5 * growth
    guess = int((math.sqrt(b * b + 2.0 * growth * gap) - b) / growth)
    passes = min(max(guess, 1), limit)
    while passes > 1 and span_of(passes - 1, first, growth) >= gap:
        passes -= 1
    while passes < limit and span_of(passes, first, growth) < gap:
        passes += 1
    return passes
