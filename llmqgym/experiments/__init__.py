"""Studies of scheduling on the simulated server: one file an experiment, a function from settings to a document."""

from llmqgym.experiments.experiment import Experiment
from llmqgym.experiments.registry import EXPERIMENTS, find_experiment

__all__ = ["EXPERIMENTS", "Experiment", "find_experiment"]
