"""SGLang: prefills first, admission by a share of what running requests may still want, retraction when that was wrong.

Source: sglang 0.5.23, srt/managers: schedule_policy.py, schedule_batch.py, new_token_ratio_tracker.py. A page is a
block here. Caps count up to 4096 tokens. The ratio falls from its start to its floor over 600 decode steps, is set by
what is left of the batch when somebody is retracted, and starts anew when the server has been idle. Alone a request may
enter.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baselines.shared import callable_from_hooks, while_waiting
from llmqgym.checks import check_real
from llmqgym.kernel.memory import entry_at, request_at
from llmqgym.policy import Policy

#: Notes of the server: the ratio last set, decode steps since, iterations counted so far, whether the pass after them
#: is a prefill, and tokens set aside for those admitted in this composition.
_SET, _STEPS, _SEEN, _PREFILLS, _ASIDE = range(5)
_CAP = 4096
_DECAY_STEPS = 600
#: lpm: tokens up to which a request has found nothing, and the longest queue that is sorted.
_FOUND_NOTHING, _LONGEST_QUEUE = 32, 128


@callable_from_hooks
def new_token_ratio(server: Any) -> float:
    """The share of their caps that running requests are expected to use: params are its start and its floor."""
    start, floor = server.params[0], server.params[1]
    return float(max(floor, server.notes[_SET] - (start - floor) / _DECAY_STEPS * server.notes[_STEPS]))


@callable_from_hooks
def wanted_tokens(request: Any) -> int:
    """Tokens that a request may still generate, as far as they count."""
    return int(min(max(request.max_output_tokens - request.generated_tokens, 0), _CAP))


def reset_after_idleness(request: Any, server: Any) -> None:
    """The first to come to an empty server starts the ratio anew."""
    if server.num_running + server.num_waiting == 0:
        server.notes[_SET] = server.params[0]
        server.notes[_STEPS] = 0.0
        server.notes[_SEEN] = server.num_iterations
        server.notes[_PREFILLS] = 0.0


@callable_from_hooks
def count_decode_steps(server: Any) -> None:
    """Iterations since the last look, less the one that was a prefill."""
    passes = server.num_iterations - server.notes[_SEEN]
    if passes > 0:
        server.notes[_STEPS] += passes - server.notes[_PREFILLS]
        server.notes[_SEEN] = server.num_iterations
    server.notes[_PREFILLS] = 1.0 if server.num_decoding < server.num_running else 0.0
    server.notes[_ASIDE] = 0.0


def begin_batch(server: Any) -> None:
    """A new composition."""
    count_decode_steps(server)


def charge_in_full(request: Any, server: Any) -> None:
    """An admitted request is charged its whole cap, a page, and what of its prompt has no block yet."""
    prompt_left = request.prompt_tokens + request.generated_tokens - request.kv_blocks * server.block_size
    server.notes[_ASIDE] += wanted_tokens(request) + server.block_size + max(prompt_left, 0)
    server.notes[_PREFILLS] = 1.0


def fits_budget(request: Any, server: Any) -> bool:
    """Prompt, cap and a page are less than what is free, less the ratio's share of what running requests may want, less
    what this batch has been charged."""
    if server.num_running == 0:
        return True
    wanted = 0
    row = server.first_running
    while row >= 0:
        running = request_at(server.requests, row)
        if running.computed_tokens > 0:
            wanted += wanted_tokens(running)
        row = running.next
    free = server.free_kv_blocks * server.block_size
    left = free - wanted * new_token_ratio(server) - server.notes[_ASIDE]
    extend = request.prompt_tokens + request.generated_tokens - request.cached_tokens
    asked = extend + wanted_tokens(request) + server.block_size
    return bool(asked < left)


def least_generated(running: Any, requester: Any, server: Any) -> float:
    """Whom to retract: fewest generated tokens, then the longest prompt."""
    return float(running.prompt_tokens - 2.0**31 * running.generated_tokens)


def set_ratio(request: Any, server: Any) -> None:
    """After a retraction: what the rest has generated and 20 tokens each, as a share of all their caps."""
    generated, caps, number = 0, 0, 0
    row = server.first_running
    while row >= 0:
        running = request_at(server.requests, row)
        generated += running.generated_tokens
        caps += running.max_output_tokens
        number += 1
        row = running.next
    server.notes[_SET] = min(1.0, (generated + 20.0 * number) / (caps + 1.0))
    server.notes[_STEPS] = 0.0


def sglang(conservativeness: float = 1.0) -> Policy:
    """--schedule-policy fcfs: prefill batches whenever somebody fits, else decodes; who fits is decided by
    new_token_ratio, which starts at min(0.7 `conservativeness`, 1) and falls to 0.14 of that. Retracted requests are
    recomputed.

    O(running) per candidate.
    """
    return _sglang("sglang", conservativeness)


@callable_from_hooks
def group_of(request: Any) -> float:
    """The prefix group of a request that has found nothing in the cache and has a prefix worth waiting for, else -1."""
    short = request.cached_tokens > _FOUND_NOTHING or request.prefix_tokens < _FOUND_NOTHING
    return -1.0 if short else float(request.prefix_group)


def find_repeats(server: Any) -> None:
    """Of the waiting requests of a group that is not in the cache all but the first give way, so that one computes
    it."""
    count_decode_steps(server)
    number = server.num_queued
    if number > _LONGEST_QUEUE:
        return
    rows = np.empty(number, np.int64)
    ids = np.empty(number, np.int64)
    groups = np.empty(number, np.float64)
    for place in range(number):
        rows[place] = entry_at(server.waiting, place).row
        request = request_at(server.requests, rows[place])
        ids[place], groups[place] = request.id, group_of(request)
    by_id = np.argsort(ids)
    order = by_id[np.argsort(groups[by_id], kind="mergesort")]
    for place in range(number):
        again = place > 0 and groups[order[place]] >= 0.0 and groups[order[place]] == groups[order[place - 1]]
        request_at(server.requests, rows[order[place]]).notes[0] = 1.0 if again else 0.0


def longest_prefix(request: Any, server: Any) -> float:
    """Most tokens in the cache first; repeats last; order of arrival when the queue is long."""
    if server.num_waiting > _LONGEST_QUEUE:
        return 0.0
    return math.inf if request.notes[0] > 0.0 else -float(request.cached_tokens)


def sglang_lpm(conservativeness: float = 1.0) -> Policy:
    """--schedule-policy lpm: as `sglang`, in order of the longest prefix found in the cache (needs prefix_caching). Of
    waiting requests that share 32 tokens or more which are not in the cache all but the first wait; queues above 128
    are served by arrival. Shared prefixes are known by their groups, not by a trace's hashes. `conservativeness` as
    there.

    O(queue x prefix) an iteration up to 128 waiting.
    """
    return _sglang("sglang-lpm", conservativeness)


def _sglang(name: str, conservativeness: float) -> Policy:
    start = min(0.7 * check_real(f"conservativeness of {name}", conservativeness, 1e-9, 1e9), 1.0)
    lpm = name == "sglang-lpm"
    return Policy(
        name,
        order=longest_prefix if lpm else None,
        rekey=lpm,
        fit=fits_budget,
        victim=least_generated,
        wake=while_waiting,
        arrive=reset_after_idleness,
        admitted=charge_in_full,
        preempted=set_ratio,
        begin=find_repeats if lpm else begin_batch,
        mix="prefill_first",
        params=(start, 0.14 * start),
    )
