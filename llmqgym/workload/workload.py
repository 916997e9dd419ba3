"""Workload: a table of requests in order of arrival, and the one place where such a table is checked and built."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, NotRequired, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray

from llmqgym.errors import InputError, unknown
from llmqgym.kernel.tables import ARRIVAL, HORIZON_PS, PS_PER_S
from llmqgym.workload.source import CHUNK_REQUESTS, DEFAULT_HASH_BLOCK_TOKENS, PromptHashes, RequestSource

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

HORIZON_S = HORIZON_PS // PS_PER_S
#: The longest request: far above any context window, far below what an int64 sum over a trace can hold.
MAX_TOKENS = 10**9
#: The least declared output cap where a trace states none.
MIN_MAX_OUTPUT_TOKENS = 4096
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
#: Whole numbers up to here are exact in a float64, which the key of the waiting queue is.
EXACT_INTEGER = 2**53
#: The largest prefix group, or hash of a part of a prompt.
MAX_CONTENT = 2**48


@dataclass(frozen=True, eq=False)
class Workload:
    """A named table of requests, sorted by arrival, with a record of where it comes from.

    `requests` is ndarray[ARRIVAL], shape [R], R >= 1; transforms return a new table and never change this one.
    `corrections` counts the cells that were changed when the rows were read, before any transform.
    """

    name: str
    requests: NDArray[Any]
    source: dict[str, object] = field(default_factory=dict)
    corrections: dict[str, int] = field(default_factory=dict)
    hashes: PromptHashes | None = None

    def __len__(self) -> int:
        return len(self.requests)

    def chunks(self) -> Iterator[NDArray[Any]]:
        """The requests in slices of the table (workload.source)."""
        for first in range(0, len(self), CHUNK_REQUESTS):
            yield self.requests[first : first + CHUNK_REQUESTS]

    @property
    def duration_s(self) -> float:
        """Last arrival minus first arrival, seconds; 0 for a single request."""
        arrival_ps = self.requests["arrival_ps"]
        return float(arrival_ps[-1] - arrival_ps[0]) / PS_PER_S


def as_table(requests: RequestSource) -> Workload:
    """All requests of a source in memory."""
    if isinstance(requests, Workload):
        return requests
    table = np.concatenate(list(requests.chunks()))
    return Workload(requests.name, table, requests.source, requests.corrections, requests.hashes)


class RequestFields(TypedDict):
    """The keyword arguments of `make_requests`: arrays of shape [R], or one value for all where optional."""

    arrival_s: NotRequired[ArrayLike]
    arrival_ps: NotRequired[ArrayLike]
    prompt_tokens: ArrayLike
    output_tokens: ArrayLike
    max_output_tokens: NotRequired[ArrayLike]
    predicted_output_tokens: NotRequired[ArrayLike]
    predicted_lower_tokens: NotRequired[ArrayLike]
    predicted_upper_tokens: NotRequired[ArrayLike]
    priority: NotRequired[ArrayLike]
    tenant: NotRequired[ArrayLike]
    ttft_limit_ps: NotRequired[ArrayLike]
    tpot_limit_ps: NotRequired[ArrayLike]
    e2e_limit_ps: NotRequired[ArrayLike]
    prefix_group: NotRequired[ArrayLike]
    prefix_tokens: NotRequired[ArrayLike]
    program: NotRequired[ArrayLike]
    hash_ids: NotRequired[Sequence[Sequence[int]] | NDArray[Any]]
    hash_block_tokens: NotRequired[int]


#: Whole-number fields that a trace may leave out: name -> (value where left out, least and largest value allowed).
_OPTIONAL: dict[str, tuple[int, int, int]] = {
    "priority": (0, -EXACT_INTEGER, EXACT_INTEGER),
    "tenant": (0, 0, INT64_MAX),
    "ttft_limit_ps": (-1, -1, INT64_MAX),
    "tpot_limit_ps": (-1, -1, INT64_MAX),
    "e2e_limit_ps": (-1, -1, INT64_MAX),
    "prefix_group": (-1, -1, MAX_CONTENT),
    "prefix_tokens": (0, 0, INT64_MAX),
    "program": (-1, -1, INT64_MAX),
}

_PREDICTIONS = ("predicted_output_tokens", "predicted_lower_tokens", "predicted_upper_tokens")


def make_workload(name: str, source: dict[str, object], **fields: Unpack[RequestFields]) -> Workload:
    """Build a Workload; `fields` are those of `make_requests`, whose errors it passes on."""
    requests = make_requests(**fields)
    hashes = _prompt_hashes(requests, fields)
    corrections = {
        f"{column}_raised_to_1": int(np.count_nonzero(np.asarray(values) == 0))
        for column, values in (("prompt_tokens", fields["prompt_tokens"]), ("output_tokens", fields["output_tokens"]))
    }
    return Workload(name, requests, {**source, "rows": len(requests)}, corrections, hashes)


def make_requests(**fields: Unpack[RequestFields]) -> NDArray[Any]:
    """Check the columns of a workload and lay them out as ndarray[ARRIVAL], shape [R].

    Arrivals come as `arrival_s` (seconds, rounded half to even to picoseconds) or as `arrival_ps` (whole numbers),
    one of the two. Token counts of 0 are raised to 1. Where `max_output_tokens` is not given it is one constant for
    the whole workload (`max_output_tokens_above`), so that a request's cap says nothing about its own length.
    Other fields left out take: priority 0, tenant 0, prediction nan, limits -1, prefix group -1, program -1.

    Raises InputError, naming the row (the first request is row 0): no rows; columns of different lengths; arrivals
    that are not finite, negative, unsorted or beyond the horizon; token counts that are negative or not whole; an
    output above its declared cap; a prefix longer than its prompt.
    """
    for name in fields:
        if name not in RequestFields.__annotations__:
            raise unknown("field of a request", name, RequestFields.__annotations__)
    arrival_ps = _arrivals_ps(fields)
    num = len(arrival_ps)
    requests = np.zeros(num, ARRIVAL)
    requests["arrival_ps"] = arrival_ps
    requests["prompt_tokens"] = _lengths("prompt_tokens", fields["prompt_tokens"], num)
    requests["output_tokens"] = _lengths("output_tokens", fields["output_tokens"], num)
    requests["max_output_tokens"] = _caps(fields.get("max_output_tokens"), requests["output_tokens"])
    for name in _PREDICTIONS:
        values: Any = fields.get(name, np.nan)
        requests[name] = _predictions(name, values, num)
    for name, (default, least, largest) in _OPTIONAL.items():
        given: Any = fields.get(name, default)
        requests[name] = _whole_numbers(name, given, num, least, largest, constant=True)
    _check_prefixes(requests)
    requests["first_hash"] = -1
    return requests


def blank_requests(num: int) -> NDArray[Any]:
    """ARRIVAL[num] with the values of optional fields that are left out; arrivals and lengths are 0."""
    requests = np.zeros(num, ARRIVAL)
    for name in _PREDICTIONS:
        requests[name] = np.nan
    for name, (default, _, _) in _OPTIONAL.items():
        requests[name] = default
    requests["first_hash"] = -1
    return requests


def max_output_tokens_above(longest_output: int) -> int:
    """The declared cap where none is known: the smallest power of two >= 4096 that covers every output of a workload.

    >>> max_output_tokens_above(300), max_output_tokens_above(4097)
    (4096, 8192)
    """
    return max(MIN_MAX_OUTPUT_TOKENS, 1 << (longest_output - 1).bit_length())


def times_to_ps(name: str, values: ArrayLike, ps_per_unit: int) -> Ints:
    """Whole-number times in a coarser unit, exactly, as picoseconds [R]; raises InputError beyond the horizon."""
    array = np.asarray(values)
    times = _whole_numbers(name, array, len(array), INT64_MIN, INT64_MAX)
    limit = HORIZON_PS // ps_per_unit
    _require(
        (times >= -limit) & (times <= limit), times, name, f"beyond {limit}, the horizon of 100 days", _HORIZON_REMEDY
    )
    return times * ps_per_unit


def seconds_to_ps(name: str, values: ArrayLike) -> Ints:
    """Seconds as picoseconds [R], rounded half to even; raises InputError for nan, infinite or beyond the horizon."""
    seconds = _numbers(name, values)
    _require(np.isfinite(seconds), seconds, name, "not a finite number of seconds", "Correct or drop the row.")
    bound = f"beyond {HORIZON_S} s, the horizon of 100 days"
    _require(np.abs(seconds) <= HORIZON_S, seconds, name, bound, _HORIZON_REMEDY)
    whole = np.floor(seconds)
    # The fraction is exact in float64, so nothing is lost to a product as large as 1e18.
    return whole.astype(np.int64) * PS_PER_S + np.rint((seconds - whole) * PS_PER_S).astype(np.int64)


_HORIZON_REMEDY = "Cut the trace, or check the unit of its times."


def _arrivals_ps(fields: RequestFields) -> Ints:
    """Arrivals in picoseconds [R]: finite, within the horizon, sorted, not negative, at least one."""
    seconds, ps = fields.get("arrival_s"), fields.get("arrival_ps")
    if (seconds is None) == (ps is None):
        raise InputError("a workload needs arrival_s or arrival_ps, one of the two.")
    given = np.asarray(seconds if ps is None else ps)
    if given.ndim != 1 or not given.size:
        raise InputError(f"a workload needs at least one request: arrivals have shape {list(given.shape)}.")
    arrivals = seconds_to_ps("arrival_s", given) if ps is None else times_to_ps("arrival_ps", given, 1)
    _check_order(arrivals)
    return arrivals


def _check_order(arrivals: Ints) -> None:
    backwards = np.flatnonzero(arrivals[1:] < arrivals[:-1])
    if backwards.size:
        row = int(backwards[0]) + 1
        raise InputError(
            f"row {row} arrives at {arrivals[row] / PS_PER_S} s, before row {row - 1} at "
            f"{arrivals[row - 1] / PS_PER_S} s: sort the trace by arrival."
        )
    if arrivals[0] < 0:
        raise InputError(
            f"row 0 arrives at {arrivals[0] / PS_PER_S} s, below 0: shift the times so that none is negative."
        )


def _numbers(name: str, values: ArrayLike) -> Floats:
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"{name} must hold numbers: {error}.") from error


def _whole_numbers(name: str, values: ArrayLike, num: int, least: int, most: int, *, constant: bool = False) -> Ints:
    """`values` as int64 [num], each within [least, most]; one value stands for all rows where `constant`."""
    array = np.asarray(values)
    if constant and array.ndim == 0:
        array = np.full(num, array)
    if array.shape != (num,):
        raise InputError(
            f"{name} has shape {list(array.shape)}, but there are {num} arrivals: give one value a request."
        )
    if array.dtype.kind == "f":
        whole = np.isfinite(array) & (np.floor(array) == array)
        _require(whole, array, name, "not a whole number", "Round it or drop the row.")
        _require(np.abs(array) < 2.0**63, array, name, "beyond a 64-bit integer", "Correct or drop the row.")
    elif array.dtype.kind not in "iu":
        raise InputError(f"{name} must hold whole numbers, not {array.dtype}: convert the column.")
    _require(array >= least, array, name, f"below {least}", "Correct or drop the row.")
    _require(array <= most, array, name, f"above {most}", "Correct or drop the row.")
    return array.astype(np.int64)


def _lengths(name: str, given: ArrayLike, num: int) -> Ints:
    """Token counts [R], 0 raised to 1."""
    return np.maximum(_whole_numbers(name, given, num, 0, MAX_TOKENS), 1)


def _caps(given: ArrayLike | None, output_tokens: Ints) -> Ints:
    """Declared output caps [R], each at least the request's output."""
    if given is None:
        return np.full(len(output_tokens), max_output_tokens_above(int(output_tokens.max())))
    caps = _whole_numbers("max_output_tokens", given, len(output_tokens), 1, MAX_TOKENS, constant=True)
    bound = "below the output_tokens of its request"
    _require(caps >= output_tokens, caps, "max_output_tokens", bound, "Raise the cap or cut the output.")
    return caps


