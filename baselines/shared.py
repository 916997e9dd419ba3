"""What hooks of several families ask of a request: its length as far as it is known, and vLLM's admission gate.

An oracle is the same policy with the truth in its hands: `request.true_output_tokens` is -1 for everybody else.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba.extending import register_jitable

F = TypeVar("F", bound=Callable[..., Any])


def callable_from_hooks(function: F) -> F:
    """Let hooks call a function: compiled where they are, plain Python where they are not."""
    return cast("F", register_jitable(error_model="numpy")(function))


@callable_from_hooks
def length_of(request: Any) -> float:
    """Output tokens: the true number where it is shown, else the prediction as of now, nan without one."""
    if request.true_output_tokens > 0:
        return float(request.true_output_tokens)
    return float(request.predicted_output_tokens)


@callable_from_hooks
def remaining_of(request: Any) -> float:
    """Output tokens still to come; below 0 for a request that has outlived its prediction."""
    return length_of(request) - float(request.generated_tokens)


@callable_from_hooks
def expected_tokens(request: Any) -> int:
    """Output tokens to reckon with, a whole number: `length_of`, the declared cap where that is unknown, and at least
    one more than there are."""
    length = length_of(request)
    if math.isnan(length):
        length = float(request.max_output_tokens)
    return int(max(math.ceil(length), request.generated_tokens + 1))


def while_waiting(server: Any) -> float:
    """WAKE of policies whose answers change from pass to pass, and matter only while somebody waits."""
    return 1.0 if server.num_waiting > 0 else math.inf


@callable_from_hooks
def blocks_of(tokens: int, server: Any) -> int:
    """KV blocks that hold `tokens` tokens."""
    return int((tokens + server.block_size - 1) // server.block_size)


@callable_from_hooks
def passes_gate(request: Any, server: Any) -> bool:
    """vLLM's own gate, for a FIT that adds to it: prompt and generated tokens find blocks, the watermark stays free."""
    margin = server.watermark_blocks if server.num_running > 0 else 0
    needed = blocks_of(request.prompt_tokens + request.generated_tokens, server) - request.kv_blocks
    return bool(needed + margin <= server.free_kv_blocks - server.reserved_kv_blocks)
