"""WAIT and Nested WAIT: requests of a type start together once enough of them wait, and keep step.

Source: arXiv 2504.11320, code Luoxiaogan/vidur_or. A request's type is its tenant; rates and decode lengths of the
types are assumed known. Ours, where the code drops requests or waits for ever: when nothing else would run, whoever is
there runs; and memory is tested by vLLM's gate (the code does not).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from baselines.shared import callable_from_hooks, passes_gate
from llmqgym.checks import check_count, read_numbers
from llmqgym.errors import InputError
from llmqgym.kernel.memory import entry_at, request_at
from llmqgym.policy import Policy

_MOST_TYPES = 10
#: Params: number of types (or segments); from 2 on three a type: limit, cap a stage, last token of a segment.
_NUMBER, _FIRST, _EACH = 0, 2, 3
#: Notes of the server: admissions that a type (or the first segment) has left; from here on whether a segment runs.
_RUNS = 100


@callable_from_hooks
def limit_of(kind: int, server: Any) -> int:
    """Requests of a type, or in a segment, at once."""
    return int(server.params[_FIRST + _EACH * kind])


@callable_from_hooks
def cap_of(kind: int, server: Any) -> int:
    """Requests in a stage: so many start together."""
    return int(server.params[_FIRST + _EACH * kind + 1])


@callable_from_hooks
def type_of(request: Any, server: Any) -> int:
    """A tenant beyond the last type counts as the last."""
    return int(min(request.tenant, server.params[_NUMBER] - 1.0))


def fire_types(server: Any) -> None:
    """Types of which enough wait may admit so many now."""
    number = int(server.params[_NUMBER])
    waiting, running = np.zeros(number, np.int64), np.zeros(number, np.int64)
    for place in range(server.num_queued):
        waiting[type_of(request_at(server.requests, entry_at(server.waiting, place).row), server)] += 1
    row = server.first_running
    while row >= 0:
        request = request_at(server.requests, row)
        running[type_of(request, server)] += 1
        row = request.next
    for kind in range(number):
        wanted = min(cap_of(kind, server), max(limit_of(kind, server) - running[kind], 0))
        fires = waiting[kind] >= wanted or server.num_running == 0
        server.notes[kind] = wanted if fires else 0.0


def has_fired(request: Any, server: Any) -> bool:
    """Its type has admissions left, and memory permits."""
    return bool(server.notes[type_of(request, server)] >= 1.0) and passes_gate(request, server)


def count_type(request: Any, server: Any) -> None:
    """One admission less."""
    server.notes[type_of(request, server)] -= 1.0


@callable_from_hooks
def segment_of(request: Any, server: Any) -> int:
    """The segment that a running request is in, by what it has generated."""
    segment, last = 0, int(server.params[_NUMBER]) - 1
    while segment < last and request.generated_tokens >= server.params[_FIRST + _EACH * segment + 2]:
        segment += 1
    return segment


@callable_from_hooks
def is_at_entry(request: Any, segment: int, server: Any) -> bool:
    """Whether a running request has just come to a segment after the first."""
    return bool(segment > 0 and request.generated_tokens == server.params[_FIRST + _EACH * (segment - 1) + 2])


def fire_segments(server: Any) -> None:
    """A segment runs if enough stand at its entry and the one before runs."""
    number = int(server.params[_NUMBER])
    inside, entering = np.zeros(number, np.int64), np.zeros(number, np.int64)
    entering[0] = server.num_waiting
    row = server.first_running
    while row >= 0:
        request = request_at(server.requests, row)
        segment = segment_of(request, server)
        inside[segment] += 1
        entering[segment] += is_at_entry(request, segment, server)
        row = request.next
    runs = True
    for segment in range(number):
        required = min(cap_of(segment, server), limit_of(segment, server) - inside[segment])
        runs = runs and entering[segment] >= required
        server.notes[_RUNS + segment] = 1.0 if runs else 0.0
    server.notes[0] = max(min(cap_of(0, server), limit_of(0, server) - inside[0]), 0)
    if server.notes[_RUNS] == 0.0:
        server.notes[0] = 0.0
        for segment in range(number):  # nothing would run
            server.notes[_RUNS + segment] = 1.0
        if server.num_running == 0:
            server.notes[0] = cap_of(0, server)


def enters_first_segment(request: Any, server: Any) -> bool:
    """The first segment has admissions left, and memory permits."""
    return bool(server.notes[0] >= 1.0) and passes_gate(request, server)


def count_entry(request: Any, server: Any) -> None:
    """One admission less."""
    server.notes[0] -= 1.0


def runs_or_pauses(request: Any, server: Any) -> float:
    """MIX: segments that run, the others pause."""
    return 0.0 if server.notes[_RUNS + segment_of(request, server)] > 0.0 else math.inf


def thresholds(total: int, rates: tuple[float, ...], decodes: tuple[float, ...]) -> list[tuple[int, int]]:
    """(limit, cap a stage) of each type: the limit in proportion to rate x (decode length + 1).

    >>> thresholds(64, (2, 1), (3, 7))
    [(32, 8), (32, 4)]
    """
    weights = [rate * (length + 1) for rate, length in zip(rates, decodes, strict=True)]
    limits = [total * weight / sum(weights) for weight in weights]
    return [
        (max(int(limit), 1), max(int(limit / (length + 1)), 1)) for limit, length in zip(limits, decodes, strict=True)
    ]


def segments(total: int, rates: tuple[float, ...], decodes: tuple[float, ...]) -> list[tuple[int, int, int]]:
    """(limit, cap a stage, last token) of each segment between distinct decode lengths: the limit in proportion to its
    length x the rates of all types that reach it.

    >>> segments(60, (2, 1), (3, 7))
    [(41, 14, 3), (18, 5, 7)]
    """
    ends = sorted(set(decodes))
    lengths = [end - start for start, end in zip([0.0, *ends], ends, strict=False)]
    reach = [sum(rate for rate, length in zip(rates, decodes, strict=True) if length >= end) for end in ends]
    weights = [length * rate for length, rate in zip(lengths, reach, strict=True)]
    limits = [total * weight / sum(weights) for weight in weights]
    return [
        (max(int(limit), 1), max(math.ceil(limit / length), 1), int(end))
        for limit, length, end in zip(limits, lengths, ends, strict=True)
    ]


def _types(name: str, total: int, rates: str, decodes: str) -> tuple[int, tuple[float, ...], tuple[float, ...]]:
    """The settings, checked."""
    read_rates = read_numbers(f"rates of {name}", rates, 1e-9, 1e9)
    read_decodes = read_numbers(f"decodes of {name}", decodes, 1, 1e9)
    if len(read_rates) != len(read_decodes) or len(read_rates) > _MOST_TYPES:
        raise InputError(
            f"{name}: rates is {rates!r} and decodes {decodes!r}: give one of each a type, {_MOST_TYPES} types at most."
        )
    return check_count(f"total of {name}", total, 2**30), read_rates, read_decodes


def wait(total: int = 256, rates: str = "1", decodes: str = "200") -> Policy:
    """WAIT: `total` places are shared among the types in proportion to rate x (decode length + 1); when as many of a
    type wait as a stage of it may hold, so many are admitted. `rates` and `decodes` of the types, tenants 0, 1, ...,
    are separated by slashes.

    O(running + waiting) a composition.
    """
    table = thresholds(*_types("wait", total, rates, decodes))
    numbers = [float(number) for limit, cap in table for number in (limit, cap, 0)]
    return Policy(
        "wait",
        fit=has_fired,
        admitted=count_type,
        begin=fire_types,
        miss="skip",
        wake=math.inf,
        params=(float(len(table)), 0.0, *numbers),
    )


def nested_wait(total: int = 256, rates: str = "1", decodes: str = "200") -> Policy:
    """Nested WAIT: lengths show themselves as requests live on from one decode length to the next. A segment runs only
    if enough requests stand at its entry and the segment before it runs; the others pause, with their memory. `total`,
    `rates` and `decodes` as in `wait`, but no request needs to say its type.

    O(running) an iteration, iteration by iteration.
    """
    table = segments(*_types("nested-wait", total, rates, decodes))
    numbers = [float(number) for row in table for number in row]
    return Policy(
        "nested-wait",
        fit=enters_first_segment,
        mix_key=runs_or_pauses,
        admitted=count_entry,
        begin=fire_segments,
        params=(float(len(table)), 0.0, *numbers),
    )
