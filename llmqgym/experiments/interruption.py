"""One request, interrupted once at a chosen token: simulated, and reckoned pass by pass from the hardware's formula.

A request of `prompt` and `output` tokens runs on a server of its own, or beside `others` that decode all the while.
When it has `generated` tokens somebody else takes its slot for one pass; then it goes on, by recompute, restart, swap
or hold. What hold takes is the interruption itself; what another mode takes longer is the price of that mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware.integers import IntegerProfile
from llmqgym.policy import MODES, Policy
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests

OTHER, INTERRUPTED, INTRUDER = 0, 1, 2  # tenants


@dataclass(frozen=True)
class Interruption:
    """Who is interrupted, where, and beside how many. Lengths in tokens; `others` have prompts of `others_prompt`, all
    of which fit into one pass, and outlive the interrupted request. Raises InputError for what cannot be run."""

    prompt: int
    output: int
    generated: int
    others: int = 0
    others_prompt: int = 64
    budget: int = 2048

    def __post_init__(self) -> None:
        if not 1 <= self.generated < self.output:
            raise InputError(
                f"generated is {self.generated}: a request of {self.output} output tokens can be interrupted after 1 "
                f"to {self.output - 1}."
            )
        if self.others * self.others_prompt > self.budget or self.others >= self.budget:
            raise InputError(
                f"{self.others} others with prompts of {self.others_prompt} tokens do not fit into a pass of "
                f"{self.budget}: raise the budget, or take fewer."
            )

    @property
    def context(self) -> int:
        """KV tokens that it holds when it is interrupted."""
        return self.prompt + self.generated - 1

    @property
    def others_output(self) -> int:
        """More passes than the interrupted request can take in any mode."""
        chunks = -(-(self.prompt + self.output) // (self.budget - self.others))
        return 2 * (self.output + chunks) + 8


@dataclass(frozen=True)
class Finishes:
    """When the interrupted request and each of the others finish, ps (None where there are none), and how many of its
    tokens were lost."""

    own_ps: int
    others_ps: int | None
    lost_tokens: int


def gives_way(running: Any, candidate: Any, server: Any) -> float:
    """PREEMPT: the interrupted request, to the intruder, at its token and at no other."""
    meant = running.tenant == INTERRUPTED and candidate.tenant == INTRUDER
    return 1.0 if meant and running.generated_tokens == server.params[0] else 0.0


def simulated(case: Interruption, profile: IntegerProfile, mode: str) -> Finishes:
    """What the kernel makes of it. Raises InputError for a KV cache in which not all find room at once."""
    _check_room(case, profile)
    server = ServerConfig(max_running=case.others + 1, max_batched_tokens=case.budget, block_size=profile.block_size)
    policy = Policy("interruption", preempt=gives_way, preempt_mode=mode, params=(float(case.generated),))
    simulator = Simulator(server, profile, policy)
    simulator.run(iter([_requests(case)]))
    rows = simulator.departures()
    own = rows[rows["tenant"] == INTERRUPTED][0]
    others = rows[rows["tenant"] == OTHER]
    counts = own["num_preemptions"].tolist()
    assert counts[MODES[mode]] == sum(counts) == 1, f"preempted {counts} times, not once by {mode}"
    return Finishes(
        int(own["finish_ps"]), int(others["finish_ps"].max()) if len(others) else None, int(own["lost_tokens"])
    )


def _requests(case: Interruption) -> Any:
    """The others first; the interrupted and, behind it, the intruder come while they are in their first pass."""
    late = int(case.others > 0)
    return make_requests(
        arrival_ps=[0] * case.others + [late, late],
        prompt_tokens=[case.others_prompt] * case.others + [case.prompt, 1],
        output_tokens=[case.others_output] * case.others + [case.output, 1],
        tenant=[OTHER] * case.others + [INTERRUPTED, INTRUDER],
    )


def _check_room(case: Interruption, profile: IntegerProfile) -> None:
    size = profile.block_size
    blocks = -(-(case.prompt + case.output) // size) + 1
    blocks += case.others * -(-(case.others_prompt + case.others_output) // size)
    if blocks > profile.num_kv_blocks:
        raise InputError(
            f"a context of {case.context} tokens beside {case.others} others takes {blocks} KV blocks, and there are "
            f"{profile.num_kv_blocks}: take a shorter one, or a larger GPU."
        )


def reckoned(case: Interruption, profile: IntegerProfile, mode: str) -> Finishes:
    """The same from docs/model.md by hand: the passes that have to be made, one after the other, and how long each
    is. Nothing of the simulator is used but the formula of a pass."""
    clock = own_ps = 0
    num_passes = 0
    for duration_ps, finished in _passes(case, profile, mode):
        clock, num_passes = clock + duration_ps, num_passes + 1
        own_ps = clock if finished else own_ps
    while case.others and num_passes < case.others_output:
        clock += profile.iteration_ps(0, 0, case.others, _others_hold(case, num_passes))
        num_passes += 1
    lost = case.context if mode in ("recompute", "restart") else 0
    return Finishes(own_ps, clock if case.others else None, lost)


def _passes(case: Interruption, profile: IntegerProfile, mode: str) -> Iterator[tuple[int, bool]]:
    """How long each pass up to the end of the interrupted request lasts, and whether it is its last."""
    done = 0  # passes
    if case.others:
        size = case.others_prompt
        yield profile.iteration_ps(case.others * size, case.others * size * size, 0, 0), False
        done += 1
    own = [*_prefill(case, case.prompt), *_decodes(case, case.prompt, case.generated - 1)]
    again = {
        "hold": _decodes(case, case.context, case.output - case.generated),
        "swap": _decodes(case, case.context, case.output - case.generated),
        "recompute": [
            *_prefill(case, case.context + 1),
            *_decodes(case, case.context + 1, case.output - case.generated - 1),
        ],
        "restart": [*_prefill(case, case.prompt), *_decodes(case, case.prompt, case.output - 1)],
    }[mode]
    moved_ps = -(-case.context // profile.block_size) * profile.swap_block_ps if mode == "swap" else 0
    # The intruder computes a prompt of one token; whoever leaves or comes back is moved before the pass that follows.
    moved = [((1, 1, 0, 0), moved_ps), (again[0], moved_ps)]
    parts = [*((part, 0) for part in own), *moved, *((part, 0) for part in again[1:])]
    for place, ((prefill, two_f, decodes, held), extra_ps) in enumerate(parts):
        batch = case.others + decodes
        kv = _others_hold(case, done) + held
        yield profile.iteration_ps(prefill, two_f, batch, kv) + extra_ps, place == len(parts) - 1
        done += 1


Part = tuple[int, int, int, int]  # of a pass: tokens in prefill, 2F, decodes, KV tokens that these hold


def _prefill(case: Interruption, tokens: int) -> list[Part]:
    """A prompt in chunks of what the others leave of the budget."""
    parts, room = [], case.budget - case.others
    for computed in range(0, tokens, room):
        chunk = min(room, tokens - computed)
        parts.append((chunk, chunk * (2 * computed + chunk), 0, 0))
    return parts


def _decodes(case: Interruption, context: int, num: int) -> list[Part]:
    """So many tokens, the first at a context."""
    return [(0, 0, 1, context + place) for place in range(num)]


def _others_hold(case: Interruption, done: int) -> int:
    """KV tokens of the others before the pass that follows `done` passes: their prompts, and a token a pass since."""
    return case.others * (case.others_prompt + done - 1) if case.others else 0


def recompute_ps(context: int, profile: IntegerProfile, budget: int) -> int:
    """What recompute costs the interrupted request on an idle server: the passes in which its context and its last
    token are computed again, less the decode in which that token would have been read.

    >>> from llmqgym.hardware import load_profile
    >>> recompute_ps(9, load_profile("linear:base_ms=1,token_ms=0.5").to_integers(16), 2048) / 1e9
    4.5
    """
    case = Interruption(prompt=context, output=2, generated=1, budget=budget)
    again = sum(profile.iteration_ps(*part) for part in _prefill(case, context + 1))
    return again - profile.iteration_ps(0, 0, 1, context)


def swap_ps(context: int, profile: IntegerProfile) -> int:
    """What swap costs it: its blocks out and in."""
    return 2 * -(-context // profile.block_size) * profile.swap_block_ps


def break_even_tokens(profile: IntegerProfile, budget: int, most: int) -> int | None:
    """The smallest context, a whole number of blocks, from which on up to `most` tokens swap costs less than recompute
    on an idle server; None where recompute is the cheaper one at the end."""
    found = None
    for context in range(most - most % profile.block_size, 0, -profile.block_size):
        if swap_ps(context, profile) >= recompute_ps(context, profile, budget):
            break
        found = context
    return found
