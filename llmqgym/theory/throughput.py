"""Throughput and balance: power of d choices, batches run to completion, and bounds by tokens and by KV cache."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from llmqgym.checks import check_count, check_real
from llmqgym.errors import InputError
from llmqgym.theory.laws import Law
from llmqgym.theory.load import check_load
from llmqgym.theory.quadrature import log_edges, log_nodes


def power_of_d(load: float, choices: int = 2) -> float:
    """Mean response of exponential FCFS servers where a job joins the shortest of `choices` drawn ones, many servers.

    Mean field of Vvedenskaya, Dobrushin and Karpelevich 1996, Mitzenmacher 1996: the sum over i >= 1 of
    load^((d^i - d) / (d - 1)); d = 1 is M/M/1.

    >>> round(power_of_d(0.9), 4)
    2.6141
    """
    load, d = check_load(load), check_count("choices", choices, 1000)
    total, exponent, term = 0.0, 0, 1.0
    while term > 1e-18 * total:
        total += term
        exponent = d * (exponent + 1)  # (d^i - d) / (d - 1) of the next i
        term = load**exponent if exponent < 10**6 / (1 - load) else 0.0
    return total


def multi_bin_uniform(batch: int, num_bins: int, low: float, high: float) -> float:
    """Requests per unit of time of batches of `batch` run to completion, bins of equal chance, service U[low, high].

    A batch lasts as long as its longest request: batch / ((low + high) / 2 + (high - low) (batch - 1) /
    (2 num_bins (batch + 1))) (multi-bin batching, arXiv 2412.04504).

    >>> round(multi_bin_uniform(128, 8, 1, 20) / multi_bin_uniform(128, 1, 1, 20), 3)
    1.701
    """
    batch, num_bins = check_count("batch", batch, 10**6), check_count("num_bins", num_bins, 10**6)
    low, high = check_real("low", low, 0, 1e12), check_real("high", high, 0, 1e12)
    if not low <= high or high <= 0:
        raise InputError(f"service is from {low:g} to {high:g}: give low <= high, and high above 0.")
    return batch / ((low + high) / 2 + (high - low) / 2 * (batch - 1) / (batch + 1) / num_bins)


def multi_bin(law: Law, batch: int, num_bins: int) -> float:
    """The same for any law of service with mean 1: batch over the mean, over bins, of the longest of `batch` in it."""
    batch, num_bins = check_count("batch", batch, 10**4), check_count("num_bins", num_bins, 10**4)
    low, high = law.support
    inner = [_quantile(law, k / num_bins) for k in range(1, num_bins)]
    edges = [low, *inner, high]
    longest = 0.0
    for k, (start, end) in enumerate(pairwise(edges)):
        x, dx = log_nodes(log_edges(start, end, max(4 / batch, 0.01), law.breaks))
        within = np.clip(law.partial_moment(0, x) * num_bins - k, 0.0, 1.0)
        longest += start + float(((1 - within**batch) * dx).sum())
    return batch * num_bins / longest


def _quantile(law: Law, share: float) -> float:
    low, high = (math.log(bound) for bound in law.support)
    return math.exp(brentq(lambda u: float(law.partial_moment(0, np.exp(np.array(u)))) - share, low, high, xtol=1e-13))


def memory_time(prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> NDArray[np.float64]:
    """Tokens times iterations [n] that requests hold: s o + o (o + 1) / 2, a token kept from when it is made.

    >>> memory_time(10, 60).tolist()
    2430.0
    """
    s, o = np.asarray(prompt_tokens, np.float64), np.asarray(output_tokens, np.float64)
    if s.size == 0 or o.size == 0 or not (s >= 0).all() or not (o >= 1).all():
        raise InputError("prompts and outputs must be given, prompts of 0 tokens and more, outputs of 1 and more.")
    return s * o + o * (o + 1) / 2


def kv_bound(kv_capacity_tokens: float, prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> float:
    """Most requests per iteration that a KV cache can sustain: capacity over the mean memory-time (Little's law).

    Necessary for stability, whatever the policy (reference 6.3).

    >>> round(kv_bound(16492, 10, 60), 3)
    6.787
    """
    capacity = check_real("kv_capacity_tokens", kv_capacity_tokens, 1, 1e15)
    return capacity / float(np.mean(memory_time(prompt_tokens, output_tokens)))


def flow_control_tokens(admitted: ArrayLike, prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> float:
    """Tokens of KV that suffice when each class k admits at most `admitted[k]` requests an iteration.

    Dong and Cao (arXiv 2604.11001): the sum of admitted times memory-time; reached in the steady state.

    >>> flow_control_tokens([4, 4, 4], [10, 10, 10], [20, 40, 60])
    16240.0
    """
    return float(np.sum(np.asarray(admitted, np.float64) * memory_time(prompt_tokens, output_tokens)))


def token_bound(max_batched_tokens: int, iteration_s: float, tokens_per_request: float) -> float:
    """Most requests per second by the token budget: budget / iteration time / mean tokens of a request.

    Dai, Deng, Li and Peng (arXiv 2504.07347): a work-conserving scheduler is stable below it, none above;
    `iteration_s` is that of a full budget, `tokens_per_request` prompt and output together.

    >>> round(token_bound(512, 0.15316, 200), 3)
    16.715
    """
    budget = check_count("max_batched_tokens", max_batched_tokens, 10**9)
    seconds = check_real("iteration_s", iteration_s, 1e-12, 1e9)
    return budget / seconds / check_real("tokens_per_request", tokens_per_request, 1, 1e12)
