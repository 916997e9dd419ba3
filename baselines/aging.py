"""Orders in which waiting counts: SSJF with aging, and the highest response ratio next.

Sources: Qiu et al., arXiv 2404.08509, code James-QiuHaoran/LLM-serving-with-proxy-models (SSJF); sglang 0.5.23,
srt/managers/schedule_policy.py (hrrn, on a clock of tokens).
"""

from __future__ import annotations

import math
from typing import Any

from baselines.shared import length_of, while_waiting
from llmqgym.checks import check_real
from llmqgym.kernel.memory import entry_at, request_at
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.policy import Policy

#: SGLang's hrrn sorts queues up to this long.
_LONGEST_QUEUE = 128
#: SSJF's note of the server: whether the queue goes by age now.
_BY_AGE = 0


def look_at_the_oldest(server: Any) -> None:
    """Whether the request that has waited longest has waited too long."""
    oldest = -1
    for place in range(server.num_queued):
        row = entry_at(server.waiting, place).row
        if oldest < 0 or request_at(server.requests, row).id < request_at(server.requests, oldest).id:
            oldest = row
    server.notes[_BY_AGE] = 0.0
    if oldest >= 0:
        request = request_at(server.requests, oldest)
        waited_s = (server.clock_ps - request.arrival_ps) / PS_PER_S
        own_s = server.params[1] * server.params[2] * length_of(request)
        if waited_s > server.params[0] or waited_s > own_s:
            server.notes[_BY_AGE] = 1.0


def shortest_or_oldest(request: Any, server: Any) -> float:
    """The shortest predicted output first; by arrival while somebody has waited too long."""
    return 0.0 if server.notes[_BY_AGE] > 0.0 else length_of(request)


def ssjf(limit_s: float = 100.0, slowdown: float = 10.0, token_s: float = 0.03) -> Policy:
    """Speculative shortest job first: by predicted output, not preemptive. When the request that has waited longest has
    waited for more than `limit_s`, or `slowdown` times its own execution (`token_s` a token, ours), the queue is
    served by waiting time instead.

    O(waiting) an iteration while somebody waits.
    """
    return Policy(
        "ssjf",
        order=shortest_or_oldest,
        rekey=True,
        begin=look_at_the_oldest,
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
