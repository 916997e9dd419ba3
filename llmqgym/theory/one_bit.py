"""One bit: jobs are told apart as short or long, by size or by predicted size, and the short go first.

Formulas of Mitzenmacher, "Queues with Small Advice" (arXiv 2006.15463), and of priority queues; reference 3.3. The bit
is Y < threshold with Y of the prediction, so the true bit is that of `PERFECT`. All in mean jobs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
from scipy.optimize import minimize_scalar

from llmqgym.checks import check_real
from llmqgym.errors import unknown
from llmqgym.theory.joint import joint_of
from llmqgym.theory.laws import Law
from llmqgym.theory.load import check_load
from llmqgym.theory.predictions import PERFECT, Prediction
from llmqgym.theory.quadrature import Floats

#: A formula: load, E[X^2], and the short jobs' share, work and second moment [3, n], give the mean response [n].
Formula = Callable[[float, float, Floats], Floats]


def _no_preemption(load: float, second: float, short: Floats) -> Floats:
    share, work, _ = short
    response: Floats = 1 + load * second / 2 * (share + (1 - share) / (1 - load)) / (1 - load * work)
    return response


def _long(load: float, second: float, short: Floats) -> Floats:
    """What preempted long jobs add: their share of wait, and their time from start to end."""
    share, work, _ = short
    response: Floats = (1 - share) * load * second / 2 / (1 - load) / (1 - load * work) + (1 - work) / (1 - load * work)
    return response


def _front(load: float, second: float, short: Floats) -> Floats:
    work = short[1]
    response: Floats = _long(load, second, short) + work / (1 - load * work)
    return response


def _in_order(load: float, second: float, short: Floats) -> Floats:
    share, work, square = short
    response: Floats = _long(load, second, short) + work + share * load * square / (2 * (1 - load * work))
    return response


VARIANTS: Mapping[str, Formula] = {"no-preemption": _no_preemption, "front": _front, "in-order": _in_order}


def one_bit(
    law: Law,
    load: float,
    prediction: Prediction = PERFECT,
    *,
    threshold: float | None = None,
    error_short: float = 0.0,
    error_long: float = 0.0,
    variant: str = "front",
) -> float:
    """Mean response with one bit of advice; threshold None takes the best one.

    Variants: `no-preemption`, short jobs first; `front`, a short job preempts all, short ones included (LCFS-PR,
    the paper's); `in-order`, short jobs preempt long ones and wait for each other. Long jobs are served in order.
    `error_short` and `error_long` are the shares of each whose bit is flipped. Raises InputError for an unknown
    variant, a load outside (0, 1), or a share outside [0, 1].
    """
    if threshold is None:
        threshold = best_threshold(
            law, load, prediction, error_short=error_short, error_long=error_long, variant=variant
        )
    threshold = check_real("threshold", threshold, 0, 1e300)
    short = joint_of(law, prediction).moments(np.array([max(threshold, 1e-300)]))
    advised = _flipped(law, short, error_short, error_long)
    return float(_formula(variant)(check_load(load), law.second_moment, advised)[0])


def best_threshold(
    law: Law,
    load: float,
    prediction: Prediction = PERFECT,
    *,
    error_short: float = 0.0,
    error_long: float = 0.0,
    variant: str = "front",
) -> float:
    """The threshold of the least mean response: the best node of the table, refined between its neighbours."""
    load, formula, joint = check_load(load), _formula(variant), joint_of(law, prediction)

    def response(short: Floats) -> Floats:
        return formula(load, law.second_moment, _flipped(law, short, error_short, error_long))

    best = int(np.argmin(response(joint.below)))
    low, high = joint.y[max(best - 1, 0)], joint.y[min(best + 1, len(joint.y) - 1)]
    found = minimize_scalar(
        lambda u: float(response(joint.moments(np.array([math.exp(u)])))[0]),
        bounds=(math.log(low), math.log(high)),
        method="bounded",
    )
    return math.exp(found.x)


def _formula(variant: str) -> Formula:
    if variant not in VARIANTS:
        raise unknown("variant of one bit", variant, VARIANTS)
    return VARIANTS[variant]


def _flipped(law: Law, short: Floats, error_short: float, error_long: float) -> Floats:
    """Share, work and second moment [3, n] of the jobs whose bit, after flips, says short."""
    check_real("error_short", error_short, 0, 1)
    check_real("error_long", error_long, 0, 1)
    total = np.array([[law.moment(order)] for order in range(3)])
    return (1 - error_short) * short + error_long * (total - short)
