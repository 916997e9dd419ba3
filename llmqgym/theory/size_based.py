"""Policies that order by size or by predicted size: SJF, SPJF, PSJF, PSPJF, SRPT, SPRPT and TRAIL(C).

Formulas of Mitzenmacher, "Scheduling with Predictions and the Price of Misprediction" (arXiv 1902.00732), derived by
SOAP; with the notation load_y = load E[X; Y <= y] of the work predicted at most y. All in mean jobs.
"""

from __future__ import annotations

import math

import numpy as np

from llmqgym.checks import check_real
from llmqgym.theory.joint import Joint, joint_of
from llmqgym.theory.laws import Law
from llmqgym.theory.load import check_load
from llmqgym.theory.predictions import PERFECT, Prediction
from llmqgym.theory.quadrature import Floats


def spjf(law: Law, load: float, prediction: Prediction = PERFECT) -> float:
    """Shortest predicted job first, not preemptive: E[W | y] = load E[X^2] / (2 (1 - load_y)^2)."""
    load, joint = check_load(load), joint_of(law, prediction)
    return 1 + load * law.second_moment / 2 * joint.mean((1 - load * joint.below[1]) ** -2)


def pspjf(law: Law, load: float, prediction: Prediction = PERFECT) -> float:
    """Shortest predicted job first, preemptive.

    E[T | x, y] = load E[X^2; Y <= y] / (2 (1 - load_y)^2) + x / (1 - load_y). The second term has the mean
    ln(1 / (1 - load)) / load, whatever the laws: load E[X; Y in dy] is the step of load_y.
    """
    load, joint = check_load(load), joint_of(law, prediction)
    _, work, square = joint.below
    return load / 2 * joint.mean(square / (1 - load * work) ** 2) - math.log1p(-load) / load


def sprpt(law: Law, load: float, prediction: Prediction = PERFECT) -> float:
    """Shortest predicted remaining time first; a job that outlives its prediction is never preempted again."""
    return trail(law, load, prediction, cutoff=1.0)


def trail(law: Law, load: float, prediction: Prediction = PERFECT, *, cutoff: float = 0.8) -> float:
    """TRAIL's limited preemption (arXiv 2410.01035): SPRPT, but not preemptible from age cutoff * y on.

    E[T | x, y] = load / 2 (E[X^2; Y <= y] + recycled) / (1 - load_y)^2 + integral of da / (1 - load_{y - a}) over the
    preemptible ages a + the rest of x (`Remaining` of joint.py; reference 3.2). Cutoff 1 is SPRPT, 0 is SPJF.
    Raises InputError for a cutoff outside [0, 1].
    """
    load, joint = check_load(load), joint_of(law, prediction)
    cutoff = check_real("cutoff", cutoff, 0, 1)
    return by_remaining(joint, load, cutoff, load * joint.below[1], joint.below[2])


def by_remaining(
    joint: Joint, load: float, cutoff: float, busy: Floats, square: Floats, *, start: float = 0.0, base: float = 0.0
) -> float:
    """E[T; Y > start] where predicted remaining time ranks the jobs of `joint` that are predicted above `start`.

    `busy` [n] is the load and `square` [n] E[X^2] of what is served before rank y, others than these jobs included.
    Once below rank `start` a job waits for a load of `base` only. The nodes of `joint` have a cut at `start`.
    """
    table, after = joint.remaining(cutoff), joint.y > start
    wait = load / 2 * (square + table.recycled) / (1 - busy) ** 2
    work = joint.law.moment(1) - (float(joint.moments(np.array([start]))[1, 0]) if start > 0 else 0.0)
    slower = 1 / (1 - busy) - 1 / (1 - base)
    return joint.mean(wait * after) + work / (1 - base) + float((table.at_rank * slower * joint.dy)[after].sum())


def sjf(law: Law, load: float, prediction: Prediction = PERFECT) -> float:
    """Shortest job first, not preemptive, by true sizes whatever the prediction (Phipps 1956)."""
    return spjf(law, load)


def psjf(law: Law, load: float, prediction: Prediction = PERFECT) -> float:
    """Shortest job first, preemptive, by true sizes whatever the prediction."""
    return pspjf(law, load)


def srpt(law: Law, load: float, prediction: Prediction = PERFECT) -> float:
    """Shortest remaining processing time, by true sizes whatever the prediction: the optimum (Schrage 1968)."""
    return sprpt(law, load)
