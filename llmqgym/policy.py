"""What a policy is: the hooks and settings in which it differs from vLLM v1's first-come-first-served scheduler.

A hook is a plain Python function over the records of `llmqgym.kernel.tables` (a `request` as the server sees it,
REQUEST, and the `server`, SERVER). It is written once: the kernel calls it compiled, Python calls it as it stands.
Leave a hook out and the engine's default holds.

| hook | signature | answers | default |
|---|---|---|---|
| `order` | (request, server) -> number | key in the waiting queue, smallest first, nan last | 0: order of arrival |
| `fit` | (request, server) -> bool | may it enter now? | vLLM's admission gate |
| `mix_key` | (request, server) -> float | < 1: before newcomers, >= 1: after, inf: not now | the `mix` preset |
| `victim` | (running, requester, server) -> float | who leaves on a shortage: the largest | the last admitted |
| `preempt` | (running, candidate, server) -> float | who makes place for a better one: the largest above 0 | nobody |
| `wake` | (server) -> float | iterations for which no decision changes without an event | see below |

What it must remember a policy writes into notes: `request.notes` (4 numbers, 0 at arrival, kept through preemption) and
`server.notes` (1024 numbers, 0 at the start). Five hooks answer nothing and are told of what happens; these may write
notes, and nothing else, and no other hook may write anything.

| hook | signature | is told |
|---|---|---|
| `arrive` | (request, server) | that a request has come, before its key is taken |
| `admitted` | (request, server) | that it has entered the running batch |
| `preempted` | (request, server) | that it has left it, before its tokens are lost, copied or held, and its key taken |
| `finished` | (request, server) | that it is done: `generated_tokens` is what its length was |
| `begin` | (server) | that a composition begins, before keys are taken anew |

Between events (an arrival, a finish, a shortage) nothing is decided for `wake` iterations: that lets the kernel
jump. Keys are taken when a request joins the queue, and victims are chosen at a shortage, so a policy of these
alone may be jumped over for ever; one with `fit`, `preempt`, `mix_key` or `begin` is asked every iteration, unless it
says how long its answers stand: `wake=math.inf` where only events change them (SRPT), a hook where a quantum or a
cut-off ends. `begin` is not told of iterations that are jumped over. A policy whose keys drift while requests wait
says `rekey=True`. See docs/model.md for what each answer does, and for when each event is told.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from llmqgym.errors import InputError, unknown
from llmqgym.kernel.tables import MAX_PARAMS, Mix, Mode

Hook = Callable[..., float]
Event = Callable[..., None]

#: Settings by name.
MIXES = {mix.name.lower(): mix.value for mix in Mix}
MODES = {mode.name.lower(): mode.value for mode in Mode}
MISSES = {"stop": 0, "skip": 1}


@dataclass(frozen=True)
class Policy:
    """A scheduling policy. `Policy("fcfs")` is vLLM v1's default scheduler.

    A hook may walk the running batch in the order of admission: from row `server.first_running` by `request.next` to
    -1, each row as `request_at(server.requests, row)` (llmqgym.kernel.memory). The kernel keeps those rows current for
    policies with `fit`, `wake`, `begin` or `rekey`, at a cost that grows with the batch; `reads_running=False` says
    that no hook walks, and saves it. `arrive` and `finished` come when they are not current. `begin` may walk the
    waiting queue too, in no particular order: `entry_at(server.waiting, place).row` for `place` below
    `server.num_queued`.

    `oracle=True` lets its hooks read `request.true_output_tokens` (-1 for everybody else); every table marks it.
    `params` are up to 32 numbers that hooks read as `server.params[i]`; another value needs no compilation.

    >>> Policy("shortest-prompt", order=lambda request, server: float(request.prompt_tokens)).miss
    'stop'
    """

    name: str
    order: Hook | None = None
    fit: Hook | None = None
    mix_key: Hook | None = None
    victim: Hook | None = None
    preempt: Hook | None = None
    wake: Hook | float | None = None
    arrive: Event | None = None
    admitted: Event | None = None
    preempted: Event | None = None
    finished: Event | None = None
    begin: Event | None = None
    mix: str = "mixed"
    miss: str = "stop"
    victim_mode: str = "recompute"
    preempt_mode: str = "recompute"
    rekey: bool = False
    reads_running: bool = True
    oracle: bool = False
    params: tuple[float, ...] = ()
    summary: str = ""
    reference: str = ""

    def __post_init__(self) -> None:
        for setting, table in (("mix", MIXES), ("miss", MISSES), ("victim_mode", MODES), ("preempt_mode", MODES)):
            value = getattr(self, setting)
            if value not in table:
                raise unknown(f"{setting} of policy {self.name!r}", str(value), table)
        if self.victim_mode == "hold":
            raise InputError(
                f"policy {self.name!r}: victim_mode 'hold' keeps the blocks that are short: "
                "use recompute, restart or swap."
            )
        if self.mix_key is not None and self.mix != "mixed":
            raise InputError(
                f"policy {self.name!r}: a mix_key replaces the preset: leave mix at 'mixed', not {self.mix!r}."
            )
        if not callable(self.wake) and self.wake is not None and not self.wake >= 1:
            raise InputError(f"policy {self.name!r}: wake is {self.wake}: give 1 or more iterations, or math.inf.")
        if self.rekey and self.wake == math.inf:
            raise InputError(f"policy {self.name!r}: keys that change while requests wait contradict wake = inf.")
        if len(self.params) > MAX_PARAMS:
            raise InputError(f"policy {self.name!r}: {len(self.params)} params, at most {MAX_PARAMS}.")

    def hooks(self) -> dict[str, Hook | Event | None]:
        """The hooks by the names that the kernel uses, in its order."""
        return {
            "order": self.order,
            "fit": self.fit,
            "mix": self.mix_key,
            "victim": self.victim,
            "preempt": self.preempt,
            "wake": self.wake if callable(self.wake) else None,
            "arrive": self.arrive,
            "admitted": self.admitted,
            "preempted": self.preempted,
            "finished": self.finished,
            "begin": self.begin,
        }

    def wake_passes(self) -> float:
        """Iterations for which decisions stand where no wake hook says so: what is given, else infinity for policies
        that only order and choose victims, 1 for all others."""
        if self.wake is not None and not callable(self.wake):
            return self.wake
        return 1.0 if self.asks_between_events() and self.wake is None else math.inf

    def asks_between_events(self) -> bool:
        """Whether its hooks may answer otherwise though nothing has happened but time."""
        return self.rekey or any(hook is not None for hook in (self.fit, self.preempt, self.mix_key, self.begin))

    def settings(self) -> dict[str, Any]:
        """Everything but the functions: for reports, and to tell policies apart.

        >>> Policy("static", mix="prefill_first").settings()["mix"], Policy("fcfs", wake=3.0).settings()["wake"]
        ('prefill_first', 3.0)
        """
        hooks = {*self.hooks(), "mix_key"} - {"mix"}
        given = {f.name: getattr(self, f.name) for f in fields(self)}
        if not callable(self.wake) and self.wake is not None:
            hooks -= {"wake"}
        return {name: value for name, value in given.items() if name not in hooks}