def _predictions(name: str, given: ArrayLike, num: int) -> Floats:
    """Predicted output lengths [R]; nan stays nan: no prediction."""
    predicted = _numbers(name, given)
    if predicted.shape not in ((), (num,)):
        raise InputError(f"{name} has shape {list(predicted.shape)}, but there are {num} arrivals: give one a request.")
    predicted = np.broadcast_to(predicted, (num,))
    allowed = np.isnan(predicted) | ((predicted >= 0) & (predicted <= MAX_TOKENS))
    _require(allowed, predicted, name, f"outside 0 to {MAX_TOKENS}", "Correct it, or leave it empty (nan).")
    return predicted


def _check_prefixes(requests: NDArray[Any]) -> None:
    shared, group = requests["prefix_tokens"], requests["prefix_group"]
    bound = "longer than the prompt of its request"
    _require(shared <= requests["prompt_tokens"], shared, "prefix_tokens", bound, "Shorten the prefix.")
    _require(
        (shared == 0) | (group >= 0), shared, "prefix_tokens", "given without a prefix_group", "Name a group >= 0."
    )


def _prompt_hashes(requests: NDArray[Any], fields: RequestFields) -> PromptHashes | None:
    """The hashes in one table, and where in it each request's begin."""
    if "hash_ids" not in fields:
        return None
    given = fields["hash_ids"]
    counts = np.array([len(ids) for ids in given], np.int64)
    ids = np.fromiter(chain.from_iterable(given), np.int64, int(counts.sum()))
    row = np.repeat(np.arange(len(given)), counts)
    allowed = (ids >= 0) & (ids <= MAX_CONTENT)
    if not allowed.all():
        place = int(np.argmin(allowed))
        raise InputError(f"row {row[place]}: a hash id is {ids[place]}, outside 0 to {MAX_CONTENT}. Number them anew.")
    requests["first_hash"] = np.where(counts > 0, np.cumsum(counts) - counts, -1)
    requests["num_hashes"] = counts
    return PromptHashes(ids, fields.get("hash_block_tokens", DEFAULT_HASH_BLOCK_TOKENS))


def _require(ok_mask: NDArray[np.bool_], values: NDArray[Any], name: str, bound: str, remedy: str) -> None:
    """Raise InputError for the first row where `ok_mask` is False."""
    if not ok_mask.all():
        row = int(np.argmin(ok_mask))
        raise InputError(f"row {row}: {name} is {values[row]}, {bound}. {remedy}")
