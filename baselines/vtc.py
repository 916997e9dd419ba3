"""Virtual token counters: the tenant that has been served least goes first.

Source: Sheng et al., arXiv 2401.00588 (OSDI 2024), code Ying1123/VTC-artifact, slora/server/router/vtc_req_queue.py. A
prompt token costs 1, a generated one 2. Admission is S-LoRA's: the peak with declared caps must fit, the first request
that does not ends the pass. The lift where nobody is backlogged is RECALL. Tenants count modulo 256.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baselines.peak import peak_fits
from baselines.shared import callable_from_hooks, passes_gate, while_waiting
from llmqgym.errors import unknown
from llmqgym.kernel.memory import entry_at, request_at
from llmqgym.policy import Policy

_TENANTS = 256
#: Notes of the server: a counter, the number waiting, and a lift to come (1 + id of the request that calls for it) of
#: each tenant; 1 + the tenant whose queue was emptied last, tenants seen.
_COUNTER, _WAITING, _LIFT = 0, _TENANTS, 2 * _TENANTS
_LEFT_LAST, _SEEN = 3 * _TENANTS, 3 * _TENANTS + 1
#: Notes of a request: its place in the queue, output tokens charged, whether its prompt is.
_PLACE, _CHARGED, _PROMPT_CHARGED = range(3)
#: Params: whether predicted outputs are charged at admission, whether counters are lifted, whether vLLM's gate admits.
_PREDICTS, _LIFTS, _BY_GATE = 0, 1, 2
_PROMPT_COST, _OUTPUT_COST = 1.0, 2.0
_LAST_PLACE = 2.0**40


@callable_from_hooks
def tenant_of(request: Any) -> int:
    """The number of a request's counter."""
    return int(request.tenant % _TENANTS)


@callable_from_hooks
def expected_cost(request: Any, server: Any) -> float:
    """What an admission adds to the counter."""
    if request.notes[_PROMPT_CHARGED] > 0.0:
        return 0.0
    cost = _PROMPT_COST * request.prompt_tokens
    if server.params[_PREDICTS] > 0.0 and request.predicted_output_tokens > 0.0:
        cost += _OUTPUT_COST * math.ceil(request.predicted_output_tokens)
    return float(cost)


@callable_from_hooks
def charge_output(request: Any, server: Any) -> None:
    """Charge the tokens that it has generated beyond those charged."""
    more = request.generated_tokens - request.notes[_CHARGED]
    if more > 0.0:
        server.notes[_COUNTER + tenant_of(request)] += _OUTPUT_COST * more
        request.notes[_CHARGED] += more


def note_arrival(request: Any, server: Any) -> None:
    """Whoever comes to an empty queue calls for a lift of its counter."""
    tenant = tenant_of(request)
    server.notes[_SEEN] = max(server.notes[_SEEN], tenant + 1.0)
    if server.notes[_WAITING + tenant] == 0.0:
        server.notes[_LIFT + tenant] = request.id + 1.0
    server.notes[_WAITING + tenant] += 1.0


def charge_admission(request: Any, server: Any) -> None:
    """The prompt is charged once; with predictions the expected output too."""
    tenant = tenant_of(request)
    server.notes[_WAITING + tenant] -= 1.0
    if server.notes[_WAITING + tenant] == 0.0:
        server.notes[_LEFT_LAST] = tenant + 1.0
    cost = expected_cost(request, server)
    if cost > 0.0:
        server.notes[_COUNTER + tenant] += cost
        request.notes[_CHARGED] = (cost - _PROMPT_COST * request.prompt_tokens) / _OUTPUT_COST
        request.notes[_PROMPT_CHARGED] = 1.0


def note_preemption(request: Any, server: Any) -> None:
    """It waits again."""
    charge_output(request, server)
    server.notes[_WAITING + tenant_of(request)] += 1.0


def settle(request: Any, server: Any) -> None:
    """What was charged too little or, with predictions, too much."""
    more = request.generated_tokens - request.notes[_CHARGED]
    server.notes[_COUNTER + tenant_of(request)] += _OUTPUT_COST * more


@callable_from_hooks
def lift_counters(server: Any) -> None:
    """In the order of arrival: up to the least counter of those backlogged, else to that of the last who left."""
    seen = int(server.notes[_SEEN])
    while True:
        who = -1
        for tenant in range(seen):
            called = server.notes[_LIFT + tenant]
            if called > 0.0 and (who < 0 or called < server.notes[_LIFT + who]):
                who = tenant
        if who < 0:
            return
        least = math.inf
        for tenant in range(seen):
            if server.notes[_WAITING + tenant] > 0.0 and server.notes[_LIFT + tenant] == 0.0:
                least = min(least, server.notes[_COUNTER + tenant])
        if least == math.inf:
            left = int(server.notes[_LEFT_LAST])
            least = server.notes[_COUNTER + left - 1] if left > 0 else 0.0
        if server.params[_LIFTS] > 0.0:
            server.notes[_COUNTER + who] = max(server.notes[_COUNTER + who], least)
        server.notes[_LIFT + who] = 0.0


