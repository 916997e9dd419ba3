"""The terms of an agent's reward: what a step has cost. A new term is a function and a line of TERMS."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from llmqgym.kernel.division import quotient
from llmqgym.kernel.jit import helper
from llmqgym.kernel.memory import departure_at, peek_double, poke_double
from llmqgym.kernel.tables import PS_PER_S, Status

#: Below this a difference of two integrals is that of their lower words.
_ONE_WORD = 2.0**62
_UPPER = 2.0**64


@helper
def _seconds_between(total: Any, since: Any) -> float:
    """The difference of two integrals (integrals.py) in requests x seconds: exact up to the conversion."""
    difference = (total[0] - since[0]) * _UPPER + (float(np.uint64(total[1])) - float(np.uint64(since[1])))
    if difference < _ONE_WORD:
        return (total[1] - since[1]) / PS_PER_S
    return difference / PS_PER_S


@helper
def latency(sim: Any, agent: Any) -> float:
    return -_seconds_between(sim.integral_requests, agent.since_requests)


@helper
def ttft(sim: Any, agent: Any) -> float:
    return -_seconds_between(sim.integral_tokenless, agent.since_tokenless)


@helper
def _num_preemptions(sim: Any) -> int:
    num = sim.num_preemptions
    return num[0] + num[1] + num[2] + num[3]


@helper
def preemptions(sim: Any, agent: Any) -> float:
    return -float(_num_preemptions(sim) - agent.since_preemptions)


@helper
def lost_tokens(sim: Any, agent: Any) -> float:
    return -float(sim.lost_tokens - agent.since_lost_tokens)


@helper
def _missed(departure: Any) -> bool:
    """Whether a finished request missed one of its limits."""
    first_ps, finish_ps = departure.first_token_ps, departure.finish_ps
    if departure.ttft_limit_ps >= 0 and first_ps - departure.arrival_ps > departure.ttft_limit_ps:
        return True
    if departure.e2e_limit_ps >= 0 and finish_ps - departure.arrival_ps > departure.e2e_limit_ps:
        return True
    gaps = departure.output_tokens - 1
    return departure.tpot_limit_ps >= 0 and finish_ps - first_ps > departure.tpot_limit_ps * gaps


@helper
def slo_misses(sim: Any, agent: Any) -> float:
    num = 0
    for place in range(agent.since_departures, sim.num_departures):
        departure = departure_at(sim.departures, place)
        num += departure.status == Status.FINISHED and _missed(departure)
    return -float(num)


@helper
def finished(sim: Any, agent: Any) -> float:
    num = 0
    for place in range(agent.since_departures, sim.num_departures):
        num += departure_at(sim.departures, place).status == Status.FINISHED
    return float(num)


@helper
def invalid(sim: Any, agent: Any) -> float:
    return -float(agent.invalid)


@dataclass(frozen=True)
class Term:
    """A term by name: its unit, what it is, and the function that reads it off after a step."""

    name: str
    unit: str
    what: str
    value: Callable[[Any, Any], float]


TERMS = (
    Term("latency", "requests x s", "- integral of the requests in the system: in all - the times in system", latency),
    Term("ttft", "requests x s", "- integral of the requests without a token: in all - the TTFTs", ttft),
    Term("preemptions", "1", "- preemptions", preemptions),
    Term("lost_tokens", "tokens", "- tokens whose KV was thrown away", lost_tokens),
    Term("slo_misses", "1", "- requests that finished beyond one of their limits", slo_misses),
    Term("finished", "1", "requests that finished", finished),
    Term("invalid", "1", "- commands that were not allowed", invalid),
)  # fmt: skip
TERM_NAMES = tuple(term.name for term in TERMS)


def _writer() -> Any:
    """All terms of TERMS, one after the other, into agent.terms, and their weighted sum."""
    names: dict[str, Any] = {f"value_{place}": term.value for place, term in enumerate(TERMS)} | {
        "poke_double": poke_double,
        "peek_double": peek_double,
    }
    lines = ["def write_terms(sim, agent):", "    total = 0.0"]
    for place in range(len(TERMS)):
        lines += [
            f"    weight = peek_double(agent.weights, {place})",
            f"    term = value_{place}(sim, agent)",
            f"    poke_double(agent.terms, {place}, term)",
            "    total += weight * term",
        ]
    exec("\n".join([*lines, "    return total"]), names)
    return helper(names["write_terms"])


_write_terms = _writer()


@helper
def begin(sim: Any, agent: Any) -> None:
    """What is, as a step begins."""
    agent.since_ps = sim.clock_ps
    agent.since_iterations = sim.num_iterations
    for word in range(2):
        agent.since_requests[word] = sim.integral_requests[word]
        agent.since_tokenless[word] = sim.integral_tokenless[word]
    agent.since_preemptions = _num_preemptions(sim)
    agent.since_lost_tokens = sim.lost_tokens
    agent.since_departures = sim.num_departures


@helper
def settle(sim: Any, agent: Any) -> None:
    """The terms of a step that is over, its reward and how long it took."""
    agent.reward = _write_terms(sim, agent)
    agent.dt_ps = sim.clock_ps - agent.since_ps
    iterations = sim.num_iterations - agent.since_iterations
    if iterations > 0:
        agent.iteration_ps = quotient(agent.dt_ps, iterations)
