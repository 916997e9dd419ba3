"""GSA: nothing is known, so everybody gets trials of geometrically growing length.

Source: arXiv 2601.22996, of which the abstract and the head were read: the base 2 of the trials is a stand-in of the
reference. Two things are ours: the staggered start inside a phase, which holds memory nearly constant, is the peak test
with the length of the trial; and a request at the end of its trial is killed when somebody of its phase or the next
wants its place, not before.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from baselines.peak import peak_fits
from baselines.shared import callable_from_hooks, while_waiting
from llmqgym.checks import check_count
from llmqgym.kernel.memory import request_at
from llmqgym.policy import Policy


@callable_from_hooks
def trial_tokens(request: Any, server: Any) -> int:
    """The length of a request's present trial: notes hold its phase."""
    return int(server.params[0] * 2.0 ** request.notes[0])


@callable_from_hooks
def is_spent(request: Any, server: Any) -> bool:
    """Whether a request has come to the end of its trial."""
    return bool(request.generated_tokens >= trial_tokens(request, server))


def earliest_phase(request: Any, server: Any) -> float:
    """The earliest phase first, then by arrival."""
    return float(request.notes[0])


def trials_fit(candidate: Any, server: Any) -> bool:
    """The peak of everybody's trial fits, or the candidate is alone."""
    if server.num_running == 0:
        return True
    passes = np.empty(server.num_running + 1, np.int64)
    stored = np.empty(server.num_running + 1, np.int64)
    request, row = candidate, server.first_running
    for place in range(server.num_running + 1):
        if place > 0:
            request = request_at(server.requests, row)
            row = request.next
        passes[place] = max(trial_tokens(request, server) - request.generated_tokens, 1)
        stored[place] = request.prompt_tokens + request.generated_tokens - 1
    return peak_fits(passes, stored, server, server.num_kv_blocks)


def spent_for_trial(running: Any, candidate: Any, server: Any) -> float:
    """A request at the end of its trial leaves for one of its phase or the next."""
    return 1.0 if is_spent(running, server) and candidate.notes[0] <= running.notes[0] + 1.0 else 0.0


def spent_first(running: Any, requester: Any, server: Any) -> float:
    """Victim: one at the end of its trial, else the latest phase; the latest arrival of these."""
    return 1e9 if is_spent(running, server) else float(running.notes[0])


def next_phase(request: Any, server: Any) -> None:
    """Killed at the end of its trial it goes on to the next phase; killed before, it tries again."""
    if is_spent(request, server):
        request.notes[0] += 1.0


def gsa(first: int = 16) -> Policy:
    """Geometric phases: a request's trial is `first` tokens long (ours), twice as long in each later phase; unfinished
    it is killed, loses everything, and waits for its next phase, after all those of earlier phases.

    O(running) per candidate, O(n log n) where memory is nearly full.
    """
    return Policy(
        "gsa",
        order=earliest_phase,
        fit=trials_fit,
        preempt=spent_for_trial,
        preempt_mode="restart",
        victim=spent_first,
        victim_mode="restart",
        preempted=next_phase,
        wake=while_waiting,
        params=(float(check_count("first of gsa", first, 2**40)),),
    )
