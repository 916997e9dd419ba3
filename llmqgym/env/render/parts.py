"""A request's tokens in parts, each of which looks different: the one reading of a bar, for text and for pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass

from llmqgym.env.render.scene import Request


@dataclass(frozen=True)
class Parts:
    """Tokens of a request. Prompt: computed + uncomputed. Output so far: kept + to_recompute; of these, `beyond` are
    more than were predicted, and `ahead` are predicted and still to come."""

    computed: int
    uncomputed: int
    kept: int
    to_recompute: int
    ahead: int
    beyond: int


def parts_of(request: Request) -> Parts:
    """The parts of a request; where nothing is predicted, none is ahead and none beyond.

    Preempted after 3 of 10 tokens, all of it to be computed again:

    >>> parts_of(Request(7, 50, 0, 3, 53, 10.0, 1, 0.5, -1, False, False))
    Parts(computed=0, uncomputed=50, kept=0, to_recompute=3, ahead=7, beyond=0)
    """
    generated = request.generated_tokens
    computed = min(request.computed_tokens, request.prompt_tokens)
    uncomputed = request.prompt_tokens - computed
    to_recompute = min(max(request.prefill_left_tokens - uncomputed, 0), generated)
    predicted = request.predicted_output_tokens
    whole = generated if math.isnan(predicted) else max(round(predicted), 0)
    return Parts(
        computed=computed,
        uncomputed=uncomputed,
        kept=generated - to_recompute,
        to_recompute=to_recompute,
        ahead=max(whole - generated, 0),
        beyond=max(generated - whole, 0),
    )
