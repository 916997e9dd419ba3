"""Skip-join multi-level feedback queues: nothing is predicted, but the time of the prefill.

Source: FastServe, Wu et al., arXiv 2305.05920; the baseline of hao-ai-lab/vllm-ltr, vllm/core/mlfq_scheduler.py, gives
the defaults (quantum 10 ms, ratio 2, promotion after 3 s) and has no skip-join. FastServe's proactive swapping of low
queues is not modelled: who is preempted swaps (or recomputes) at once. The time of a prefill is estimated from the
prompt (ours).
"""

from __future__ import annotations

from typing import Any

from baselines.shared import callable_from_hooks, while_waiting
from llmqgym.checks import check_real
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.policy import Policy

#: Notes of a request: the queue it joined, seconds of service since, when it was admitted, since when it waits.
_JOINED, _SERVED_S, _ADMITTED_S, _SINCE_S = range(4)
#: Params: first quantum, ratio of quanta, wait that promotes, seconds of prefill a token, whether queues are skipped.
_QUANTUM_S, _RATIO, _STARVATION_S, _PREFILL_S, _SKIP = range(5)
_LAST_QUEUE = 30


@callable_from_hooks
def now_s(server: Any) -> float:
    """The clock in seconds."""
    return float(server.clock_ps / PS_PER_S)


@callable_from_hooks
def queue_to_join(prefill_s: float, server: Any) -> int:
    """The first queue whose quantum is as long as the first iteration of a request."""
    queue, quantum_s = 0, server.params[_QUANTUM_S]
    while quantum_s < prefill_s and queue < _LAST_QUEUE:
        queue += 1
        quantum_s *= server.params[_RATIO]
    return queue


@callable_from_hooks
def queue_after(joined: float, served_s: float, server: Any) -> int:
    """Where a request has come to that joined a queue and has been served for some time since: a quantum used up is a
    queue down."""
    queue = int(joined)
    quantum_s = server.params[_QUANTUM_S] * server.params[_RATIO] ** queue
    while served_s >= quantum_s and queue < _LAST_QUEUE:
        served_s -= quantum_s
        quantum_s *= server.params[_RATIO]
        queue += 1
    return queue


@callable_from_hooks
def queue_of_running(request: Any, server: Any) -> int:
    """The queue of a running request, as of now."""
    served_s = request.notes[_SERVED_S] + now_s(server) - request.notes[_ADMITTED_S]
    return queue_after(request.notes[_JOINED], served_s, server)


@callable_from_hooks
def is_starving(request: Any, server: Any) -> bool:
    """Whether a waiting request is to be promoted."""
    return bool(now_s(server) - request.notes[_SINCE_S] > server.params[_STARVATION_S])


@callable_from_hooks
def queue_of_waiting(request: Any, server: Any) -> int:
    """The queue of a waiting request; -1 for one that is to be promoted."""
    if is_starving(request, server):
        return -1
    return queue_after(request.notes[_JOINED], request.notes[_SERVED_S], server)


def join(request: Any, server: Any) -> None:
    """Skip-join at arrival."""
    prefill_s = server.params[_PREFILL_S] * request.prompt_tokens if server.params[_SKIP] > 0.0 else 0.0
    request.notes[_JOINED] = queue_to_join(prefill_s, server)
    request.notes[_SINCE_S] = now_s(server)


def note_admission(request: Any, server: Any) -> None:
    """A promoted request starts again from the first queue."""
    if is_starving(request, server):
        request.notes[_JOINED] = 0.0
        request.notes[_SERVED_S] = 0.0
    request.notes[_ADMITTED_S] = now_s(server)


def note_preemption(request: Any, server: Any) -> None:
    """What it has been served counts on."""
    request.notes[_SERVED_S] += now_s(server) - request.notes[_ADMITTED_S]
    request.notes[_SINCE_S] = now_s(server)


def highest_queue(request: Any, server: Any) -> float:
    """The promoted, then the queues in their order; in a queue by arrival."""
    return float(queue_of_waiting(request, server))


def queues_above(running: Any, candidate: Any, server: Any) -> float:
    """How many queues the candidate stands above a running request."""
    return float(queue_of_running(running, server) - queue_of_waiting(candidate, server))


def lowest_queue(running: Any, requester: Any, server: Any) -> float:
    """Victim: the lowest queue, the latest arrival."""
    return float(queue_of_running(running, server))


def mlfq(
    quantum_ms: float = 10.0,
    ratio: float = 2.0,
    starvation_s: float = 3.0,
    prefill_us: float = 100.0,
    skip_join: bool = True,
    mode: str = "swap",
) -> Policy:
    """Queues of quanta `quantum_ms`, times `ratio` from each to the next. A request joins the first whose quantum is as
    long as its prefill (`prefill_us` a prompt token; `skip_join` false: the very first), falls by one whenever it has
    used a quantum up, and is promoted to the first after it has waited for `starvation_s`. A higher queue displaces a
    lower one, `mode` of preemption (swap or recompute).

    O(waiting) an iteration while somebody waits, O(running) per preemption.
    """
    return Policy(
        "mlfq",
        order=highest_queue,
        rekey=True,
        preempt=queues_above,
        victim=lowest_queue,
        victim_mode="recompute" if mode == "hold" else mode,
        preempt_mode=mode,
        arrive=join,
        admitted=note_admission,
        preempted=note_preemption,
        reads_running=False,
        wake=while_waiting,
        params=(
            check_real("quantum_ms of mlfq", quantum_ms, 1e-6, 1e9) / 1e3,
            check_real("ratio of mlfq", ratio, 1.0, 1e3),
            check_real("starvation_s of mlfq", starvation_s, 0, 1e9),
            check_real("prefill_us of mlfq", prefill_us, 0, 1e9) / 1e6,
            1.0 if skip_join else 0.0,
        ),
    )
