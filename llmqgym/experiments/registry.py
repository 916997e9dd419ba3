"""Every experiment by name: a literal table."""

from __future__ import annotations

from llmqgym.errors import unknown
from llmqgym.experiments import certified_gap, fifo_srpt, kv_capacity, misprediction_price, preemption_overhead
from llmqgym.experiments.experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    "fifo-srpt": fifo_srpt.EXPERIMENT,
    "kv-capacity": kv_capacity.EXPERIMENT,
    "preemption-overhead": preemption_overhead.EXPERIMENT,
    "misprediction-price": misprediction_price.EXPERIMENT,
    "certified-gap": certified_gap.EXPERIMENT,
}


def find_experiment(name: str) -> Experiment:
    """Raises InputError for an unknown name, naming the nearest.

    >>> find_experiment("preemption-overhead").name
    'preemption-overhead'
    """
    if name not in EXPERIMENTS:
        raise unknown("experiment", name, EXPERIMENTS)
    return EXPERIMENTS[name]
