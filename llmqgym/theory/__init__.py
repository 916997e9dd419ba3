"""Closed forms of queueing theory: mean response on one server with Poisson arrivals, and bounds on throughput."""

from llmqgym.theory.blind import fcfs, las
from llmqgym.theory.density import Density
from llmqgym.theory.laws import LAWS, Law, Lognormal, Weibull, exponential, make_law
from llmqgym.theory.one_bit import best_threshold, one_bit
from llmqgym.theory.predictions import PERFECT, PREDICTIONS, Prediction, make_prediction
from llmqgym.theory.registry import POLICIES, mean_response
from llmqgym.theory.size_based import psjf, pspjf, sjf, spjf, sprpt, srpt, trail
from llmqgym.theory.skip_predict import skip_predict
from llmqgym.theory.throughput import (
    flow_control_tokens,
    kv_bound,
    memory_time,
    multi_bin,
    multi_bin_uniform,
    power_of_d,
    token_bound,
)

__all__ = [
    "LAWS",
    "PERFECT",
    "POLICIES",
    "PREDICTIONS",
    "Density",
    "Law",
    "Lognormal",
    "Prediction",
    "Weibull",
    "best_threshold",
    "exponential",
    "fcfs",
    "flow_control_tokens",
    "kv_bound",
    "las",
    "make_law",
    "make_prediction",
    "mean_response",
    "memory_time",
    "multi_bin",
    "multi_bin_uniform",
    "one_bit",
    "power_of_d",
    "psjf",
    "pspjf",
    "sjf",
    "skip_predict",
    "spjf",
    "sprpt",
    "srpt",
    "token_bound",
    "trail",
]
