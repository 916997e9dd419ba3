"""The time that a request takes alone on an idle server: what its slowdown is measured against."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.hardware.integers import IntegerProfile
from llmqgym.kernel.tables import PS_PER_S


def alone_s(
    prompt_tokens: NDArray[np.int64], output_tokens: NDArray[np.int64], profile: IntegerProfile, budget_tokens: int
) -> NDArray[np.float64]:
    """Seconds [R] from arrival to finish on an idle server, for prompts and outputs [R] in tokens.

    The prompt goes in chunks of the whole token budget (a request alone knows no smaller chunk); the last one
    yields the first token. The decodes that follow hold P, P + 1, ... tokens, so that their sum is a closed form.
    """
    prompts, where = np.unique(prompt_tokens, return_inverse=True)
    prefill = np.array(_prefill_ps(prompts.tolist(), profile, budget_tokens), np.float64)
    first = profile.iteration_ps(0, 0, 1, 0) if profile.kv == 0 else _decode_without_kv_ps(profile)
    decodes = (output_tokens - 1).astype(np.float64)
    held = decodes * prompt_tokens + decodes * (decodes - 1) / 2
    total_ps: NDArray[Any] = prefill[where] + decodes * first + profile.kv * held
    return total_ps / PS_PER_S


def _decode_without_kv_ps(profile: IntegerProfile) -> int:
    return profile.base + profile.table_ps(1) + profile.token + profile.decode_base + profile.decode


def _prefill_ps(prompts: list[int], profile: IntegerProfile, budget_tokens: int) -> list[int]:
    """Time of the prefill of each prompt; whole chunks are common to all prompts and are summed up once."""
    whole = [0]
    for number in range(max(prompts, default=0) // budget_tokens):
        done = number * budget_tokens
        whole.append(whole[-1] + profile.iteration_ps(budget_tokens, budget_tokens * (2 * done + budget_tokens), 0, 0))
    times = []
    for prompt in prompts:
        chunks, rest = divmod(prompt, budget_tokens)
        done = chunks * budget_tokens
        last = profile.iteration_ps(rest, rest * (2 * done + rest), 0, 0) if rest else 0
        times.append(whole[chunks] + last)
    return times
