"""Each policy of the theory and the baseline that plays it in the textbook queue: a literal table.

Thresholds and quanta are in mean jobs in the theory and in tokens for the baseline; preemption is by `hold`, which
loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.checks import check_real
from llmqgym.errors import InputError, unknown
from llmqgym.specs import Value, parse_spec
from llmqgym.textbook.queue import Queue
from llmqgym.theory.one_bit import best_threshold
from llmqgym.theory.predictions import PERFECT
from llmqgym.theory.registry import mean_response

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Twin:
    """How a policy of the theory is simulated.

    `spec` is the baseline's, with {settings} to be filled in. `settings` are the theory's with their defaults, a
    threshold of None being the best one; `formula` is the name in theory.registry, None where there is no formula.
    """

    spec: str
    formula: str | None
    summary: str
    settings: Mapping[str, Value | None] = field(default_factory=dict)
    true_sizes: bool = False  # the formula is that of perfect predictions
    heavy: bool | None = True  # E[X^2] matters, as a large job is not always preempted; None: where predictions err
    tokens_per_job: int | None = None  # where every pass is an event; None: as many as there may be


_BIT: Mapping[str, Value | None] = {"threshold": None, "variant": "front"}
_BIT_SPEC = "threshold={threshold},preemptive={preemptive},front={front},mode=hold"

TWINS: Mapping[str, Twin] = {
    "fcfs": Twin("fcfs", "fcfs", "first come first served"),
    "las": Twin(
        "las:quantum={quantum},mode=hold", "las", "least attained service, in turns of a quantum",
        {"quantum": 0.01}, heavy=False, tokens_per_job=10_000,
    ),
    "sjf": Twin("sjf", "sjf", "shortest true job first", true_sizes=True),
    "spjf": Twin("spjf", "spjf", "shortest predicted job first"),
    "psjf": Twin("psjf:mode=hold", "psjf", "preemptive shortest true job first", true_sizes=True, heavy=False),
    "pspjf": Twin("pspjf:mode=hold", "pspjf", "preemptive shortest predicted job first", heavy=None),
    "spt": Twin(
        "spt:mode=hold", "pspjf", "shortest first estimate first, preemptive; PSPJF as estimates stand here", heavy=None
    ),
    "srpt": Twin("srpt:mode=hold", "srpt", "shortest true remaining time first", true_sizes=True, heavy=False),
    "sprpt": Twin("sprpt:mode=hold", "sprpt", "shortest predicted remaining time first", heavy=None),
    "sprpt-bounce": Twin(
        "sprpt-bounce:mode=hold", None, "SPRPT, falling back after outliving a prediction: simulation only",
        tokens_per_job=1000,
    ),
    "trail": Twin("trail:c={cutoff},mode=hold", "trail", "SPRPT with limited preemption", {"cutoff": 0.8}),
    "one-bit": Twin(f"one-bit:{_BIT_SPEC}", "one-bit", "predicted short before predicted long", _BIT),
    "one-bit-true": Twin(f"one-bit-true:{_BIT_SPEC}", "one-bit", "truly short before long", _BIT, true_sizes=True),
    "skip-predict": Twin(
        "skip-predict:threshold={threshold},mode=hold", "skip-predict", "predicted short first, the long by SPRPT",
        {"threshold": 1.0, "cheap_cost": 0.0, "expensive_cost": 0.0},
    ),
}  # fmt: skip

#: Variants of one bit: preemptive, and whether shorts go to the front.
_VARIANTS = {"no-preemption": (False, False), "front": (True, True), "in-order": (True, False)}


@dataclass(frozen=True)
class Asked:
    """A policy of the theory as asked for in a queue: thresholds are filled in."""

    name: str
    settings: Mapping[str, Any]
    queue: Queue

    @property
    def twin(self) -> Twin:
        """Its line of the table."""
        return TWINS[self.name]

    @property
    def heavy(self) -> bool:
        """Whether the mean response depends on E[X^2]."""
        return self.twin.heavy if self.twin.heavy is not None else self.queue.prediction != PERFECT

    @property
    def label(self) -> str:
        """NAME:k=v,.. with all settings."""
        pairs = ",".join(f"{key}={_short(value)}" for key, value in self.settings.items())
        return f"{self.name}:{pairs}" if pairs else self.name

    def formula(self) -> float | None:
        """The closed form of the mean response, in mean jobs; None if there is none."""
        if self.twin.formula is None:
            return None
        pairs = ",".join(f"{key}={value!r}" for key, value in self.settings.items() if key != "quantum")
        spec = f"{self.twin.formula}:{pairs}".replace("'", "")
        prediction = PERFECT if self.twin.true_sizes else self.queue.prediction
        return mean_response(spec, self.queue.law, self.queue.load, prediction)

    def spec(self, tokens_per_job: int) -> str:
        """The baseline's spec."""
        settings = dict(self.settings)
        for name in ("threshold", "quantum"):
            if name in settings:
                settings[name] = settings[name] * tokens_per_job
        if "quantum" in settings:
            settings["quantum"] = max(round(settings["quantum"]), 1)
        if "variant" in settings:
            settings["preemptive"], settings["front"] = _VARIANTS[str(settings["variant"])]
        return self.twin.spec.format(**settings)

    def cost(self) -> Callable[[Floats], Floats] | None:
        """What a job pays for its predictions, outside the server."""
        if "cheap_cost" not in self.settings:
            return None
        threshold, cheap, expensive = (self.settings[name] for name in ("threshold", "cheap_cost", "expensive_cost"))
        return lambda predictions: cheap + expensive * (predictions > threshold)


def ask(spec: str, queue: Queue) -> Asked:
    """The policy of a spec NAME:k=v,.. in a queue.

    Raises InputError for an unknown name or setting, naming the nearest, or a value out of bounds.

    >>> from llmqgym.theory import exponential
    >>> ask("trail:cutoff=0.5", Queue(exponential(), 0.8)).spec(1000)
    'trail:c=0.5,mode=hold'
    """
    name, given = parse_spec(spec)
    name = name.lower()
    if name not in TWINS:
        raise unknown("policy", name, TWINS)
    twin = TWINS[name]
    for key in given:
        if key not in twin.settings:
            raise unknown(f"setting of policy {name!r}", key, twin.settings)
    settings: dict[str, Any] = {**twin.settings, **given}
    for key, value in settings.items():
        if key != "variant" and value is not None:
            _check(name, key, value)
    if settings.get("variant", "front") not in _VARIANTS:
        raise unknown("variant of one bit", str(settings["variant"]), _VARIANTS)
    if "threshold" in settings and settings["threshold"] is None:
        prediction = PERFECT if twin.true_sizes else queue.prediction
        settings["threshold"] = best_threshold(queue.law, queue.load, prediction, variant=settings["variant"])
    return Asked(name, settings, queue)


def _check(name: str, key: str, value: object) -> None:
    least, most = {"cutoff": (0.0, 1.0), "quantum": (1e-4, 1e3)}.get(key, (0.0, 1e9))
    if key == "threshold" and value == 0:
        raise InputError(f"threshold of {name} is 0: give more than 0, in mean jobs.")
    check_real(f"{key} of {name}", value, least, most)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
