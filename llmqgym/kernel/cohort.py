"""The cohort: decoding requests that advance together, one token a pass each, without being touched.

As long as every decoding request gets its token in every pass, all that happens to one of them follows from how many
passes have gone by. The cohort counts passes (`cohort_clock`); a member's REQUEST row is as of its `stamp`; a heap
knows at which count each member ends, and `cohort_phases[q]` how many members have (computed - clock) mod block_size
= q, so that the number of members that need a block in any later pass is one look-up. Joining costs O(log n), a pass
or a jump over many passes O(1).
"""

from __future__ import annotations

from typing import Any

from llmqgym.kernel import heap
from llmqgym.kernel.division import quotient
from llmqgym.kernel.integrals import add_product, subtract_product
from llmqgym.kernel.iteration_time import span_of
from llmqgym.kernel.jit import helper
from llmqgym.kernel.kv_cache import beyond_blocks, blocks_for, whole_blocks
from llmqgym.kernel.memory import entry_at, hidden_at, peek, poke, request_at


@helper
def is_decoding(request: Any) -> bool:
    """A running request that has done its (re-)prefill."""
    return request.computed_tokens >= request.prefill_target_tokens


@helper
def bring_up_to_date(sim: Any, request: Any, hidden: Any) -> None:
    """Write what the passes since its stamp have done to a member into its row."""
    if hidden.stamp < sim.cohort_clock:
        _make_up_for_passes(sim, request, hidden)
        request.kv_blocks = blocks_for(sim, request.computed_tokens)


@helper
def _make_up_for_passes(sim: Any, request: Any, hidden: Any) -> None:
    passes = sim.cohort_clock - hidden.stamp
    request.computed_tokens += passes
    request.generated_tokens += passes
    hidden.stamp = sim.cohort_clock


@helper
def show(sim: Any, row: int) -> None:
    """Make a row current, the block of the pass being composed included, if it is a member's: somebody looks at it."""
    hidden = hidden_at(sim.hidden, row)
    if hidden.together:
        request = request_at(sim.requests, row)
        _make_up_for_passes(sim, request, hidden)
        request.kv_blocks = blocks_for(sim, request.computed_tokens + sim.cohort_scheduled)


@helper
def bring_all_up_to_date(sim: Any) -> None:
    """Make the rows of all members current, the block of the pass being composed included: hooks look at them."""
    if sim.num_cohort == 0:
        return
    row = sim.first_running
    while row >= 0:
        show(sim, row)
        row = request_at(sim.requests, row).next


@helper
def _phase_of_next(sim: Any) -> int:
    """The phase of those who need a block in the next pass: (-clock) mod block_size. A pass later it is one less."""
    past = beyond_blocks(sim, sim.cohort_clock)
    return sim.block_size - past if past > 0 else 0


@helper
def _enrol(sim: Any, row: int) -> int:
    """Count a decoding request in; returns the cohort's clock after its last pass."""
    request = request_at(sim.requests, row)
    hidden = hidden_at(sim.hidden, row)
    hidden.together = 1
    hidden.stamp = sim.cohort_clock
    phase = _phase_of_next(sim) + beyond_blocks(sim, request.computed_tokens)
    if phase >= sim.block_size:
        phase -= sim.block_size
    hidden.phase = phase
    poke(sim.cohort_phases, phase, peek(sim.cohort_phases, phase) + 1)
    sim.num_cohort += 1
    sim.cohort_kv_tokens += request.computed_tokens
    return sim.cohort_clock + hidden.output_tokens - request.generated_tokens


@helper
def join(sim: Any, row: int) -> None:
    """A request whose row is current begins to decode with the others."""
    end = _enrol(sim, row)
    if sim.num_cohort_ends == sim.capacity:
        _forget_those_who_left(sim)
    seq = request_at(sim.requests, row).admit_seq
    sim.num_cohort_ends = heap.push(sim.cohort_ends, sim.num_cohort_ends, float(end), seq, row)


@helper
def leave(sim: Any, row: int) -> None:
    """A member finishes or is preempted. Its entry in the heap of ends goes stale and is dropped when it comes up."""
    request = request_at(sim.requests, row)
    hidden = hidden_at(sim.hidden, row)
    bring_up_to_date(sim, request, hidden)
    poke(sim.cohort_phases, hidden.phase, peek(sim.cohort_phases, hidden.phase) - 1)
    sim.num_cohort -= 1
    sim.cohort_kv_tokens -= request.computed_tokens
    hidden.together = 0


@helper
def _is_stale(sim: Any, entry: Any) -> bool:
    if hidden_at(sim.hidden, entry.row).together == 0:
        return True
    return request_at(sim.requests, entry.row).admit_seq != entry.tie


