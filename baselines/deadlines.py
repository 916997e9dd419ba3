"""Policies for limits: earliest deadline first, and SLAI, which lets decodes idle while their deadline permits.

Sources: Liu and Layland, JACM 1973 (EDF); Bari et al., arXiv 2508.01002, code agrimUT/SLAI slai_scheduler.py, on
Sarathi-Serve in Vidur. A request without a limit of its own has no deadline in EDF, and a default one in SLAI.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baselines.shared import callable_from_hooks
from llmqgym.checks import check_count, check_real
from llmqgym.errors import unknown
from llmqgym.kernel.memory import request_at
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.policy import Policy


@callable_from_hooks
def deadline_ps(request: Any) -> float:
    """When the first token is due, inf without a limit."""
    if request.ttft_limit_ps < 0:
        return math.inf
    return float(request.arrival_ps + request.ttft_limit_ps)


def earliest_deadline(request: Any, server: Any) -> float:
    """The earliest deadline first, then by arrival."""
    return deadline_ps(request)


def latest_deadline(running: Any, requester: Any, server: Any) -> float:
    """Victim: the latest deadline."""
    return deadline_ps(running)


def edf() -> Policy:
    """Earliest deadline first: by arrival plus the limit on the time to the first token, those without one last, not
    preemptive; victim: the latest deadline.

    O(1) per arrival, O(running) per victim.
    """
    return Policy("edf", order=earliest_deadline, victim=latest_deadline)


#: Notes of a request: its tokens at the last look, and the end of the last batch that gave it one, ps.
_TOKENS, _BATCH_END = 0, 1
#: Notes of the server: passes, their time, iterations and clock at the last look, the latest urgent LST, and the last
#: in order of admission that is urgent at just that LST.
_PASSES, _TIME, _SEEN, _CLOCK, _LATEST, _LAST_SEQ = range(6)
#: Params: default limit a token (ps), offset with memory to spare and without, share of memory that tells, urgent
#: decodes.
_TBT, _OFFSET, _OFFSET_FULL, _FULL, _MOST = range(5)


@callable_from_hooks
def is_decoding(request: Any) -> bool:
    """A running request whose prefill is done."""
    return bool(request.computed_tokens >= request.prefill_target_tokens)


@callable_from_hooks
def last_start_ps(request: Any, server: Any) -> float:
    """LST: by when a decode must start to meet its limit: end of its last batch, plus the limit, less so many mean
    batches."""
    tbt = server.params[_TBT] if request.tpot_limit_ps < 0 else float(request.tpot_limit_ps)
    used = 1.0 - server.free_kv_blocks / server.num_kv_blocks
    offset = server.params[_OFFSET_FULL] if used > server.params[_FULL] else server.params[_OFFSET]
    mean = server.notes[_TIME] / server.notes[_PASSES] if server.notes[_PASSES] > 0.0 else 0.0
    return float(request.notes[_BATCH_END] + tbt - offset * mean)


def start_clock(request: Any, server: Any) -> None:
    """The time in which nobody was there is no batch's."""
    if server.num_running + server.num_waiting == 0:
        server.notes[_CLOCK] = server.clock_ps
        server.notes[_SEEN] = server.num_iterations


@callable_from_hooks
def time_last_batch(server: Any) -> None:
    """Count the pass since the last look, if there was one."""
    if server.num_iterations > server.notes[_SEEN]:
        server.notes[_PASSES] += 1.0
        server.notes[_TIME] += server.clock_ps - server.notes[_CLOCK]
        server.notes[_SEEN] = server.num_iterations
    server.notes[_CLOCK] = server.clock_ps


@callable_from_hooks
def limit_urgent(server: Any, starts: Any) -> None:
    """These LST and no more are urgent: those before the last of them, and of equal ones the first admitted."""
    latest = starts[-1]
    equal = np.sum(starts == latest)
    server.notes[_LATEST] = latest
    row = server.first_running
    while row >= 0 and equal > 0:
        request = request_at(server.requests, row)
        if is_decoding(request) and last_start_ps(request, server) == latest:
            equal -= 1
            server.notes[_LAST_SEQ] = request.admit_seq
        row = request.next


def find_urgent(server: Any) -> None:
    """Who has had a token, and how late the most urgent decodes may start."""
    time_last_batch(server)
    starts = np.empty(server.num_running, np.float64)
    number = 0
    row = server.first_running
    while row >= 0:
        request = request_at(server.requests, row)
        if request.generated_tokens != request.notes[_TOKENS]:
            request.notes[_TOKENS] = request.generated_tokens
            request.notes[_BATCH_END] = server.clock_ps
        if is_decoding(request):
            starts[number] = last_start_ps(request, server)
            number += 1
        row = request.next
    server.notes[_LATEST] = math.inf
    if 0.0 < server.params[_MOST] < number:
        limit_urgent(server, np.sort(starts[:number])[: int(server.params[_MOST])])


@callable_from_hooks
def squeezed(start_ps: float, server: Any) -> float:
    """An LST as a number between 0 and 1, in the same order."""
    away = (start_ps - server.clock_ps) / PS_PER_S
    return float(0.5 + 0.5 * away / (1.0 + abs(away)))


def most_urgent(request: Any, server: Any) -> float:
    """MIX: urgent decodes by LST, prompts under way, newcomers, other decodes by LST."""
    if not is_decoding(request):
        return 0.75
    start_ps = last_start_ps(request, server)
    latest = server.notes[_LATEST]
    within = start_ps < latest or (start_ps == latest and request.admit_seq <= server.notes[_LAST_SEQ])
    urgent = within and start_ps <= server.clock_ps
    return squeezed(start_ps, server) if urgent else 2.0 + squeezed(start_ps, server)


def latest_prefill(running: Any, requester: Any, server: Any) -> float:
    """Victim: the latest prompt under way, else the requester itself."""
    if not is_decoding(running):
        return 1.0 + float(running.admit_seq)
    return 0.0 if running.id == requester.id else -1.0


def shortest_prompt(request: Any, server: Any) -> float:
    """Shortest prompt first."""
    return float(request.prompt_tokens)


def slai(
    tbt_ms: float = 100.0,
    offset: float = 2.0,
    offset_full: float = 4.0,
    full: float = 0.9,
    decodes: int = 0,
    order: str = "fcfs",
) -> Policy:
    """A decode may start as late as LST = end of its last batch + its limit a token - offset x mean batch time. Batch:
    the decodes whose LST has come, by LST, at most `decodes` (0: all); prompts under way; newcomers, `order` fcfs or
    shortest prompt; the other decodes by LST; while the token budget (512 in the source) holds. `tbt_ms` is the limit
    where a request has none; the offset is `offset`, or `offset_full` above the share `full` of memory (these three
    values are ours: the source gives none we have read). Shortage: the latest prompt under way leaves, else the
    requester.

    O(running log running) an iteration, iteration by iteration.
    """
    orders = {"fcfs": None, "shortest": shortest_prompt}
    if order not in orders:
        raise unknown("setting order of policy 'slai'", str(order), orders)
    return Policy(
        "slai",
        order=orders[order],
        mix_key=most_urgent,
        victim=latest_prefill,
        arrive=start_clock,
        begin=find_urgent,
        params=(
            check_real("tbt_ms of slai", tbt_ms, 0, 1e9) * PS_PER_S / 1e3,
            check_real("offset of slai", offset, 0, 1e9),
            check_real("offset_full of slai", offset_full, 0, 1e9),
            check_real("full of slai", full, 0, 1),
            float(check_count("decodes of slai", decodes, 2**40, 0)),
        ),
    )
