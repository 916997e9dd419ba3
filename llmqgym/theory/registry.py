"""Every policy with a closed form, by name: a literal table, and the mean response of a spec."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import cast

from llmqgym.specs import build, parse_spec
from llmqgym.theory.blind import fcfs, las
from llmqgym.theory.laws import Law
from llmqgym.theory.one_bit import one_bit
from llmqgym.theory.predictions import PERFECT, Prediction
from llmqgym.theory.size_based import psjf, pspjf, sjf, spjf, sprpt, srpt, trail
from llmqgym.theory.skip_predict import skip_predict


@dataclass(frozen=True)
class Entry:
    """A policy: its formula called as formula(law, load, prediction, **settings), and what the list says of it."""

    formula: Callable[..., float]
    summary: str
    uses_prediction: bool = True


POLICIES: Mapping[str, Entry] = {
    "fcfs": Entry(fcfs, "first come first served", uses_prediction=False),
    "las": Entry(las, "least attained service", uses_prediction=False),
    "sjf": Entry(sjf, "shortest true job first", uses_prediction=False),
    "spjf": Entry(spjf, "shortest predicted job first"),
    "psjf": Entry(psjf, "preemptive shortest true job first", uses_prediction=False),
    "pspjf": Entry(pspjf, "preemptive shortest predicted job first"),
    "srpt": Entry(srpt, "shortest true remaining time first", uses_prediction=False),
    "sprpt": Entry(sprpt, "shortest predicted remaining time first"),
    "trail": Entry(trail, "sprpt, not preemptible from age cutoff * prediction on"),
    "one-bit": Entry(one_bit, "predicted short first, by variant: no-preemption, front, in-order"),
    "skip-predict": Entry(skip_predict, "a cheap bit for all, predicted remaining time for the long"),
}


def mean_response(policy: str, law: Law, load: float, prediction: Prediction = PERFECT) -> float:
    """Mean response, in mean jobs, of the policy of a spec NAME:k=v,.. on one server with Poisson arrivals.

    Raises InputError for an unknown name or setting, or a value out of bounds.

    >>> from llmqgym.theory.laws import make_law
    >>> round(mean_response("trail:cutoff=1", make_law("exponential"), 0.8), 4)
    2.3528
    """
    name, _ = parse_spec(policy)
    makers = {known: partial(entry.formula, law, load, prediction) for known, entry in POLICIES.items()}
    return cast(float, build("policy", policy, {name: makers[name]} if name in makers else makers))