@callable_from_hooks
def peak_of_caps_fits(candidate: Any, server: Any) -> bool:
    """The peak with declared caps fits, or the candidate is alone."""
    if server.num_running == 0:
        return True
    passes = np.empty(server.num_running + 1, np.int64)
    stored = np.empty(server.num_running + 1, np.int64)
    passes[0] = max(candidate.max_output_tokens - candidate.generated_tokens, 1)
    stored[0] = candidate.prompt_tokens + candidate.generated_tokens - 1
    row = server.first_running
    for place in range(1, server.num_running + 1):
        running = request_at(server.requests, row)
        passes[place] = max(running.max_output_tokens - running.generated_tokens, 1)
        stored[place] = running.prompt_tokens + running.generated_tokens - 1
        row = running.next
    return peak_fits(passes, stored, server, server.num_kv_blocks)


@callable_from_hooks
def first_in_turn(server: Any) -> int:
    """The row of the oldest request of the tenant with the least counter; everybody else has no place yet."""
    tenant = -1
    for each in range(int(server.notes[_SEEN])):
        least = tenant < 0 or server.notes[_COUNTER + each] < server.notes[_COUNTER + tenant]
        if server.notes[_WAITING + each] > 0.0 and least:
            tenant = each
    first = -1
    for place in range(server.num_queued):
        row = entry_at(server.waiting, place).row
        request = request_at(server.requests, row)
        request.notes[_PLACE] = _LAST_PLACE
        if tenant_of(request) == tenant and (first < 0 or request.id < request_at(server.requests, first).id):
            first = row
    request_at(server.requests, first).notes[_PLACE] = 0.0
    return first


@callable_from_hooks
def place_queue(server: Any) -> None:
    """Places in the queue: again and again the tenant of the least counter sends its oldest request, as far as slots
    go."""
    number, seen = server.num_queued, int(server.notes[_SEEN])
    rows, ids, tenants = np.empty(number, np.int64), np.empty(number, np.int64), np.empty(number, np.int64)
    for place in range(number):
        rows[place] = entry_at(server.waiting, place).row
        request = request_at(server.requests, rows[place])
        ids[place], tenants[place] = request.id, tenant_of(request)
    by_id = np.argsort(ids)
    order = by_id[np.argsort(tenants[by_id], kind="mergesort")]
    first, end, counter = np.zeros(seen, np.int64), np.zeros(seen, np.int64), np.empty(seen, np.float64)
    for place in range(number):
        end[tenants[order[place]]] = place + 1
    for tenant in range(seen):
        first[tenant] = 0 if tenant == 0 else max(end[tenant - 1], first[tenant - 1])
        end[tenant] = max(end[tenant], first[tenant])
        counter[tenant] = server.notes[_COUNTER + tenant]
    for place in range(min(number, server.max_running - server.num_running)):
        who = -1
        for tenant in range(seen):
            if first[tenant] < end[tenant] and (who < 0 or counter[tenant] < counter[who]):
                who = tenant
        request = request_at(server.requests, rows[order[first[who]]])
        request.notes[_PLACE] = place
        counter[who] += expected_cost(request, server)
        first[who] += 1


def count_and_place(server: Any) -> None:
    """Charge what has been generated, lift whose queue was empty, and order the queue."""
    row = server.first_running
    while row >= 0:
        running = request_at(server.requests, row)
        charge_output(running, server)
        row = running.next
    lift_counters(server)
    if server.num_queued > 0:
        first = request_at(server.requests, first_in_turn(server))
        if server.params[_BY_GATE] > 0.0 or peak_of_caps_fits(first, server):
            place_queue(server)  # else the pass ends at the first, and nobody else needs a place


def by_place(request: Any, server: Any) -> float:
    """The place in the queue."""
    return float(request.notes[_PLACE])


def caps_fit(candidate: Any, server: Any) -> bool:
    """S-LoRA's test."""
    return peak_of_caps_fits(candidate, server)


def engine_fits(candidate: Any, server: Any) -> bool:
    """vLLM's gate instead."""
    return passes_gate(candidate, server)


def vtc(admission: str = "caps", lift: bool = True) -> Policy:
    """Virtual token counter: the tenant of the least counter sends its oldest request, while they fit. A counter grows
    by the prompt at admission and by 2 a generated token, and is lifted to the least of the backlogged when its tenant
    comes to an empty queue (`lift` false: least counter first, LCF). `admission` caps is S-LoRA's test, engine vLLM's
    gate.

    O(running + waiting log waiting) an iteration while somebody waits, O(tenants) per admission.
    """
    return _vtc("vtc", admission, lift, predicts=False)


def vtc_predicted(admission: str = "caps", lift: bool = True) -> Policy:
    """VTC that charges the predicted output at admission and corrects it as the request outlives its prediction or
    finishes. `admission` and `lift` as in `vtc`.

    O(running + waiting log waiting) an iteration while somebody waits, O(tenants) per admission.
    """
    return _vtc("vtc-predicted", admission, lift, predicts=True)


def _vtc(name: str, admission: str, lift: bool, predicts: bool) -> Policy:
    fits = {"caps": caps_fit, "engine": engine_fits}
    if admission not in fits:
        raise unknown(f"setting admission of policy {name!r}", str(admission), fits)
    return Policy(
        name,
        order=by_place,
        rekey=True,
        fit=fits[admission],
        arrive=note_arrival,
        admitted=charge_admission,
        preempted=note_preemption,
        finished=settle,
        begin=count_and_place,
        wake=while_waiting,
        params=(float(predicts), float(lift), float(admission == "engine")),
    )
