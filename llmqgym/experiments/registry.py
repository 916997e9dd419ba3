"""Every experiment by name: a literal table."""

from __future__ import annotations

from llmqgym.errors import unknown
from llmqgym.experiments import preemption_overhead
from llmqgym.experiments.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    "preemption-overhead": preemption_overhead.EXPERIMENT,
}


def find_experiment(name: str) -> Experiment:
    """Raises InputError for an unknown name, naming the nearest.

    >>> find_experiment("preemption-overhead").name
    'preemption-overhead'
    """
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]
