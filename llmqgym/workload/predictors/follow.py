"""Follow: what refreshed predictions are worth while requests run, from the very functions of the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmqgym.kernel import tables
from llmqgym.kernel.memory import address_of
from llmqgym.kernel.refreshing import FOLLOWED, follow
from llmqgym.workload.predictors.predictor import Floats, Ints, Looks


def follow_requests(output_tokens: Ints, first: Floats, looks: Looks) -> dict[str, Any]:
    """Errors of the estimates of what remains, for requests of `output_tokens` [n] with first predictions `first` [n].

    `first_mae`, `mae`, `bias`: of the first estimates, of the refreshed ones (all of them, over all requests), and of
    the latter the mean error, tokens. `classifier_mae`: of the looks alone, without what was believed before.
    `by_tokens`: the MAE after so many generated tokens. `worst_sum`: how far a posterior's sum is from 1.
    """
    simulators = np.zeros(1, tables.SIMULATOR)
    rule = np.zeros(1, tables.REFRESHING)
    for name in tables.REFRESHING.names or ():
        rule[name] = getattr(looks, name)
    rows = {
        "requests": np.zeros(1, tables.REQUEST),
        "hidden": np.zeros(1, tables.HIDDEN),
        "estimates": np.zeros(1, tables.ESTIMATE),
    }
    for name, array in {**rows, "refreshing": rule}.items():
        setattr(simulators[0], name, address_of(array))
    most = max(int(output_tokens.max()) // looks.every, 1)
    sums = np.zeros((most + 1, len(FOLLOWED)))
    follow(simulators, 0, output_tokens, first, sums)
    figures = {name: sums[1:, place] for place, name in enumerate(FOLLOWED)}
    num = max(figures["num"].sum(), 1)
    known = ~np.isnan(first)
    at = [number for number in (1, 2, 4, 8, 16, 32, 64) if number <= most and sums[number, 0]]
    return {
        "every": looks.every,
        "num_looks": int(figures["num"].sum()),
        "first_mae": float(np.abs(first - output_tokens)[known].mean()) if known.any() else float("nan"),
        "mae": float(figures["absolute"].sum() / num),
        "bias": float(figures["error"].sum() / num),
        "classifier_mae": float(figures["classifier"].sum() / num),
        "bin_accuracy": float(figures["right"].sum() / num),
        "by_tokens": {number * looks.every: float(sums[number, 1] / sums[number, 0]) for number in at},
        "worst_sum": float(sums[:, FOLLOWED.index("worst_sum")].max()),
    }
