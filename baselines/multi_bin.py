"""Multi-bin batching: a batch is run to completion, so let it hold requests of similar length.

Source: Guldogan et al., arXiv 2412.04504. Requests are sorted into `bins` of equal width by predicted length; when the
batch is done, the bin of the request that has waited longest gives the next one, by arrival, up to the slots that the
server has. Unlike the paper's, a batch does not wait until it is full: with a backlog that makes no difference.
"""

from __future__ import annotations

import math
from typing import Any

from baselines.shared import callable_from_hooks, passes_gate
from llmqgym.checks import check_count, check_real
from llmqgym.errors import InputError
from llmqgym.kernel.memory import request_at
from llmqgym.policy import Policy


@callable_from_hooks
def bin_of(request: Any, server: Any) -> float:
    """The number of a request's bin; without a prediction the last."""
    bins, low, high = server.params[0], server.params[1], server.params[2]
    place = (request.initial_predicted_output_tokens - low) / (high - low) * bins
    return float(bins - 1.0 if math.isnan(place) else min(max(math.floor(place), 0.0), bins - 1.0))


def same_bin(request: Any, server: Any) -> bool:
    """Whether a request belongs to the batch that is being formed."""
    if server.num_running > 0:
        first = request_at(server.requests, server.first_running)
        if bin_of(request, server) != bin_of(first, server):
            return False
    return passes_gate(request, server)


def multi_bin(bins: int = 4, low: float = 0.0, high: float = 1024.0) -> Policy:
    """`bins` of equal width between `low` and `high` predicted tokens; what lies outside goes to the nearest."""
    check_real("low of multi-bin", low, 0, 1e15)
    check_real("high of multi-bin", high, 0, 1e15)
    if not low < high:
        raise InputError(f"multi-bin: low is {low} and high is {high}: high must be the larger.")
    return Policy(
        "multi-bin",
        fit=same_bin,
        mix="batch_to_completion",
        miss="skip",
        reads_running=False,
        wake=math.inf,
        params=(float(check_count("bins of multi-bin", bins, 2**20)), low, high),
    )
