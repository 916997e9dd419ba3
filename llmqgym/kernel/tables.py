"""The tables of the kernel: one dtype a table, one line a field, with its unit.

Every dtype wraps `np.record`, so that `row.field` reads the same compiled and in plain Python. Unknown times are -1 in
the kernel's integers and become nan at the border; absent rows are -1. Times are int64 picoseconds.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

PS_PER_S = 1_000_000_000_000
#: The longest run: 100 days of the 106 that an int64 of picoseconds holds.
HORIZON_PS = 100 * 86_400 * PS_PER_S
#: Numbers that a policy is given; numbers that it may keep, of each request and of the server.
MAX_PARAMS, REQUEST_NOTES, SERVER_NOTES = 32, 4, 1024


CACHE_LINE_BYTES = 64


def _table(*fields: tuple[object, ...], whole_lines: bool = False) -> np.dtype:
    """`whole_lines`: rows of whole cache lines, so that what comes first in a row is one line wherever the row is."""
    dtype = np.dtype(list(fields), align=True)
    if whole_lines:
        assert dtype.fields is not None
        size = -(-dtype.itemsize // CACHE_LINE_BYTES) * CACHE_LINE_BYTES
        layout = {
            "names": list(dtype.fields),
            "formats": [each[0] for each in dtype.fields.values()],
            "offsets": [each[1] for each in dtype.fields.values()],
            "itemsize": size,
        }
        dtype = np.dtype(layout, align=True)  # type: ignore[call-overload]
    return np.dtype((np.record, dtype))


class Status(IntEnum):
    """Where a request is. The last three are ways to have left."""

    FREE = 0
    WAITING = 1
    RUNNING = 2
    FINISHED = 3
    REJECTED = 4
    UNFINISHED = 5


class Mode(IntEnum):
    """What becomes of the KV cache (and the tokens) of a preempted request."""

    RECOMPUTE = 0
    RESTART = 1
    SWAP = 2
    HOLD = 3


class Mix(IntEnum):
    """Which requests share an iteration; presets of docs/model.md."""

    MIXED = 0
    PREFILL_FIRST = 1
    PREFILL_FIRST_MIXED = 2
    BATCH_TO_COMPLETION = 3


class Outcome(IntEnum):
    """Why the kernel has returned: the first three are ends, the rest ask the border for something."""

    FINISHED = 0
    STALLED = 1
    HORIZON = 2
    PAUSED = 3  # the number of compositions that it was allowed is used up
    NEED_ARRIVALS = 4
    NEED_ROOM = 5
    NEED_DRAIN = 6  # departures or log are full
    UNSORTED = 7  # the next arrival comes before the one before it
    TOO_LONG = 8  # the next request could make an iteration outlast the clock
    NEED_BLOCKS = 9  # the tables of prefix caching may not do for the next iteration
    DECISION = 10  # an agent is to decide (agent.py)


class Lack(IntEnum):
    """What keeps a waiting request from entering: tokens of this iteration, blocks (or the policy's FIT), a slot."""

    TOKENS = 0
    BLOCKS = 1
    SLOT = 2


class Deciding(IntEnum):
    """How far an iteration is when an agent is asked."""

    NOTHING = 0  # it is not: no iteration is being composed
    SHORT = 1  # before the running pass, which would not find its blocks
    OPEN = 2  # after the running pass: newcomers may enter what is left


#: A request as the workload hands it over, in order of arrival. The kernel only reads it.
ARRIVAL = _table(
    ("arrival_ps", np.int64),
    ("prompt_tokens", np.int64),  # >= 1
    ("output_tokens", np.int64),  # >= 1, the hidden truth
    ("max_output_tokens", np.int64),  # declared cap, visible
    ("predicted_output_tokens", np.float64),  # nan: no prediction
    ("predicted_lower_tokens", np.float64),  # of an interval; nan: none was predicted
    ("predicted_upper_tokens", np.float64),
    ("priority", np.int64),  # lower is served earlier
    ("tenant", np.int64),
    ("ttft_limit_ps", np.int64),  # -1: no limit
    ("tpot_limit_ps", np.int64),
    ("e2e_limit_ps", np.int64),
    ("prefix_group", np.int64),  # -1: shares nothing
    ("prefix_tokens", np.int64),
    ("program", np.int64),  # -1: belongs to no program
    ("first_hash", np.int64),  # of its prompt, in the workload's table of hashes; -1: none
    ("num_hashes", np.int64),
)

#: What a policy may see of a request in the system. Only the kernel writes it, but for the notes.
REQUEST = _table(
    # what every iteration, and every observation, looks at comes first: a cache line
    ("id", np.int64),  # 0, 1, 2 ... in order of arrival, over the whole run
    ("arrival_ps", np.int64),
    ("prompt_tokens", np.int64),
    ("predicted_output_tokens", np.float64),  # as of now: some predictors look again
    ("computed_tokens", np.int64),  # in the KV cache (on the device or swapped)
    ("generated_tokens", np.int64),
    ("prefill_target_tokens", np.int64),  # in prefill until computed_tokens reaches it
    ("kv_blocks", np.int64),  # held on the device
    ("admit_seq", np.int64),  # counts admissions; -1 before the first
    ("previous", np.int64),  # rows of the neighbours in the running batch or the list of held requests; -1: none
    ("next", np.int64),
    ("status", np.int64),  # a Status
    ("first_token_ps", np.int64),
    ("first_scheduled_ps", np.int64),
    # what came with it
    ("max_output_tokens", np.int64),
    ("initial_predicted_output_tokens", np.float64),  # as of its arrival
    ("predicted_lower_tokens", np.float64),
    ("predicted_upper_tokens", np.float64),
    ("true_output_tokens", np.int64),  # -1 unless the policy is an oracle
    ("priority", np.int64),
    ("tenant", np.int64),
    ("ttft_limit_ps", np.int64),
    ("tpot_limit_ps", np.int64),
    ("e2e_limit_ps", np.int64),
    ("prefix_group", np.int64),
    ("prefix_tokens", np.int64),
    ("program", np.int64),
    ("first_hash", np.int64),
    ("num_hashes", np.int64),
    # what has happened to it
    ("host_blocks", np.int64),  # held in host memory
    ("num_preemptions", np.int64, (4,)),  # by Mode
    ("lost_tokens", np.int64),  # computed and thrown away
    ("prefix_hit_tokens", np.int64),  # found in the cache, over all its admissions
    ("cached_tokens", np.int64),  # that it finds if admitted, as of its last look: docs/model.md
    ("swapped_blocks", np.int64),  # out and in
    ("notes", np.float64, (REQUEST_NOTES,)),  # the policy's own; 0 at arrival
    whole_lines=True,
)

#: What nobody but the kernel sees of a request; same row as in REQUEST.
HIDDEN = _table(
    ("output_tokens", np.int64),
    ("together", np.int64),  # 1: advances with the cohort, its REQUEST row is as of `stamp`
    ("stamp", np.int64),  # the cohort's clock when the REQUEST row was last brought up to date
    ("phase", np.int64),  # of a member of the cohort: (computed - clock) mod block_size
    ("scheduled_tokens", np.int64),  # in the iteration being composed
    ("shown", np.int64),  # waiting in an agent's window: 1 among the oldest, 2 among the shortest; 0: not (window.py)
    ("barred", np.int64),  # composition in which it was preempted, and may not come back
    ("key", np.float64),  # by which the shortest are found
    ("score", np.float64),  # that an agent gives it
    ("held", np.int64),  # 1: waiting with blocks on the device
    ("top_node", np.int64),  # of its stack of blocks, -1: empty (prefix caching)
    ("num_registered", np.int64),  # of its blocks, whose content is known
    whole_lines=True,
)

#: Bins that a refreshed prediction may have.
MAX_BINS = 16

#: How predictions are refreshed (refreshing.py).
REFRESHING = _table(
    ("every", np.int64),  # generated tokens between two looks
    ("bins", np.int64),
    ("seed", np.int64),
    ("width", np.float64),  # of a bin, tokens
    ("scale", np.float64),  # of the classifier's error, tokens
    ("spread", np.float64),  # of what it says, tokens
    ("persistence", np.float64),  # probability that it errs as it always does with this request
)

#: What a predictor believes of a request; same row as in REQUEST.
ESTIMATE = _table(("posterior", np.float64, (MAX_BINS,)), ("num_refreshes", np.int64))

#: A block of the KV cache that can be found again (prefix_cache.py).
BLOCK = _table(
    ("refs", np.int64),  # requests that hold it
    ("owner", np.int64),  # with index: what is in it; -1: nothing that could be found
    ("index", np.int64),
    ("same_bucket", np.int64),  # next block of its bucket
    ("previous", np.int64),  # neighbours in the queue of free blocks
    ("next", np.int64),
)

#: A block in a request's stack of blocks.
NODE = _table(("block", np.int64), ("below", np.int64))

#: A heap's entry: smallest (key, tie) first.
ENTRY = _table(("key", np.float64), ("tie", np.int64), ("row", np.int64))

#: One request of the batch being composed, in scheduling order.
CHUNK = _table(("row", np.int64), ("tokens", np.int64))

#: A request that has left: finished, rejected, or (written by the border) unfinished. Unknown times are -1.
DEPARTURE = _table(
    ("id", np.int64),
    ("status", np.int64),
    ("arrival_ps", np.int64),
    ("first_scheduled_ps", np.int64),
    ("first_token_ps", np.int64),
    ("finish_ps", np.int64),
    ("prompt_tokens", np.int64),
    ("output_tokens", np.int64),
    ("generated_tokens", np.int64),
    ("predicted_output_tokens", np.float64),  # as of its arrival
    ("priority", np.int64),
    ("tenant", np.int64),
    ("ttft_limit_ps", np.int64),
    ("tpot_limit_ps", np.int64),
    ("e2e_limit_ps", np.int64),
    ("num_preemptions", np.int64, (4,)),
    ("lost_tokens", np.int64),
    ("swapped_blocks", np.int64),
    ("computed_tokens", np.int64),
    ("prefix_hit_tokens", np.int64),
)

#: The iteration-time formula of docs/model.md, in integers.
PROFILE = _table(
    ("base_ps", np.int64),  # not `base`: np.record has an attribute of that name
    ("token_ps", np.int64),
    ("decode_base_ps", np.int64),
    ("decode_ps", np.int64),
    ("kv_ps", np.int64),
    ("prefill_base_ps", np.int64),
    ("root_ps", np.int64),
    ("square_ps", np.int64),
    ("tail_ps", np.int64),
    ("tile_tokens", np.int64),
    ("table", np.int64),  # address of int64[table_len]
    ("table_len", np.int64),
)

#: What a policy may see of a server: its settings and what it is doing. The first fields of SIMULATOR, in the same
#: places.
_SERVER_FIELDS: tuple[tuple[object, ...], ...] = (
    ("clock_ps", np.int64),
    ("num_kv_blocks", np.int64),
    ("free_kv_blocks", np.int64),
    ("reserved_kv_blocks", np.int64),  # kept from newcomers in this pass
    ("block_size", np.int64),
    ("watermark_blocks", np.int64),
    ("host_kv_blocks", np.int64),
    ("free_host_blocks", np.int64),
    ("max_running", np.int64),
    ("max_batched_tokens", np.int64),
    ("budget_tokens", np.int64),  # left in the iteration being composed
    ("long_prefill_token_threshold", np.int64),
    ("chunked_prefill", np.int64),
    ("reserve_full_isl", np.int64),
    ("num_running", np.int64),
    ("num_decoding", np.int64),
    ("num_waiting", np.int64),
    ("num_iterations", np.int64),
    ("first_running", np.int64),  # row of the first admitted running request, -1: none
    ("last_running", np.int64),
    ("requests", np.int64),  # address of REQUEST[capacity]
    ("waiting", np.int64),  # address of ENTRY[num_queued], a heap
    ("num_queued", np.int64),  # in that heap: all waiting but those set aside in the waiting pass
    ("processed_tokens", np.int64),  # so far
    ("params", np.float64, (MAX_PARAMS,)),  # the policy's numbers
    ("notes", np.float64, (SERVER_NOTES,)),  # the policy's own; 0 at the start
)
SERVER = _table(*_SERVER_FIELDS)

#: Everything about one server and its run; what follows the fields of SERVER is the kernel's own.
SIMULATOR = _table(
    *_SERVER_FIELDS,
    # what every event looks at comes first: the loop and the iteration being composed
    ("step_by_step", np.int64),  # 1: iteration by iteration, 0: event to event
    ("until_ps", np.int64),
    ("wake_passes", np.int64),  # for which decisions stand, where no wake hook says so
    ("mix", np.int64),
    ("deciding", np.int64),  # a Deciding
    ("agent", np.int64),  # AGENT[1], 0: none
    ("num_events", np.int64),  # compositions; fewer than iterations when jumping
    ("last_chunk", np.int64),  # 1: no chunk follows
    ("arrivals", np.int64),  # ARRIVAL[num_arrivals], the chunk at hand
    ("num_arrivals", np.int64),
    ("next_arrival", np.int64),  # its row in the chunk
    ("last_arrival_ps", np.int64),
    ("next_id", np.int64),
    ("longest_tokens", np.int64),  # prompt and output of the longest request that the clock can bear
    ("departures", np.int64),  # DEPARTURE[departures_capacity]
    ("num_departures", np.int64),
    ("departures_capacity", np.int64),
    ("profile", np.int64),  # PROFILE[1]
    ("batch", np.int64),  # CHUNK[capacity]
    ("num_batch", np.int64),
    ("cohort_scheduled", np.int64),  # 1: every member of the cohort gets its token
    ("shortage", np.int64),  # 1: somebody left for want of blocks
    ("num_left", np.int64),  # preempted in this composition, for whatever reason
    ("cursor", np.int64),  # row that the running pass comes to next
    ("first_new_seq", np.int64),  # admit_seq from which requests are newcomers of this iteration
    ("num_admissions", np.int64),
    ("lack", np.int64),  # a Lack: of the request just tried
    ("lacking_blocks", np.int64),
    ("budget_stop", np.int64),  # 1: the waiting pass ended because tokens ran out
    ("lone", np.int64),
    ("swap_blocks_now", np.int64),  # transfers of this composition
    ("block_bits", np.int64),  # bits of block_size where that is a power of two, else 0
    ("capacity", np.int64),  # rows of each table below that holds requests
    ("hidden", np.int64),
    ("free_rows", np.int64),  # int64[capacity], a stack
    ("num_free_rows", np.int64),
    # the cohort: decoding requests that advance together (cohort.py)
    ("cohort_formed", np.int64),
    ("num_cohort", np.int64),
    ("cohort_clock", np.int64),  # passes that the cohort has made
    ("cohort_ends", np.int64),  # ENTRY[capacity], a heap of (clock of the last pass, admit_seq)
    ("num_cohort_ends", np.int64),
    ("cohort_phases", np.int64),  # int64[block_size]: members by (computed - clock) mod block_size
    ("cohort_kv_tokens", np.int64),
    # integrals over time, in 128 bits: upper and lower word
    ("integral_requests", np.int64, (2,)),
    ("integral_running", np.int64, (2,)),
    ("integral_kv_blocks", np.int64, (2,)),
    ("integral_tokenless", np.int64, (2,)),  # only with an agent
    ("num_tokenless", np.int64),  # requests in the system that have no token yet
    # what it may have besides; 0: it has not
    ("rekey", np.int64),
    ("reads_running", np.int64),  # 1: its hooks look at running requests, whose rows must be up to date
    ("order_hook", np.int64),  # addresses of the compiled hooks, 0: none
    ("fit_hook", np.int64),
    ("mix_hook", np.int64),
    ("preempt_hook", np.int64),
    ("wake_hook", np.int64),
    ("arrive_hook", np.int64),
    ("admitted_hook", np.int64),
    ("finished_hook", np.int64),
    ("begin_hook", np.int64),
    ("refreshing", np.int64),  # REFRESHING[1], 0: predictions stay as they are
    ("prefix_caching", np.int64),
    ("found_blocks", np.int64),  # by the last look-up, and how many of them are free
    ("found_free", np.int64),
    ("log", np.int64),  # int64[log_capacity], 0: no log
    ("last_held", np.int64),
    ("first_held", np.int64),
    ("num_aside", np.int64),
    # an agent in place of the policy's ORDER, MISS and PREEMPT: addresses of its functions
    ("asked_service", np.int64),
    ("short_service", np.int64),
    ("enter_service", np.int64),
    ("exit_service", np.int64),
    ("join_service", np.int64),  # addresses of its functions
    ("leave_service", np.int64),
    ("gather_service", np.int64),
    ("spread_service", np.int64),
    # settings
    ("advance_service", np.int64),  # address of the loop (step.py)
    ("idle_step_ps", np.int64),
    ("swap_block_ps", np.int64),
    ("swap_overlap", np.int64),
    # the policy
    ("skip_misses", np.int64),
    ("victim_mode", np.int64),
    ("preempt_mode", np.int64),
    ("oracle", np.int64),
    ("victim_hook", np.int64),
    ("preempted_hook", np.int64),
    # totals
    ("num_finished", np.int64),
    ("num_rejected", np.int64),
    ("lost_tokens", np.int64),
    ("num_preemptions", np.int64, (4,)),
    ("num_held_dropped", np.int64),
    ("swapped_blocks", np.int64),
    # other addresses and tables
    ("aside", np.int64),  # ENTRY[capacity]: waiting requests that this pass has skipped
    ("mixing", np.int64),  # ENTRY[capacity]: the running batch in the MIX hook's order
    ("num_mixing", np.int64),
    ("door_open", np.int64),  # batch_to_completion
    ("estimates", np.int64),  # ESTIMATE[capacity]
    ("begin_service", np.int64),  # addresses of its functions
    ("refresh_service", np.int64),
    ("show_service", np.int64),
    # prefix caching (prefix_cache.py)
    ("grow_service", np.int64),  # addresses of its functions
    ("shrink_service", np.int64),
    ("register_service", np.int64),
    ("look_up_service", np.int64),
    ("take_found_service", np.int64),
    ("blocks", np.int64),  # BLOCK[blocks_capacity]
    ("blocks_capacity", np.int64),
    ("num_blocks_used", np.int64),  # blocks from here on have never been used
    ("first_empty", np.int64),  # free blocks without content, a stack
    ("first_free", np.int64),  # free blocks with content, a queue
    ("last_free", np.int64),
    ("buckets", np.int64),  # int64[num_buckets], a power of two
    ("num_buckets", np.int64),
    ("nodes", np.int64),  # NODE[nodes_capacity]
    ("nodes_capacity", np.int64),
    ("num_nodes_used", np.int64),  # nodes from here on have never been used
    ("num_nodes", np.int64),  # in some stack now
    ("free_node", np.int64),
    ("hashes", np.int64),  # int64[n]: what is in the prompts, hash_block_tokens at a time
    ("hash_block_tokens", np.int64),
    ("longest_seen_tokens", np.int64),  # prompt and output of the longest request so far
    ("prefix_cache_queries", np.int64),  # tokens of the requests looked up at admission
    ("prefix_cache_hits", np.int64),  # tokens found
    ("regained_tokens", np.int64),  # of these, such as their request had computed and lost
    # the log
    ("log_capacity", np.int64),
    ("log_length", np.int64),
    whole_lines=True,
)

#: An agent's seat at a server: what it is shown, its command, what came of it. One row a server.
AGENT = _table(
    ("simulator", np.int64),  # SIMULATOR[1]
    # a step (act.py), and what came of it (reward.py)
    ("command", np.int64),
    ("outcome", np.int64),
    ("invalid", np.int64),  # 1: the command was not allowed, and nothing happened
    ("reward", np.float64),
    ("dt_ps", np.int64),
    ("scores", np.int64),  # float32[K + B], 0: commands are numbers
    ("observe_service", np.int64),
    ("observation", np.int64),  # float32[D]
    ("mask", np.int64),  # int8[1 + K + M * B]
    ("allowed", np.int64),  # the mask last written, by which a command is judged
    ("terms", np.int64),  # float64[T]
    ("weights", np.int64),  # float64[T]
    # settings
    ("window_waiting", np.int64),  # K: waiting requests that it is shown
    ("window_oldest", np.int64),  # of these, so many are the oldest; the others have the smallest keys
    ("window_running", np.int64),  # B: running requests that it is shown, the last admitted
    ("decision_interval", np.int64),  # iterations after which it is asked if nothing happens
    ("admission_interval", np.int64),  # after it has left somebody waiting who could have entered
    ("makes_room", np.int64),  # 1: it answers shortages, 0: the engine's VICTIM does
    ("preempt_modes", np.int64, (4,)),  # Modes, in the order of the commands
    ("num_modes", np.int64),  # M
    ("num_commands", np.int64),  # 1 + K + M * B
    ("wake_passes", np.int64),  # the policy's own, of the engine
    ("skip_misses", np.int64),  # by scores: 1: others are tried after one that does not fit
    # the window (window.py)
    ("window", np.int64),  # int64[K]: rows, the oldest first, from window_oldest on the shortest
    ("num_oldest", np.int64),
    ("num_shortest", np.int64),
    ("ages", np.int64),  # ENTRY[heap_capacity]: a heap of those not in the window, by id
    ("num_ages", np.int64),
    ("keys", np.int64),  # by key
    ("num_keys", np.int64),
    ("heap_capacity", np.int64),  # twice the rows of the server or more
    ("num_unseen", np.int64),
    ("unseen_prompt_tokens", np.int64),
    ("unseen_predicted_tokens", np.int64),
    ("running", np.int64),  # int64[B]: rows of the running requests shown, the last admitted first
    ("num_shown_running", np.int64),
    # decisions
    ("news", np.int64),  # 1: somebody came or left since the last one
    ("decided_at", np.int64),  # number of iterations then
    ("num_admissible", np.int64),  # of the window, now
    ("made_room", np.int64),  # preempted for want of blocks, in the iteration being composed
    # for the terms of its reward
    ("iteration_ps", np.int64),  # mean time of an iteration, when there last was one
    ("since_ps", np.int64),  # as of the beginning of the step
    ("since_iterations", np.int64),
    ("since_requests", np.int64, (2,)),
    ("since_tokenless", np.int64, (2,)),
    ("since_preemptions", np.int64),
    ("since_lost_tokens", np.int64),
    ("since_departures", np.int64),
    whole_lines=True,
)
