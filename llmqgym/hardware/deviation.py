"""How far made profiles are from others, over a fixed set of iterations: the known error of what is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from llmqgym.hardware.documents import named_profiles
from llmqgym.hardware.integers import IntegerProfile
from llmqgym.hardware.profile import HardwareProfile
from llmqgym.hardware.registry import load_profile

#: (prefill tokens, decode batch, tokens of each decode) of every kind of iteration.
ITERATIONS: dict[str, list[tuple[int, int, int]]] = {
    "decode": list(product((0,), (1, 8, 16, 32, 64, 128), (256, 1024, 4000))),
    "prefill": list(product((64, 128, 512, 1024, 2048, 4096), (0,), (0,))),
    "mixed": list(product((128, 512, 2048), (8, 32, 64), (256, 1024))),
}


def against_shipped(twin: Callable[[HardwareProfile], HardwareProfile]) -> dict[str, Any]:
    """Relative errors twin / shipped - 1 by kind of iteration, over all shipped profiles.

    `twin` makes the profile that is held against a shipped one; LM head and overhead are left out of both.
    Returns num_profiles and, by kind, the mean and the worst error and the mean with its sign, as fractions.
    """
    shipped = [load_profile(name) for name in named_profiles()]
    return {"num_profiles": len(shipped), **errors_over([(profile, twin(profile)) for profile in shipped])}


def errors_over(profiles: list[tuple[HardwareProfile, HardwareProfile]]) -> dict[str, Any]:
    """Errors of the second of each pair against the first, by kind of iteration: mean, max and bias, as fractions."""
    pairs = [(_bare(reference), _bare(twin)) for reference, twin in profiles]
    errors: dict[str, Any] = {}
    for kind, iterations in ITERATIONS.items():
        found = np.array([error for pair in pairs for error in _errors(*pair, iterations)])
        sizes = np.abs(found)
        errors[kind] = {"mean": float(sizes.mean()), "max": float(sizes.max()), "bias": float(found.mean())}
    return errors


def in_words(errors: dict[str, Any]) -> str:
    """The errors by kind as a phrase."""
    return "; ".join(
        "{} mean {mean:.0%}, worst {max:.0%}, bias {bias:+.0%}".format(kind, **errors[kind]) for kind in ITERATIONS
    )


def _bare(profile: HardwareProfile) -> IntegerProfile:
    return replace(profile, lm_head_ms=0.0, overhead_ms=0.0).to_integers(1)


def _errors(shipped: IntegerProfile, twin: IntegerProfile, iterations: list[tuple[int, int, int]]) -> Iterator[float]:
    for prefill, batch, context in iterations:
        if batch * context <= shipped.num_kv_blocks:
            sizes = (prefill, prefill * prefill, batch, batch * context)
            yield twin.iteration_ps(*sizes) / shipped.iteration_ps(*sizes) - 1.0
