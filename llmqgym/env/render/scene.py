"""What is to be seen of a server: plain numbers, read from its tables without writing to them.

The row of a request that decodes with the cohort is as of its `stamp`; what the passes since then have done to it is
added here, where the kernel would write it. Refreshed predictions are shown as they were last looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.env.servers import Servers
from llmqgym.kernel.memory import hidden_at, peek
from llmqgym.kernel.tables import PS_PER_S, Deciding

#: Numbers of blocks or slots from here on mean that there is no limit.
UNLIMITED = 2**39
#: What may be decided.
OVER, SHORT, OPEN = "over", "short of blocks", "open"
_STATES = {Deciding.NOTHING: OVER, Deciding.SHORT: SHORT, Deciding.OPEN: OPEN}


@dataclass(frozen=True)
class Request:
    """A request in the system, running or waiting; its tokens."""

    id: int
    prompt_tokens: int
    computed_tokens: int  # in the KV cache, or swapped out of it
    generated_tokens: int
    prefill_left_tokens: int  # to compute before its next token
    predicted_output_tokens: float  # nan: unknown
    num_preemptions: int
    age_s: float  # since its arrival
    command: int  # the agent's number for admitting it, or preempting it by the first mode, -1: not in view
    is_allowed: bool  # that command now, or to preempt it by another mode
    is_new: bool  # admitted in the iteration being composed


@dataclass(frozen=True)
class Scene:
    """A server at a decision. Limits that there are not are None."""

    clock_s: float
    num_iterations: int
    state: str  # OPEN, SHORT or OVER
    action: str  # the last one, in words
    num_kv_blocks: int | None
    used_kv_blocks: int
    max_batched_tokens: int | None
    budget_tokens: int  # of these, left in the iteration being composed
    max_running: int | None
    num_prefilling: int
    num_waiting: int
    num_finished: int
    num_rejected: int
    num_preemptions: int
    processed_tokens: int
    lost_tokens: int  # of these, thrown away
    running: tuple[Request, ...]  # in the order of admission
    oldest: tuple[Request, ...]  # the two parts of the window, in its order
    shortest: tuple[Request, ...]
    unseen_prompt_tokens: int  # of the waiting requests that are in neither
    unseen_predicted_tokens: int
    prompt_axis_tokens: int  # to which the axes of bars go: most requests end within
    output_axis_tokens: int

    @property
    def num_running(self) -> int:
        """Requests in the batch."""
        return len(self.running)

    @property
    def num_unseen(self) -> int:
        """Waiting requests that are not in the window."""
        return self.num_waiting - len(self.oldest) - len(self.shortest)

    @property
    def requests_per_s(self) -> float:
        """Finished so far, a second; 0 at time 0."""
        return self.num_finished / self.clock_s if self.clock_s > 0.0 else 0.0

    @property
    def tokens_per_s(self) -> float:
        """Processed so far, prompts and outputs, a second."""
        return self.processed_tokens / self.clock_s if self.clock_s > 0.0 else 0.0

    @property
    def scheduled_tokens(self) -> int | None:
        """Tokens given away in the iteration being composed; None: there is no such iteration, or no budget."""
        if self.max_batched_tokens is None or self.state == OVER:
            return None
        return self.max_batched_tokens - self.budget_tokens

    @property
    def kv_share(self) -> float | None:
        """KV blocks held, of those that there are."""
        return None if self.num_kv_blocks is None else self.used_kv_blocks / self.num_kv_blocks


def read_scene(servers: Servers, place: int, action: str = "", axes: tuple[int, int] = (2000, 500)) -> Scene:
    """The scene of one server; `axes`: tokens of prompt and output to which the bars go."""
    sim, agent = servers.simulators[place].record, servers.agents[place]
    reader = _Reader(servers, place)
    first_running = 1 + int(agent.window_waiting)
    in_view = {peek(agent.running, shown): first_running + shown for shown in range(int(agent.num_shown_running))}
    num_oldest, num_shortest = int(agent.num_oldest), int(agent.num_shortest)
    window = [peek(agent.window, at) for at in range(num_oldest)]
    window += [peek(agent.window, int(agent.window_oldest) + at) for at in range(num_shortest)]
    waiting = tuple(reader.read(row, 1 + at) for at, row in enumerate(window))
    return Scene(
        clock_s=int(sim.clock_ps) / PS_PER_S,
        num_iterations=int(sim.num_iterations),
        state=_STATES[Deciding(int(sim.deciding))],
        action=action,
        num_kv_blocks=_limit(sim.num_kv_blocks),
        used_kv_blocks=int(sim.num_kv_blocks - sim.free_kv_blocks),
        max_batched_tokens=_limit(sim.max_batched_tokens),
        budget_tokens=int(sim.budget_tokens),
        max_running=_limit(sim.max_running),
        num_prefilling=int(sim.num_running - sim.num_decoding),
        num_waiting=int(sim.num_waiting),
        num_finished=int(sim.num_finished),
        num_rejected=int(sim.num_rejected),
        num_preemptions=int(sum(sim.num_preemptions)),
        processed_tokens=int(sim.processed_tokens),
        lost_tokens=int(sim.lost_tokens),
        running=tuple(reader.read(row, in_view.get(row, -1)) for row in reader.running_rows()),
        oldest=waiting[:num_oldest],
        shortest=waiting[num_oldest:],
        unseen_prompt_tokens=int(agent.unseen_prompt_tokens),
        unseen_predicted_tokens=int(agent.unseen_predicted_tokens),
        prompt_axis_tokens=axes[0],
        output_axis_tokens=axes[1],
    )


def _limit(number: Any) -> int | None:
    return int(number) if number < UNLIMITED else None


def _any_mode(servers: Servers, place: int) -> NDArray[Any]:
    """The mask of a server, [1 + K + B]: whether a running request may leave, by whatever mode."""
    mask, first, running = servers.masks[place], 1 + servers.config.window, servers.config.running
    return np.concatenate([mask[:first], mask[first:].reshape(-1, running).any(axis=0)]) if running else mask


class _Reader:
    """Reads the requests of one server."""

    def __init__(self, servers: Servers, place: int) -> None:
        self._simulator = servers.simulators[place]
        self._sim = self._simulator.record
        self._mask = _any_mode(servers, place)
        self._clock_ps, self._cohort_clock = int(self._sim.clock_ps), int(self._sim.cohort_clock)
        self._first_new_seq, self._hidden = int(self._sim.first_new_seq), int(self._sim.hidden)

    def running_rows(self) -> list[int]:
        """Of the batch, in the order of admission."""
        rows, row = [], int(self._sim.first_running)
        while row >= 0:
            rows.append(row)
            row = int(self._simulator.request(row).next)
        return rows

    def read(self, row: int, command: int) -> Request:
        """The request in a row as it is now."""
        request, hidden = self._simulator.request(row), hidden_at(self._hidden, row)
        passes = self._cohort_clock - int(hidden.stamp) if hidden.together else 0
        computed, generated = int(request.computed_tokens) + passes, int(request.generated_tokens) + passes
        prompt, admitted = int(request.prompt_tokens), int(request.admit_seq)
        target = int(request.prefill_target_tokens) if computed > 0 else prompt + generated  # as when it is admitted
        return Request(
            id=int(request.id),
            prompt_tokens=prompt,
            computed_tokens=computed,
            generated_tokens=generated,
            prefill_left_tokens=max(target - computed, 0),
            predicted_output_tokens=float(request.predicted_output_tokens),
            num_preemptions=int(sum(request.num_preemptions)),
            age_s=(self._clock_ps - int(request.arrival_ps)) / PS_PER_S,
            command=command,
            is_allowed=command >= 0 and bool(self._mask[command]),
            is_new=admitted >= self._first_new_seq,
        )
