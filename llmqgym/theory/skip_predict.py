"""SkipPredict: a cheap bit for every job, an expensive prediction only for those it calls long.

Shahout and Mitzenmacher, arXiv 2402.03564, in its external-cost model (predictions take no time on the server);
reference 3.4. All in mean jobs.
"""

from __future__ import annotations

import numpy as np

from llmqgym.checks import check_real
from llmqgym.theory.density import Thinned
from llmqgym.theory.joint import joint_of
from llmqgym.theory.laws import Law
from llmqgym.theory.load import check_load
from llmqgym.theory.predictions import PERFECT, Prediction
from llmqgym.theory.quadrature import Floats
from llmqgym.theory.size_based import by_remaining


def skip_predict(
    law: Law,
    load: float,
    prediction: Prediction = PERFECT,
    *,
    threshold: float = 1.0,
    cheap: Prediction | None = None,
    cheap_cost: float = 0.0,
    expensive_cost: float = 0.0,
) -> float:
    """Mean response plus the cost of the predictions a job buys: cheap_cost + expensive_cost P(predicted long).

    Jobs predicted at most `threshold` are short: first, in order, not preemptible; the others are served below them
    by SPRPT on `prediction`. `cheap` makes the bit, independently of `prediction` given the size; None takes both
    from the same Y. Raises InputError for a load outside (0, 1) or a threshold that is not positive.
    """
    load = check_load(load)
    threshold = check_real("threshold", threshold, 1e-9, 1e9)
    share, work, square = short_jobs(law, cheap or prediction, threshold)
    short = work + share * load * square / (2 * (1 - load * work))
    if cheap is None:
        joint = joint_of(law, prediction, (threshold,))
        below, start = joint.below, threshold
    else:
        joint = joint_of(Thinned(law, cheap, threshold), prediction)
        below, start = joint.below + np.array([[share], [work], [square]]), 0.0
    long = by_remaining(joint, load, 1.0, load * below[1], below[2], start=start, base=load * work)
    return short + long + cheap_cost + expensive_cost * (1 - share)


def short_jobs(law: Law, cheap: Prediction, threshold: float) -> tuple[float, float, float]:
    """Share, work and second moment of the jobs predicted short: E[X^k; Y <= threshold] for k = 0, 1, 2."""
    below: Floats = joint_of(law, cheap).moments(np.array([threshold]))[:, 0]
    share, work, square = (float(value) for value in below)
    return share, work, square
