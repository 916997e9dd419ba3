"""A hardware profile: what an iteration costs and what a server of this kind holds, with its provenance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise

from llmqgym.errors import InputError, unknown
from llmqgym.hardware.integers import UNLIMITED_BLOCKS, IntegerProfile

PS_PER_MS = 1_000_000_000
#: Largest time a profile may name (a day), so that a day's worth of any term stays inside an int64 of picoseconds.
MAX_MS = 86_400_000.0
#: Largest knot of a token table: its integer table then has at most 2**20 / tile + 1 entries.
MAX_TABLE_TOKENS = 2**20
#: PCIe 4.0 x16, usable, each way (profiles/README.md): the host link where a profile names none.
DEFAULT_LINK_BYTES_PER_S = 25e9
DEFAULT_HOST_MEMORY_BYTES = 64 * 2**30

KINDS = ("token_table", "linear", "constant", "iterations", "staircase")
ORIGINS = ("measured", "composed", "derived", "abstract")
#: Every time of a profile that is one number, in ms.
COEFFICIENTS = (
    "base_ms", "token_ms", "decode_base_ms", "decode_ms", "kv_ms", "prefill_base_ms", "root_ms", "square_ms",
    "lm_head_ms", "overhead_ms",
)  # fmt: skip
_AT_LEAST_ONE = ("kv_token_capacity", "max_context_tokens", "max_batch_tokens", "tensor_parallel", "tile")
_AT_LEAST_ZERO = ("kv_bytes_per_token", "host_memory_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class HardwareProfile:
    """Iteration times and capacities of one (GPU, model, tensor parallel), or of an abstract server.

    Times are floats in milliseconds and become integers in picoseconds once, in `to_integers`. With N tokens in a
    pass, B decodes holding S KV tokens and F = sum p (k + p/2) over the prefill chunks, an iteration takes

        base + lm_head + overhead + table(N) + token N + [B>0] decode_base + decode B + kv S
        + [p>0] (prefill_base + root sqrt(F) + square F).

    Raises InputError for a value that is not finite, negative, or out of its bound.
    """

    name: str
    kind: str  #: one of KINDS
    origin: str  #: 'measured', 'composed' (sum of measured operators), 'derived' (from specifications), 'abstract'
    source: str  #: where the figures come from, with licences
    known_error: str  #: what is known about how wrong they are; empty for an abstract profile, which is exact

    base_ms: float = 0.0
    token_ms: float = 0.0
    decode_base_ms: float = 0.0
    decode_ms: float = 0.0
    kv_ms: float = 0.0
    prefill_base_ms: float = 0.0
    root_ms: float = 0.0
    square_ms: float = 0.0  #: ms per unit of F (the kernel's integer is per unit of 2F)
    lm_head_ms: float = 0.0  #: ms per iteration, added to base
    overhead_ms: float = 0.0  #: ms per iteration that the engine's CPU side costs, added to base

    knots_tokens: tuple[int, ...] = ()  #: strictly increasing, >= 1
    knots_ms: tuple[float, ...] = ()  #: need not increase: GEMM tiles make a staircase that also falls
    tile: int = 8  #: tokens per entry of the integer table
    tail_ms: float | None = None  #: ms per tile beyond the table; None: the mean slope of the table's second half

    gpu: str = ""
    model: str = ""
    tensor_parallel: int = 1
    kv_token_capacity: int | None = None  #: tokens of KV cache beside the weights; None: unlimited
    kv_bytes_per_token: int = 0  #: over all GPUs of the replica
    link_bytes_per_s: float = DEFAULT_LINK_BYTES_PER_S  #: host links of all GPUs together, each way
    host_memory_bytes: int = DEFAULT_HOST_MEMORY_BYTES  #: for swapped KV
    max_context_tokens: int | None = None  #: measured range of contexts; None: no range
    max_batch_tokens: int | None = None  #: measured range of N; None: no range

    def __post_init__(self) -> None:
        _check_name(self, "kind", KINDS)
        _check_name(self, "origin", ORIGINS)
        for field in COEFFICIENTS:
            _check_number(self, field, getattr(self, field), MAX_MS)
        if self.tail_ms is not None:
            _check_number(self, "tail_ms", self.tail_ms, MAX_MS)
        _check_facts(self)
        _check_knots(self)

    def is_extrapolated(self, context_tokens: int) -> bool:
        """Whether a context of so many tokens lies beyond the measured range. It runs all the same, and is flagged."""
        return self.max_context_tokens is not None and context_tokens > self.max_context_tokens

    def to_integers(self, block_size: int) -> IntegerProfile:
        """Everything the kernel needs, in integers, rounded half to even; `block_size` in tokens.

        Raises InputError when the block size is not a positive integer or no block fits the KV cache.
        """
        if isinstance(block_size, bool) or not isinstance(block_size, int) or block_size < 1:
            raise InputError(f"block_size is {block_size!r}, it must be an integer >= 1: 16 is the engines' default.")
        table = _integer_table(self.knots_tokens, self.knots_ms, self.tile)
        block_bytes = block_size * self.kv_bytes_per_token
        return IntegerProfile(
            base=to_ps(self.base_ms + self.lm_head_ms + self.overhead_ms),
            token=to_ps(self.token_ms),
            decode_base=to_ps(self.decode_base_ms),
            decode=to_ps(self.decode_ms),
            kv=to_ps(self.kv_ms),
            prefill_base=to_ps(self.prefill_base_ms),
            root=to_ps(self.root_ms),
            square=round(self.square_ms * PS_PER_MS / 2),
            tile=self.tile,
            table=table,
            tail=_integer_tail(table) if self.tail_ms is None else to_ps(self.tail_ms),
            block_size=block_size,
            swap_block_ps=round(block_bytes / self.link_bytes_per_s * 1e12),
            num_kv_blocks=_kv_blocks(self, block_size),
            host_kv_blocks=_host_blocks(self.host_memory_bytes, block_bytes),
        )


def to_ps(time_ms: float) -> int:
    """Milliseconds to integer picoseconds, half to even.

    >>> to_ps(11.28), to_ps(2.5e-9), to_ps(3.5e-9)
    (11280000000, 2, 4)
    """
    return round(time_ms * PS_PER_MS)


def _kv_blocks(profile: HardwareProfile, block_size: int) -> int:
    if profile.kv_token_capacity is None:
        return UNLIMITED_BLOCKS
    if profile.kv_token_capacity < block_size:
        raise InputError(
            f"profile {profile.name!r}: kv_token_capacity is {profile.kv_token_capacity}, less than one block of "
            f"{block_size} tokens: raise kv_token_capacity or lower block_size."
        )
    return profile.kv_token_capacity // block_size


def _host_blocks(host_memory_bytes: int, block_bytes: int) -> int:
    """Blocks that fit in host memory; blocks of no bytes fit without limit, unless there is no host memory at all."""
    if block_bytes:
        return host_memory_bytes // block_bytes
    return UNLIMITED_BLOCKS if host_memory_bytes else 0


@lru_cache(maxsize=32)
def _integer_table(knots_tokens: tuple[int, ...], knots_ms: tuple[float, ...], tile: int) -> tuple[int, ...]:
    """The knots interpolated at the multiples of `tile` up to the last knot, in exact arithmetic.

    Below the first knot its value holds. No knots: (0,), the empty table.
    """
    if not knots_tokens:
        return (0,)
    knots = list(zip(knots_tokens, map(to_ps, knots_ms), strict=True))
    table, right = [], 0
    for tokens in range(0, knots_tokens[-1] + 1, tile):
        while knots[right][0] < tokens:
            right += 1
        x1, y1 = knots[right]
        x0, y0 = knots[right - 1] if right and x1 > tokens else (x1 - 1, y1)
        table.append(y1 if x1 == tokens else round(y0 + Fraction((y1 - y0) * (tokens - x0), x1 - x0)))
    return tuple(table)


def _integer_tail(table: tuple[int, ...]) -> int:
    """Mean slope of the table's second half, in ps per tile: the last step alone may be a flat or falling tread."""
    last = len(table) - 1
    if last == 0:
        return 0
    middle = last // 2
    return max(0, round(Fraction(table[last] - table[middle], last - middle)))


