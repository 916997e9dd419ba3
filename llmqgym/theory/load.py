"""Load: the share of time a server is busy, checked once for every formula."""

from __future__ import annotations

from numbers import Real

from llmqgym.errors import InputError


def check_load(load: object) -> float:
    """A load in (0, 1); raises InputError, for at 1 and above no queue settles."""
    if isinstance(load, bool) or not isinstance(load, Real) or not 0 < float(load) < 1:
        raise InputError(f"load is {load!r}: give a number between 0 and 1, both excluded; from 1 on the queue grows.")
    return float(load)
