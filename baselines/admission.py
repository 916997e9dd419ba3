"""How much to let in: reserving, hoping and restarting, pacing. All in order of arrival.

Sources: reserving is Orca's rule (Yu et al., OSDI 2022) and TensorRT-LLM's GUARANTEED_NO_EVICT; restarting is what
Ao et al. (arXiv 2606.15555) assume where they find the eviction cycle; flow control is Dong and Cao, arXiv 2604.11001.
"""

from __future__ import annotations

import math
from typing import Any

from baselines.shared import blocks_of, callable_from_hooks, expected_tokens, passes_gate, while_waiting
from llmqgym.checks import check_count, check_real
from llmqgym.errors import unknown
from llmqgym.kernel.memory import request_at
from llmqgym.policy import Policy


def reserve_declared(request: Any, server: Any) -> bool:
    """Prompt and declared cap of everybody fit, or nobody runs."""
    if server.num_running == 0:
        return True
    blocks = blocks_of(request.prompt_tokens + request.max_output_tokens - 1, server)
    row = server.first_running
    while row >= 0:
        running = request_at(server.requests, row)
        blocks += blocks_of(running.prompt_tokens + running.max_output_tokens - 1, server)
        row = running.next
    return bool(blocks <= server.num_kv_blocks)


def reserve_predicted(request: Any, server: Any) -> bool:
    """Prompt and predicted output of everybody fit, or nobody runs; one that outlives its prediction counts with what
    it has."""
    if server.num_running == 0:
        return True
    blocks = blocks_of(request.prompt_tokens + expected_tokens(request) - 1, server)
    row = server.first_running
    while row >= 0:
        running = request_at(server.requests, row)
        blocks += blocks_of(running.prompt_tokens + expected_tokens(running) - 1, server)
        row = running.next
    return bool(blocks <= server.num_kv_blocks)


def reserve(by: str = "predicted") -> Policy:
    """A request enters if its whole length finds place beside that of all running, or alone; `by` predicted length (the
    declared cap where there is none) or, as the engines do, by `declared` cap: then nobody is ever preempted.

    Between events reservations stay or, with predictions outlived, grow: who does not fit goes on not to fit.
    """
    fits = {"declared": reserve_declared, "predicted": reserve_predicted}
    if by not in fits:
        raise unknown("setting by of policy 'reserve'", str(by), fits)
    return Policy("reserve", fit=fits[by], wake=math.inf)


def evict_restart() -> Policy:
    """A request enters if its prompt fits; on a shortage the last admitted loses its blocks and its tokens."""
    return Policy("evict-restart", victim_mode="restart")


@callable_from_hooks
def is_new(request: Any) -> bool:
    """Whether a running request was admitted in the iteration being composed."""
    return bool(request.computed_tokens == 0)


@callable_from_hooks
def mean_kv_tokens(request: Any, server: Any) -> float:
    """What a request is expected to hold in the KV cache, on average over its passes."""
    return float(request.prompt_tokens + (expected_tokens(request) - 1) / 2 + (server.block_size - 1) / 2)


def keeps_pace(request: Any, server: Any) -> bool:
    """Not more admissions in this iteration than the KV cache can bear for ever.

    A request that stays for o passes and holds h tokens takes o h of the `num_kv_tokens` an iteration has. Those that
    run show what requests are like, in proportion to their stay: weighting each by 1/o corrects that.
    """
    if server.num_running == 0:
        return passes_gate(request, server)
    per_pass = 1.0 / expected_tokens(request)
    held = mean_kv_tokens(request, server)
    num_new = 0
    row = server.first_running
    while row >= 0:
        running = request_at(server.requests, row)
        per_pass += 1.0 / expected_tokens(running)
        held += mean_kv_tokens(running, server)
        num_new += is_new(running)
        row = running.next
    rate = server.params[0] * server.num_kv_blocks * server.block_size * per_pass / held
    quota = math.floor((server.num_iterations + 1) * rate) - math.floor(server.num_iterations * rate)
    return bool(num_new < quota) and passes_gate(request, server)


def keeps_flow(request: Any, server: Any) -> bool:
    """Not more admissions of the request's tenant in this iteration than its budget."""
    num_new = 0
    row = server.last_running
    while row >= 0:
        running = request_at(server.requests, row)
        if not is_new(running):
            break
        num_new += running.tenant == request.tenant
        row = running.previous
    return bool(num_new < server.params[0]) and passes_gate(request, server)


def paced(share: float = 0.95) -> Policy:
    """As many requests an iteration as keep the KV cache filled to `share` on average, and not more: no rush to fill
    what is free only because nobody has grown yet. Lengths as predicted."""
    return Policy("paced", fit=keeps_pace, wake=while_waiting, params=(check_real("share of paced", share, 1e-6, 1),))


def flow_control(budget: int = 4) -> Policy:
    """At most `budget` admissions of each tenant an iteration: tenants are the paper's classes.

    Whom the budget refuses is asked again after the pass, as somebody entered; whom memory refuses, after an event.
    """
    return Policy(
        "flow-control",
        fit=keeps_flow,
        miss="skip",
        wake=math.inf,
        params=(float(check_count("budget of flow-control", budget, 2**40)),),
    )
