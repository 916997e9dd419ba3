"""What an agent sees, as float32 numbers: three tables of fields, from which spaces, filling and docs are made.

Every field is scaled by a fixed rule, so that policies need no running statistics: a share is as it is, an amount x
becomes x / (|x| + scale), which is 1/2 at `scale` and below 1 for ever. ABSENT fills the places of requests that are
not there; an unknown prediction is ABSENT too. Nothing here leads to what a server does not know.

A new field is a function and a line of a table; its place in DEFAULT_* puts it into everybody's observation. One that
looks at more than its request (`ahead`) is handed the forecast of the running batch, made once for all rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from llmqgym.kernel import window
from llmqgym.kernel.cohort import is_decoding
from llmqgym.kernel.forecast import make_forecast, passes_left, peak_blocks, peak_blocks_with, stored_tokens
from llmqgym.kernel.jit import helper
from llmqgym.kernel.kv_cache import blocks_for, count_free
from llmqgym.kernel.memory import agent_at, peek, poke_single, request_at
from llmqgym.kernel.tables import PS_PER_S, Status

#: The number for what is not there.
ABSENT = -1.0
#: Of so much or more there is no limit, and its shares are 0.
UNLIMITED = 2.0**39
_S = 1.0 / PS_PER_S


@dataclass(frozen=True)
class Field:
    """A number of the observation. `scale` None: a share, as it is; else see above. `value` reads it, unscaled; with
    `ahead` it is also given the forecast (kernel/forecast.py)."""

    name: str
    unit: str
    what: str
    low: float
    scale: float | None
    value: Callable[..., float]
    ahead: bool = False


# Of the server: (sim, agent)


@helper
def _share(part: float, whole: float) -> float:
    """0 of what has no limit."""
    return part / whole if whole < UNLIMITED else 0.0


@helper
def kv_used(sim: Any, agent: Any) -> float:
    return _share(float(sim.num_kv_blocks - count_free(sim)), float(sim.num_kv_blocks))


@helper
def slots_used(sim: Any, agent: Any) -> float:
    return _share(float(sim.num_running), float(sim.max_running))


@helper
def budget_left(sim: Any, agent: Any) -> float:
    return sim.budget_tokens / float(sim.max_batched_tokens)


@helper
def num_running(sim: Any, agent: Any) -> float:
    return float(sim.num_running)


@helper
def num_prefilling(sim: Any, agent: Any) -> float:
    return float(sim.num_running - sim.num_decoding)


@helper
def num_waiting(sim: Any, agent: Any) -> float:
    return float(sim.num_waiting)


@helper
def num_unseen(sim: Any, agent: Any) -> float:
    return float(agent.num_unseen)


@helper
def unseen_prompt_tokens(sim: Any, agent: Any) -> float:
    return float(agent.unseen_prompt_tokens)


@helper
def unseen_predicted_tokens(sim: Any, agent: Any) -> float:
    return float(agent.unseen_predicted_tokens)


@helper
def iteration_s(sim: Any, agent: Any) -> float:
    return agent.iteration_ps * _S


@helper
def shortage(sim: Any, agent: Any) -> float:
    return 1.0 if sim.shortage else 0.0


SERVER_FIELDS = (
    Field("kv_used", "share", "KV blocks held", 0.0, None, kv_used),
    Field("slots_used", "share", "batch slots taken", 0.0, None, slots_used),
    Field("budget_left", "share", "token budget of the iteration not given away yet", 0.0, None, budget_left),
    Field("num_running", "requests", "running", 0.0, 32.0, num_running),
    Field("num_prefilling", "requests", "running, and not decoding yet", 0.0, 4.0, num_prefilling),
    Field("num_waiting", "requests", "waiting", 0.0, 32.0, num_waiting),
    Field("num_unseen", "requests", "waiting, and not in the window", 0.0, 32.0, num_unseen),
    Field("unseen_prompt_tokens", "tokens", "prompts of those", 0.0, 32_768.0, unseen_prompt_tokens),
    Field("unseen_predicted_tokens", "tokens", "predicted outputs of those", 0.0, 8192.0, unseen_predicted_tokens),
    Field("iteration_s", "s", "mean time of an iteration in the last step that had one", 0.0, 0.05, iteration_s),
    Field("shortage", "share", "1: somebody left this iteration for want of blocks", 0.0, None, shortage),
)  # fmt: skip


# Of a request: (sim, request)


@helper
def prompt_tokens(sim: Any, request: Any) -> float:
    return float(request.prompt_tokens)


@helper
def generated_tokens(sim: Any, request: Any) -> float:
    return float(request.generated_tokens)


@helper
def computed_tokens(sim: Any, request: Any) -> float:
    return float(request.computed_tokens)


@helper
def predicted_remaining_tokens(sim: Any, request: Any) -> float:
    return request.predicted_output_tokens - request.generated_tokens


@helper
def age_s(sim: Any, request: Any) -> float:
    return (sim.clock_ps - request.arrival_ps) * _S


@helper
def kv_wanted(sim: Any, request: Any) -> float:
    blocks = blocks_for(sim, request.prompt_tokens + request.generated_tokens)
    return _share(float(blocks - request.kv_blocks), float(sim.num_kv_blocks))


@helper
def kv_held(sim: Any, request: Any) -> float:
    return _share(float(request.kv_blocks), float(sim.num_kv_blocks))


@helper
def prefill_left_tokens(sim: Any, request: Any) -> float:
    return 0.0 if is_decoding(request) else float(request.prefill_target_tokens - request.computed_tokens)


@helper
def num_preemptions(sim: Any, request: Any) -> float:
    num = request.num_preemptions
    return float(num[0] + num[1] + num[2] + num[3])


@helper
def priority(sim: Any, request: Any) -> float:
    return float(request.priority)


@helper
def tenant(sim: Any, request: Any) -> float:
    return float(request.tenant)


@helper
def max_output_tokens(sim: Any, request: Any) -> float:
    return float(request.max_output_tokens)


@helper
def predicted_lower_tokens(sim: Any, request: Any) -> float:
    return request.predicted_lower_tokens


@helper
def predicted_upper_tokens(sim: Any, request: Any) -> float:
    return request.predicted_upper_tokens


@helper
def _left_s(limit_ps: int, sim: Any, request: Any) -> float:
    """nan where there is no limit."""
    return (request.arrival_ps + limit_ps - sim.clock_ps) * _S if limit_ps >= 0 else math.nan


@helper
def ttft_left_s(sim: Any, request: Any) -> float:
    return _left_s(request.ttft_limit_ps, sim, request) if request.first_token_ps < 0 else math.nan


@helper
def e2e_left_s(sim: Any, request: Any) -> float:
    return _left_s(request.e2e_limit_ps, sim, request)


@helper
def kv_peak(sim: Any, request: Any, forecast: Any) -> float:
    if request.status == Status.RUNNING:
        return _share(peak_blocks(forecast), float(sim.num_kv_blocks))
    peak = peak_blocks_with(forecast, sim.block_size, passes_left(request), stored_tokens(request))
    return _share(peak, float(sim.num_kv_blocks))


REQUEST_FIELDS = (
    Field("prompt_tokens", "tokens", "prompt", 0.0, 512.0, prompt_tokens),
    Field("generated_tokens", "tokens", "output so far", 0.0, 256.0, generated_tokens),
    Field("computed_tokens", "tokens", "in the KV cache, or swapped out of it", 0.0, 512.0, computed_tokens),
    Field(
        "predicted_remaining_tokens", "tokens", "predicted output less that so far; below 0: outlived", -1.0, 256.0,
        predicted_remaining_tokens,
    ),
    Field("age_s", "s", "since the arrival", 0.0, 10.0, age_s),
    Field("kv_wanted", "share", "KV blocks that prompt and output so far lack", 0.0, None, kv_wanted),
    Field("kv_held", "share", "KV blocks held", 0.0, None, kv_held),
    Field("prefill_left_tokens", "tokens", "to compute before the next token", 0.0, 512.0, prefill_left_tokens),
    Field("num_preemptions", "1", "so far", 0.0, 2.0, num_preemptions),
    Field("priority", "1", "lower is more urgent", -1.0, 4.0, priority),
    Field("tenant", "1", "its number", 0.0, 4.0, tenant),
    Field("max_output_tokens", "tokens", "declared cap", 0.0, 1024.0, max_output_tokens),
    Field("predicted_lower_tokens", "tokens", "lower end of a predicted interval", 0.0, 256.0, predicted_lower_tokens),
    Field("predicted_upper_tokens", "tokens", "its upper end", 0.0, 256.0, predicted_upper_tokens),
    Field("ttft_left_s", "s", "until its TTFT limit; none, or met: absent", -1.0, 5.0, ttft_left_s),
    Field("e2e_left_s", "s", "until its E2E limit; none: absent", -1.0, 30.0, e2e_left_s),
    Field(
        "kv_peak", "1", "the most that the running will ever hold with this one, as predicted, over the KV cache", 0.0,
        1.0, kv_peak, ahead=True,
    ),
)  # fmt: skip
DEFAULT_WAITING = (
    "prompt_tokens", "generated_tokens", "predicted_remaining_tokens", "age_s", "kv_wanted", "num_preemptions",
)  # fmt: skip
DEFAULT_RUNNING = (
    "computed_tokens", "generated_tokens", "predicted_remaining_tokens", "age_s", "kv_held", "prefill_left_tokens",
)  # fmt: skip


@helper
def _squash(value: float, scale: float) -> Any:
    """In single precision, which divides faster; ABSENT for nan."""
    x = np.float32(value)
    return x / (abs(x) + np.float32(scale)) if x == x else np.float32(ABSENT)


def unsquashed(shown: Any, scale: float | None) -> Any:
    """Numbers, float64, from what an observation shows of them, float32: the whole number that looks so, if there is
    one, else as near as single precision allows; nan for ABSENT.

    >>> unsquashed(np.float32([0.5, 0.75, -1.0]), 512.0).tolist()
    [512.0, 1536.0, nan]
    """
    y = np.asarray(shown, np.float64)
    y = np.where(y == ABSENT, math.nan, y)
    if scale is None:
        return y
    with np.errstate(divide="ignore", invalid="ignore"):
        x = y * scale / (1.0 - np.abs(y))
        whole = np.rint(x).astype(np.float32)
        looks = whole / (np.abs(whole) + np.float32(scale))
    return np.where(looks == shown, whole, x)


def _writer(fields: tuple[Field, ...]) -> Callable[..., Any]:
    """(sim, record, forecast, address, at): write the fields of a record at float32 places `at`, `at` + 1, ..."""
    names: dict[str, Any] = {f"value_{place}": field.value for place, field in enumerate(fields)}
    names |= {"poke_single": poke_single, "squash": _squash}
    lines = ["def write(sim, record, forecast, address, at):"]
    for place, field in enumerate(fields):
        value = f"value_{place}(sim, record, forecast)" if field.ahead else f"value_{place}(sim, record)"
        lines.append(f"    v{place} = " + (value if field.scale is None else f"squash({value}, {field.scale!r})"))
    lines += [f"    poke_single(address, at + {place}, v{place})" for place in range(len(fields))]
    exec("\n".join(lines), names)
    return helper(names["write"])


_write_server = _writer(SERVER_FIELDS)
_NUM_SERVER = len(SERVER_FIELDS)


@helper
def _write_absent(address: int, start: int, end: int) -> None:
    for place in range(start, end):
        poke_single(address, place, ABSENT)


@helper
def _no_forecast(sim: Any) -> int:
    return 0


@helper
def _observe(
    sim: Any, address: int, look_ahead: Any, write_waiting: Any, num_waiting: int, write_running: Any, num_running: int
) -> int:
    """The server's fields, those of K waiting and those of B running requests, into the agent's buffer."""
    agent = agent_at(address, 0)
    out = agent.observation
    forecast = look_ahead(sim)
    _write_server(sim, agent, forecast, out, 0)
    at = _NUM_SERVER
    end = at + num_waiting * agent.window_waiting
    for place in range(window.size(agent)):
        write_waiting(sim, request_at(sim.requests, window.row_at(agent, place)), forecast, out, at)
        at += num_waiting
    _write_absent(out, at, end)
    at = end
    end += num_running * agent.window_running
    for place in range(agent.num_shown_running):
        write_running(sim, request_at(sim.requests, peek(agent.running, place)), forecast, out, at)
        at += num_running
    _write_absent(out, at, end)
    return 0


_BY_NAME = {field.name: field for field in REQUEST_FIELDS}


def fields_of(names: tuple[str, ...]) -> tuple[Field, ...]:
    """The fields of a request by name. Raises KeyError."""
    return tuple(_BY_NAME[name] for name in names)


#: Those that memory is planned with: the default ones, and the peak to come.
PLANNING_WAITING = (*DEFAULT_WAITING, "kv_peak")
_write_waiting, _write_planning = _writer(fields_of(DEFAULT_WAITING)), _writer(fields_of(PLANNING_WAITING))
_write_running = _writer(fields_of(DEFAULT_RUNNING))
_NUM_WAITING, _NUM_PLANNING, _NUM_RUNNING = len(DEFAULT_WAITING), len(PLANNING_WAITING), len(DEFAULT_RUNNING)


def observe_service(sim: Any, address: int, number: int) -> int:
    """Service: write the default observation of the agent at an address."""
    return _observe(sim, address, _no_forecast, _write_waiting, _NUM_WAITING, _write_running, _NUM_RUNNING)


def observe_planning_service(sim: Any, address: int, number: int) -> int:
    """Service: the same with the peak to come."""
    return _observe(sim, address, make_forecast, _write_planning, _NUM_PLANNING, _write_running, _NUM_RUNNING)


#: By fields: those services that are kept on disk once compiled.
_KEPT: dict[tuple[tuple[str, ...], tuple[str, ...]], Callable[[Any, int, int], int]] = {
    (DEFAULT_WAITING, DEFAULT_RUNNING): observe_service,
    (PLANNING_WAITING, DEFAULT_RUNNING): observe_planning_service,
}


@cache
def make_observe(waiting: tuple[str, ...], running: tuple[str, ...]) -> Callable[[Any, int, int], int]:
    """The service for fields by name; others than the default, with or without `kv_peak`, are compiled in every
    process, for a second or two."""
    if (waiting, running) in _KEPT:
        return _KEPT[waiting, running]
    chosen = fields_of(waiting), fields_of(running)
    write_waiting, write_running = (_writer(each) for each in chosen)
    num_waiting, num_running = len(waiting), len(running)
    look_ahead = make_forecast if any(field.ahead for each in chosen for field in each) else _no_forecast

    def observe(sim: Any, address: int, number: int) -> int:
        return _observe(sim, address, look_ahead, write_waiting, num_waiting, write_running, num_running)

    return observe
