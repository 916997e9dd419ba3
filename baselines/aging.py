"""Orders in which waiting counts: SSJF with aging, and the highest response ratio next.

Sources: Qiu et al., arXiv 2404.08509, code James-QiuHaoran/LLM-serving-with-proxy-models (SSJF); sglang 0.5.23,
srt/managers/schedule_policy.py (hrrn, on a clock of tokens).
"""

from __future__ import annotations

import math
from typing import Any

from baselines.shared import length_of, while_waiting
from llmqgym.checks import check_real
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.policy import Policy

#: SGLang's hrrn sorts queues up to this long.
_LONGEST_QUEUE = 128
#: Below every predicted length.
_OVERDUE = -1e19


def shortest_or_overdue(request: Any, server: Any) -> float:
    """Those that have waited too long, the longest first; then the shortest predicted output."""
    waited_s = (server.clock_ps - request.arrival_ps) / PS_PER_S
    limit_s = server.params[0]
    own_s = server.params[1] * server.params[2] * length_of(request)
    if own_s < limit_s:
        limit_s = own_s
    return _OVERDUE + request.arrival_ps if waited_s > limit_s else length_of(request)


def ssjf(limit_s: float = 100.0, slowdown: float = 10.0, token_s: float = 0.03) -> Policy:
    """Speculative shortest job first: by predicted output, not preemptive; a request that has waited longer than
    `limit_s` or `slowdown` times its own execution (`token_s` a token, ours) is served before all others, the longest
    wait first.

    O(waiting) an iteration while somebody waits.
    """
    return Policy(
        "ssjf",
        order=shortest_or_overdue,
        rekey=True,
        reads_running=False,
        wake=while_waiting,
        params=(
            check_real("limit_s of ssjf", limit_s, 0, 1e9),
            check_real("slowdown of ssjf", slowdown, 0, 1e9),
            check_real("token_s of ssjf", token_s, 0, 1e6),
        ),
    )


def note_clock(request: Any, server: Any) -> None:
    """Tokens that the server had processed when the request came."""
    request.notes[0] = server.processed_tokens


def highest_ratio(request: Any, server: Any) -> float:
    """Tokens processed since the arrival for each token to be computed; order of arrival when the queue is long."""
    if server.num_waiting > _LONGEST_QUEUE:
        return 0.0
    uncached = request.prompt_tokens + request.generated_tokens - request.computed_tokens - request.cached_tokens
    if uncached <= 0:
        return -math.inf
    return -float(server.processed_tokens - request.notes[0]) / float(uncached)


def hrrn() -> Policy:
    """SGLang's --schedule-policy hrrn: first the request during whose wait most tokens were processed for each of its
    own tokens that must be computed to enter; by arrival when more than 128 wait. Nothing is predicted.

    O(waiting) an iteration while somebody waits.
    """
    return Policy("hrrn", order=highest_ratio, rekey=True, reads_running=False, arrive=note_clock, wake=while_waiting)
