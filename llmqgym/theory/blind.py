"""Policies blind to sizes: first come first served, and least attained service."""

from __future__ import annotations

from llmqgym.theory.joint import joint_of
from llmqgym.theory.laws import Law
from llmqgym.theory.load import check_load
from llmqgym.theory.predictions import PERFECT, Prediction


def fcfs(law: Law, load: float, prediction: Prediction = PERFECT) -> float:
    """Mean response of M/G/1 FCFS, in mean jobs (Pollaczek, Khinchine). The prediction is not looked at.

    >>> from llmqgym.theory.laws import exponential
    >>> round(fcfs(exponential(), 0.9), 6)
    10.0
    """
    load = check_load(load)
    return 1 + load * law.second_moment / (2 * (1 - load))


def las(law: Law, load: float, prediction: Prediction = PERFECT) -> float:
    """Mean response of M/G/1 least attained service (foreground-background), in mean jobs.

    A job of size x meets the others cut off at x: E[T(x)] = load E[min(X, x)^2] / (2 (1 - load_x)^2) + x / (1 - load_x)
    with load_x = load E[min(X, x)] (Schrage 1967; reference 3.0). The prediction is not looked at.
    """
    load = check_load(load)
    joint = joint_of(law, PERFECT)
    x = joint.y
    longer = law.sf(x)
    slack = 1 - load * (joint.below[1] + x * longer)
    wait = load * (joint.below[2] + x**2 * longer) / 2 / slack**2
    return joint.mean(wait + x / slack)