def _check_name(profile: HardwareProfile, field: str, known: tuple[str, ...]) -> None:
    value = getattr(profile, field)
    if value not in known:
        raise unknown(f"{field} of profile {profile.name!r}", str(value), known)


def _check_number(profile: HardwareProfile, field: str, value: object, bound: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"profile {profile.name!r}: {field} is {value!r}, it must be a number: write it in digits.")
    if not (math.isfinite(value) and 0 <= value <= bound):
        raise InputError(
            f"profile {profile.name!r}: {field} is {value}, it must lie between 0 and {bound:g}: correct the value."
        )


def _check_integer(profile: HardwareProfile, field: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= UNLIMITED_BLOCKS:
        raise InputError(
            f"profile {profile.name!r}: {field} is {value!r}, it must be an integer between {least} and "
            f"{UNLIMITED_BLOCKS}: correct the value."
        )


def _check_facts(profile: HardwareProfile) -> None:
    for field in _AT_LEAST_ONE:
        if getattr(profile, field) is not None:
            _check_integer(profile, field, getattr(profile, field), 1)
    for field in _AT_LEAST_ZERO:
        _check_integer(profile, field, getattr(profile, field), 0)
    _check_number(profile, "link_bytes_per_s", profile.link_bytes_per_s, 1e15)
    if profile.link_bytes_per_s < 1:
        raise InputError(
            f"profile {profile.name!r}: link_bytes_per_s is {profile.link_bytes_per_s}, it must be at least 1: "
            f"PCIe 4.0 x16 is {DEFAULT_LINK_BYTES_PER_S:g}."
        )


def _check_knots(profile: HardwareProfile) -> None:
    tokens, times = profile.knots_tokens, profile.knots_ms
    if len(tokens) != len(times):
        raise InputError(
            f"profile {profile.name!r}: {len(tokens)} knots_tokens and {len(times)} knots_ms: give one time per knot."
        )
    for number, (knot, time_ms) in enumerate(zip(tokens, times, strict=True)):
        _check_integer(profile, f"knots_tokens[{number}]", knot, 1)
        _check_number(profile, f"knots_ms[{number}]", time_ms, MAX_MS)
    for left, right in pairwise(tokens):
        if right <= left:
            raise InputError(f"profile {profile.name!r}: knot {right} follows {left}: sort knots_tokens, each once.")
    if tokens and not profile.tile <= tokens[-1] <= MAX_TABLE_TOKENS:
        raise InputError(
            f"profile {profile.name!r}: the last knot is {tokens[-1]} tokens, it must lie between the tile of "
            f"{profile.tile} and {MAX_TABLE_TOKENS}: add or drop knots."
        )
    if (profile.kind == "token_table") != bool(tokens):
        raise InputError(
            f"profile {profile.name!r}: kind {profile.kind!r} with {len(tokens)} knots: "
            "a token_table has knots, the other kinds have none."
        )
