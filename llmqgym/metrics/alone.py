"""The time that a request takes alone on an idle server: what its slowdown is measured against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.hardware.integers import IntegerProfile
from llmqgym.kernel.tables import PS_PER_S

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
        self._whole_ps = [0]  # of the first so many whole chunks, common to all prompts
        self._prefill_ps = np.full(1, np.nan)  # by prompt length; nan: not asked for yet

    def seconds(self, prompt_tokens: NDArray[np.int64], output_tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Seconds [R] from arrival to finish on an idle server, for prompts and outputs [R] in tokens."""
        decodes = (output_tokens - 1).astype(np.float64)
        held = decodes * prompt_tokens + decodes * (decodes - 1) / 2
        prefill = self._prefills_ps(prompt_tokens)
        total_ps: NDArray[Any] = prefill + decodes * self._decode_ps + self._profile.kv * held
        return total_ps / PS_PER_S

    def _prefills_ps(self, prompts: NDArray[np.int64]) -> NDArray[np.float64]:
        longest = int(prompts.max(initial=0))
        if longest > _LONGEST_KEPT_TOKENS:
            lengths, where = np.unique(prompts, return_inverse=True)
            return np.array([self._one_prefill_ps(length) for length in lengths.tolist()], np.float64)[where]
        if longest >= len(self._prefill_ps):
            more = max(longest + 1, 2 * len(self._prefill_ps)) - len(self._prefill_ps)
            self._prefill_ps = np.pad(self._prefill_ps, (0, more), constant_values=np.nan)
        times = self._prefill_ps[prompts]
        unknown_mask = np.isnan(times)
        if unknown_mask.any():
            for length in set(prompts[unknown_mask].tolist()):
                self._prefill_ps[length] = self._one_prefill_ps(length)
            times = self._prefill_ps[prompts]
        return times

    def _one_prefill_ps(self, prompt: int) -> int:
        budget = self._budget_tokens
        chunks, rest = divmod(prompt, budget)
        while len(self._whole_ps) <= chunks:
            done = (len(self._whole_ps) - 1) * budget
            chunk_ps = self._profile.iteration_ps(budget, budget * (2 * done + budget), 0, 0)
            self._whole_ps.append(self._whole_ps[-1] + chunk_ps)
        done = chunks * budget
        last_ps = self._profile.iteration_ps(rest, rest * (2 * done + rest), 0, 0) if rest else 0
        return self._whole_ps[chunks] + last_ps


def _decode_without_kv_ps(profile: IntegerProfile) -> int:
    return profile.base + profile.table_ps(1) + profile.token + profile.decode_base + profile.decode
