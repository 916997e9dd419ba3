"""The decision log: the kernel's triples as JSON lines, in the words and the order of the vLLM reference logs.

One line an iteration: `i` its number, `t` its start (only if it differs from i), `s` [[id, tokens], ...] in scheduling
order, `c` the ids whose chunk is not the last of a prefill, `p` the ids preempted, `h` [[id, tokens], ...] found in the
prefix cache by those admitted, `b` blocks free during the pass,
`f` the ids finished, `e` blocks free after them, `r` and `w` requests running and waiting. Where time counts in
iterations, i is that time.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym import __version__
from llmqgym.config import ServerConfig
from llmqgym.files import atomic_text
from llmqgym.kernel import log
from llmqgym.kernel.tables import PS_PER_S

Step = dict[str, Any]

#: What vLLM calls the policies that are its own.
_VLLM_POLICIES = {"vllm": "fcfs", "vllm-priority": "priority"}


def steps(triples: NDArray[np.int64], unit_ps: int | None) -> Iterator[Step]:
    """Lines of the log from the kernel's triples, int64 [n, 3] (`Simulator.log_triples`).

    `unit_ps` is the length of an iteration where time counts in iterations; None: i numbers the iterations and t is in
    seconds. Preemptions of a composition that scheduled nothing belong to the iteration that follows.

    >>> list(steps(np.array([[0, 0, 0], [2, 7, 30], [4, 5, 0], [6, 5, 0], [7, 1, 0]]), 1))
    [{'i': 0, 's': [[7, 30]], 'b': 5, 'e': 5, 'r': 1, 'w': 0}]
    """
    step = _Entry()
    for what, a, b in triples.tolist():
        if what == log.ITERATION:
            step.start(a, b, unit_ps)
        elif what == log.QUEUES:
            yield step.line(a, b)
            step = _Entry()
        else:
            step.add(what, a, b)


class _Entry:
    """An iteration while its triples come in."""

    def __init__(self) -> None:
        self._head: Step = {}
        self._scheduled: list[list[int]] = []
        self._parts: list[int] = []
        self._preempted: list[int] = []
        self._hits: list[list[int]] = []
        self._finished: list[int] = []
        self._free = {log.FREE_BEFORE: -1, log.FREE_AFTER: -1}

    def start(self, number: int, start_ps: int, unit_ps: int | None) -> None:
        if unit_ps is not None:
            self._head = {"i": start_ps // unit_ps}
            return
        start_s = in_units(start_ps, PS_PER_S)
        self._head = {"i": number} if start_s == number else {"i": number, "t": start_s}

    def add(self, what: int, a: int, b: int) -> None:
        if what in (log.SCHEDULED, log.SCHEDULED_PART):
            self._scheduled.append([a, b])
            if what == log.SCHEDULED_PART:
                self._parts.append(a)
        elif what == log.PREEMPTED:
            self._preempted.append(a)
        elif what == log.HIT:
            self._hits.append([a, b])
        elif what == log.FINISHED:
            self._finished.append(a)
        else:
            self._free[what] = a

    def line(self, running: int, waiting: int) -> Step:
        line: Step = {**self._head, "s": self._scheduled}
        if self._parts:
            line["c"] = self._parts
        if self._preempted:
            line["p"] = self._preempted
        if self._hits:
            line["h"] = self._hits
        line["b"] = self._free[log.FREE_BEFORE]
        if self._finished:
            line["f"] = self._finished
        return {**line, "e": self._free[log.FREE_AFTER], "r": running, "w": waiting}


class _Footer:
    """What the last line sums up, gathered while the others go by; None for an iteration that never came."""

    def __init__(self, num_requests: int, usable_blocks: int) -> None:
        self.line: Step = {
            "kind": "footer",
            "steps": 0,
            "scheduled_tokens": 0,
            "preemptions": 0,
            "first_token_iter": [None] * num_requests,
            "finish_iter": [None] * num_requests,
            "n_preempt": [0] * num_requests,
            "free_blocks": usable_blocks,
        }

    def see(self, step: Step) -> None:
        line, i = self.line, step["i"]
        line["steps"] += 1
        parts = set(step.get("c", ()))
        for request, tokens in step["s"]:
            line["scheduled_tokens"] += tokens
            if line["first_token_iter"][request] is None and request not in parts:
                line["first_token_iter"][request] = i
        for request in step.get("p", ()):
            line["preemptions"] += 1
            line["n_preempt"][request] += 1
        for request in step.get("f", ()):
            line["finish_iter"][request] = i
        line["free_blocks"] = step["e"]


def lines(triples: NDArray[np.int64], requests: NDArray[Any], head: Step, unit_ps: int | None) -> Iterator[Step]:
    """The whole log: header, steps, footer. `requests` is the workload's ARRIVAL[R], `head` the header's params."""
    usable = head["num_gpu_blocks"] - 1
    yield {
        "kind": "header",
        "llmqgym": __version__,
        "params": head,
        "usable_blocks": usable,
        "trace": _trace_rows(requests),
    }
    footer = _Footer(len(requests), usable)
    for step in steps(triples, unit_ps):
        footer.see(step)
        yield step
    yield footer.line


def params(server: ServerConfig, num_kv_blocks: int, policy: str, requests: NDArray[Any], unit_ps: int | None) -> Step:
    """The settings of a server in vLLM's names; vLLM counts its null block too."""
    settings: Step = {
        "num_gpu_blocks": num_kv_blocks + 1,
        "block_size": server.block_size,
        "max_num_seqs": server.max_running,
        "max_num_batched_tokens": server.max_batched_tokens,
        "chunked_prefill": server.chunked_prefill,
        "prefix_caching": server.prefix_caching,
        "policy": _VLLM_POLICIES.get(policy, policy),
        "long_prefill_token_threshold": server.long_prefill_token_threshold,
        "watermark": float(server.watermark),
        "reserve_full_isl": server.reserve_full_isl,
        "max_model_len": int((requests["prompt_tokens"] + requests["output_tokens"]).max()),
        "async_scheduling": False,
    }
    return settings if unit_ps is None else {**settings, "step_base": 1, "step_per_token": 0}


def write_log(path: str | os.PathLike[str], log_lines: Iterable[Step]) -> None:
    """Write the lines to `path` (gzip if it ends in .gz). Raises OutputError; nothing half-written stays."""
    encode = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
    with atomic_text(path) as file:
        file.writelines(encode(line) + "\n" for line in log_lines)


def in_units(time_ps: int, unit_ps: int) -> int | float:
    """A time in units, as an int where it is whole."""
    whole, rest = divmod(time_ps, unit_ps)
    return time_ps / unit_ps if rest else whole


def _trace_rows(requests: NDArray[Any]) -> list[list[int | float]]:
    names = ["prompt_tokens", "output_tokens", "priority"]
    if (requests["prefix_group"] >= 0).any():
        names += ["prefix_group", "prefix_tokens"]
    arrivals = [in_units(arrival_ps, PS_PER_S) for arrival_ps in requests["arrival_ps"].tolist()]
    return [list(row) for row in zip(arrivals, *(requests[name].tolist() for name in names), strict=True)]
