"""How many tokens the bars' axes hold: chosen once an episode, so that a bar's length means the same all the way."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from llmqgym.kernel.memory import arrival_at

#: Of the episode's requests, the share that ends within the axes, and how many are looked at.
_SHARE, _MOST = 0.9, 1000
_LEAST = 20
_STEPS = (1, 1.5, 2, 3, 4, 6, 8, 10)


def axes_of(simulator: Any) -> tuple[int, int]:
    """(prompt, output): tokens within which most of an episode's prompts, and of its predicted outputs, end."""
    record = simulator.record
    arrivals = [arrival_at(record.arrivals, row) for row in range(min(int(record.num_arrivals), _MOST))]
    prompts = (float(arrival.prompt_tokens) for arrival in arrivals)
    return _round_number(prompts), _round_number(float(arrival.predicted_output_tokens) for arrival in arrivals)


def _round_number(lengths: Iterable[float]) -> int:
    """A round number that most lengths do not exceed; where none is known, 500."""
    known = sorted(length for length in lengths if not math.isnan(length))
    if not known:
        return 500
    wanted = max(known[int(_SHARE * (len(known) - 1))], _LEAST)
    unit = 10 ** math.floor(math.log10(wanted))
    return int(next(step * unit for step in _STEPS if step * unit >= wanted))
