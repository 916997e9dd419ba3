"""Wrappers around the environment, one file each; Vector... are for vector environments."""

from llmqgym.env.wrappers.difference_to_reference import DifferenceToReference, VectorDifferenceToReference
from llmqgym.env.wrappers.oracle_observation import OracleObservation
from llmqgym.env.wrappers.rllib_observation import RLlibObservation
from llmqgym.env.wrappers.time_discount import TimeDiscount, VectorTimeDiscount, discounted_returns

__all__ = [
    "DifferenceToReference",
    "OracleObservation",
    "RLlibObservation",
    "TimeDiscount",
    "VectorDifferenceToReference",
    "VectorTimeDiscount",
    "discounted_returns",
]
