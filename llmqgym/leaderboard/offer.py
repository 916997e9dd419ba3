"""What a workload tells of its requests, and whether that is what a contestant needs."""

from __future__ import annotations

import numpy as np

from llmqgym.leaderboard.contestant import Contestant
from llmqgym.workload.predictors import apply_predictor
from llmqgym.workload.workload import Workload

#: What may be missing, and how the reason is put where it is. All other needs every workload meets.
_MISSING = {
    "point prediction": "no request has a prediction: give a predictor",
    "distribution": "no request has a prediction: give a predictor",
    "interval": "predictions have no bounds: give the predictor 'interval'",
    "deadlines": "requests have no limits",
    "tenants": "there is one tenant",
    "priority": "all requests have one priority",
    "prefix": "prompts share no prefix, or the server caches none",
}


def offers_of(workload: Workload, predictor: str | None, *, prefix_caching: bool) -> frozenset[str]:
    """The needs of _MISSING that requests of `workload` meet, with the predictions of a spec (None: their own).

    >>> from llmqgym.workload.generate import poisson_lognormal
    >>> sorted(offers_of(poisson_lognormal(100, 1.0, 0), "interval:low=0.5,high=2", prefix_caching=False))
    ['distribution', 'interval', 'point prediction']
    """
    table = workload if predictor is None else apply_predictor(workload, predictor, 0)
    requests = table.requests
    limits = np.stack([requests[f"{name}_limit_ps"] for name in ("ttft", "tpot", "e2e")])
    predicted = bool((~np.isnan(requests["predicted_output_tokens"])).any())
    found = {
        "point prediction": predicted,
        "distribution": predicted,
        "interval": bool((~np.isnan(requests["predicted_upper_tokens"])).any()),
        "deadlines": bool((limits >= 0).any()),
        "tenants": len(np.unique(requests["tenant"])) > 1,
        "priority": len(np.unique(requests["priority"])) > 1,
        "prefix": prefix_caching and (table.hashes is not None or bool((requests["prefix_group"] >= 0).any())),
    }
    return frozenset(name for name, there in found.items() if there)


def reason_to_stay_out(contestant: Contestant, offers: frozenset[str]) -> str | None:
    """Why the contestant cannot show there what it is for; None if it can."""
    missing = [need for need in contestant.needs if need in _MISSING and need not in offers]
    return f"needs {missing[0]}: {_MISSING[missing[0]]}" if missing else None