@helper
def _forget_those_who_left(sim: Any) -> None:
    kept = 0
    for place in range(sim.num_cohort_ends):
        entry = entry_at(sim.cohort_ends, place)
        if not _is_stale(sim, entry):
            target = entry_at(sim.cohort_ends, kept)
            target.key, target.tie, target.row = entry.key, entry.tie, entry.row
            kept += 1
    sim.num_cohort_ends = kept
    heap.heapify(sim.cohort_ends, kept)


@helper
def passes_to_first_end(sim: Any) -> int:
    """Passes until the first member finishes; the cohort is not empty."""
    while _is_stale(sim, heap.root(sim.cohort_ends)):
        sim.num_cohort_ends = heap.pop(sim.cohort_ends, sim.num_cohort_ends)
    return int(heap.root(sim.cohort_ends).key) - sim.cohort_clock


@helper
def pop_ended(sim: Any) -> int:
    """The row of a member that has its last token, or -1."""
    while sim.num_cohort_ends > 0:
        entry = heap.root(sim.cohort_ends)
        if _is_stale(sim, entry):
            sim.num_cohort_ends = heap.pop(sim.cohort_ends, sim.num_cohort_ends)
            continue
        if int(entry.key) > sim.cohort_clock:
            return -1
        row = entry.row
        sim.num_cohort_ends = heap.pop(sim.cohort_ends, sim.num_cohort_ends)
        return row
    return -1


@helper
def blocks_needed(sim: Any) -> int:
    """Members that need a block in the next pass."""
    return peek(sim.cohort_phases, _phase_of_next(sim))


@helper
def passes_within(sim: Any, free: int, limit: int) -> int:
    """How many passes after the one being composed find their blocks among `free`, at most `limit`."""
    size = sim.block_size
    if (whole_blocks(sim, limit) + 1) * sim.num_cohort <= free:
        return limit
    rounds = quotient(free, sim.num_cohort)  # in `block_size` passes every member takes one block
    passes = rounds * size
    free -= rounds * sim.num_cohort
    phase = _phase_of_next(sim)
    while passes < limit:
        phase = (phase if phase > 0 else size) - 1
        free -= peek(sim.cohort_phases, phase)
        if free < 0:
            break
        passes += 1
    return min(passes, limit)


@helper
def take_blocks(sim: Any, passes: int, first: int, growth: int) -> None:
    """The blocks that members take in passes 1 .. passes - 1 of a jump (those of pass 0 are taken at composition), each
    held from the start of its pass on. Pass x starts after first*x + growth*x*(x-1)/2.

    Members of one phase take theirs in passes j, j + size, j + 2 size ...: sums over such series have closed forms."""
    size = sim.block_size
    rounds = whole_blocks(sim, passes - 1)
    rest = passes - 1 - rounds * size
    phase = _phase_of_next(sim)
    count = sum_x = sum_xx = 0
    for j in range(1, min(passes, size + 1)):
        phase = (phase if phase > 0 else size) - 1
        members = peek(sim.cohort_phases, phase)
        times = rounds + 1 if j <= rest else rounds
        pairs = times * (times - 1) >> 1
        squares = pairs * (2 * times - 1)  # three times the sum of squares below `times`
        count += members * times
        sum_x += members * (times * j + size * pairs)
        sum_xx += members * (3 * (times * j * j + 2 * j * size * pairs) + size * size * squares)
    add_product(sim.integral_kv_blocks, count, span_of(passes, first, growth))
    subtract_product(sim.integral_kv_blocks, first, sum_x)
    subtract_product(sim.integral_kv_blocks, growth, quotient(sum_xx - 3 * sum_x, 6))
    sim.free_kv_blocks -= count


@helper
def form(sim: Any) -> None:
    """Gather all decoding requests; their rows are current."""
    sim.cohort_formed = 1
    row = sim.first_running
    while row >= 0:
        request = request_at(sim.requests, row)
        if is_decoding(request):
            end = _enrol(sim, row)
            entry = entry_at(sim.cohort_ends, sim.num_cohort_ends)
            entry.key, entry.tie, entry.row = float(end), request.admit_seq, row
            sim.num_cohort_ends += 1
        row = request.next
    heap.heapify(sim.cohort_ends, sim.num_cohort_ends)


@helper
def dissolve(sim: Any) -> None:
    """Let every member go its own way, with its row brought up to date."""
    sim.cohort_formed = 0
    row = sim.first_running
    while row >= 0 and sim.num_cohort > 0:
        if hidden_at(sim.hidden, row).together:
            leave(sim, row)
        row = request_at(sim.requests, row).next
    sim.num_cohort_ends = 0


@helper
def make_passes(sim: Any, passes: int) -> None:
    """Every member makes `passes` passes."""
    sim.cohort_clock += passes
    sim.cohort_kv_tokens += passes * sim.num_cohort
