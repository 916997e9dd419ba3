"""The memory to come: what the running batch will hold of the KV cache until everybody in it has finished.

A request stores so many tokens now, one more after each pass, and gives all back after its last one, as predicted (the
declared cap, where nothing is). Memory is highest in the last pass of somebody: MC-SF's inequality (arXiv 2502.07115,
equation 5), here as a number instead of a yes or no. t tokens count as t / block_size + 1/2 blocks, what they fill on
average.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from llmqgym.kernel import refreshing
from llmqgym.kernel.jit import helper
from llmqgym.kernel.memory import request_at

#: Rows of a forecast, float64[4, running + 1], sorted by passes left: these; the tokens stored by whoever has as many
#: or more; the highest memory in this last pass or a later one; the highest in this one or an earlier one, of the
#: others and of a request that stores nothing now. Memory in blocks, whole and parts.
_PASSES, _STORED, _AFTER, _BEFORE = range(4)
#: Passes are reckoned with up to this.
_LONGEST = 2.0**30


@helper
def passes_left(request: Any) -> float:
    """Passes until a request is expected to finish, the one being composed included; 1 or more."""
    expected = request.predicted_output_tokens
    if math.isnan(expected):
        expected = float(request.max_output_tokens)
    return min(max(math.ceil(expected) - request.generated_tokens, 1.0), _LONGEST)


@helper
def stored_tokens(request: Any) -> float:
    """Tokens in the KV cache once all of a request's sequence is computed: the last token is not stored."""
    return float(request.prompt_tokens + request.generated_tokens - 1)


@helper
def make_forecast(sim: Any) -> np.ndarray:
    """Of the running batch."""
    refreshing.show_running(sim)
    num, size = sim.num_running, float(sim.block_size)
    packed = np.empty(num, np.int64)  # passes above, tokens below: so a single sort does
    row = sim.first_running
    for place in range(num):
        request = request_at(sim.requests, row)
        packed[place] = int(passes_left(request)) << 32 | int(stored_tokens(request))
        row = request.next
    packed.sort()
    batch = np.zeros((4, num + 1))
    for place in range(num):
        batch[_PASSES, place], batch[_STORED, place] = packed[place] >> 32, packed[place] & 0xFFFFFFFF
    for place in range(num - 1, -1, -1):
        batch[_STORED, place] += batch[_STORED, place + 1]
        here = num - place
        batch[_BEFORE, place] = (batch[_STORED, place] + here * batch[_PASSES, place]) / size + 0.5 * here
        batch[_AFTER, place] = max(batch[_BEFORE, place], batch[_AFTER, place + 1])
    highest = 0.0
    for place in range(num):
        highest = max(highest, batch[_BEFORE, place] + batch[_PASSES, place] / size)
        batch[_BEFORE, place] = highest
    return batch


@helper
def peak_blocks(batch: np.ndarray) -> float:
    """The most that the batch will ever hold."""
    return batch[_AFTER, 0]


@helper
def peak_blocks_with(batch: np.ndarray, size: int, passes: float, stored: float) -> float:
    """The same if one more joins it."""
    num = batch.shape[1] - 1
    stay = np.searchsorted(batch[_PASSES, :num], passes)  # from here on others stay as long as this one or longer
    own = stored / size + 0.5
    here = num - stay
    # in its own last pass, and in those of others before and after it
    peak = (batch[_STORED, stay] + here * passes) / size + 0.5 * here + own + passes / size
    if stay > 0:
        peak = max(peak, batch[_BEFORE, stay - 1] + own)
    return max(peak, batch[_AFTER, stay])
