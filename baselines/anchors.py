"""The anchor at the bottom: any feasible order."""

from __future__ import annotations

from typing import Any

from llmqgym.checks import check_count
from llmqgym.kernel.hashing import uniform
from llmqgym.policy import Policy


def drawn_key(request: Any, server: Any) -> float:
    """A number from 0 to 1 by the hash of (seed, request)."""
    return uniform(int(server.params[0]), request.id, 0)


def random_feasible(seed: int = 0) -> Policy:
    """A random order, drawn once a request from `seed`; whoever fits enters, others are tried after one that does not.

    O(1) per candidate.
    """
    return Policy(
        "random", order=drawn_key, miss="skip", params=(float(check_count("seed of random", seed, 2**50, 0)),)
    )
