"""The time that a request takes alone on an idle server: what its slowdown is measured against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.hardware.integers import IntegerProfile
from llmqgym.kernel.tables import PS_PER_S

Ints = NDArray[np.int64]

#: Prompts whose prefill time is worked out once only: 8 bytes each.
_LONGEST_KEPT_TOKENS = 1 << 20


class AloneTimes:
    """Times alone on a server of `profile` and a token budget; what a prompt costs is remembered by its length.

    The prompt goes in chunks of the whole token budget (a request alone knows no smaller chunk); the last one
    yields the first token. The decodes that follow hold P, P + 1, ... tokens, so that their sum is a closed form.
    """

    def __init__(self, profile: IntegerProfile, budget_tokens: int) -> None:
        self._profile = profile
        self._budget_tokens = budget_tokens
        self._decode_ps = profile.iteration_ps(0, 0, 1, 0) if profile.kv == 0 else _decode_without_kv_ps(profile)
        self._prefill_ps = np.full(1, np.nan)  # by prompt length; nan: not asked for yet

    def seconds(self, prompt_tokens: NDArray[np.int64], output_tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Seconds [R] from arrival to finish on an idle server, for prompts and outputs [R] in tokens."""
        decodes = (output_tokens - 1).astype(np.float64)
        held = decodes * prompt_tokens + decodes * (decodes - 1) / 2
        prefill = self._prefills_ps(prompt_tokens)
        total_ps: NDArray[Any] = prefill + decodes * self._decode_ps + self._profile.kv * held
        return total_ps / PS_PER_S

    def _prefills_ps(self, prompts: Ints) -> NDArray[np.float64]:
        longest = int(prompts.max(initial=0))
        if longest > _LONGEST_KEPT_TOKENS:
            lengths, where = np.unique(prompts, return_inverse=True)
            return self._work_out_ps(lengths)[where]
        if longest >= len(self._prefill_ps):
            more = max(longest + 1, 2 * len(self._prefill_ps)) - len(self._prefill_ps)
            self._prefill_ps = np.pad(self._prefill_ps, (0, more), constant_values=np.nan)
        times = self._prefill_ps[prompts]
        unknown_mask = np.isnan(times)
        if unknown_mask.any():
            lengths = np.unique(prompts[unknown_mask])
            self._prefill_ps[lengths] = self._work_out_ps(lengths)
            times = self._prefill_ps[prompts]
        return times

    def _work_out_ps(self, prompts: Ints) -> NDArray[np.float64]:
        """Whole chunks, which all prompts have in common, and the rest."""
        budget, (chunks, rest) = self._budget_tokens, np.divmod(prompts, self._budget_tokens)
        done = budget * np.arange(chunks.max(initial=0), dtype=np.int64)
        passes = prefills_ps(self._profile, np.full(len(done), budget), budget * (2 * done + budget))
        whole = np.concatenate([[0], np.cumsum(passes)])[chunks]
        last = prefills_ps(self._profile, rest, rest * (2 * chunks * budget + rest))
        return np.asarray(whole + np.where(rest > 0, last, 0), np.float64)


def prefills_ps(profile: IntegerProfile, tokens: Ints, two_f: Ints) -> Ints:
    """`profile.iteration_ps` of passes [n] of prefills alone, n at a time.

    >>> from llmqgym.hardware import load_profile
    >>> profile = load_profile("a100-llama-3-8b").to_integers(16)
    >>> int(prefills_ps(profile, np.array([9]), np.array([81]))[0]) == profile.iteration_ps(9, 81, 0, 0)
    True
    """
    index, last = -(-tokens // profile.tile), len(profile.table) - 1
    table = np.array(profile.table, np.int64)[np.minimum(index, last)] + np.maximum(index - last, 0) * profile.tail
    root = np.rint(profile.root * np.sqrt(two_f * 0.5)).astype(np.int64)
    attention = profile.prefill_base + root + profile.square * two_f
    return np.asarray(np.maximum(profile.base + table + profile.token * tokens + attention, 1))


def _decode_without_kv_ps(profile: IntegerProfile) -> int:
    return profile.base + profile.table_ps(1) + profile.token + profile.decode_base + profile.decode
