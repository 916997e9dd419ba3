"""Schedulers of serving engines: vLLM v1 and its predecessors.

Sources: vLLM 0.33 `v1/core/sched/scheduler.py`; vLLM v0 (Kwon et al., SOSP 2023); Sarathi-Serve (Agrawal et al., OSDI
2024); FasterTransformer-style static batching as in Vidur (Agrawal et al., MLSys 2024) and in rounds as in Dai et al.,
arXiv 2504.07347.
"""

from __future__ import annotations

import math
from typing import Any

from baselines.admission import reserve_declared
from baselines.shared import passes_gate
from llmqgym.policy import Policy


def priority(request: Any, server: Any) -> float:
    """vLLM's priority, lower first; ties by arrival."""
    return float(request.priority)


def least_urgent(running: Any, requester: Any, server: Any) -> float:
    """vLLM's victim under priority scheduling: the largest priority value, then the latest arrival."""
    return float(running.priority)


def vllm() -> Policy:
    """vLLM v1, --scheduling-policy fcfs: the engine's defaults and nothing else."""
    return Policy("vllm")


def vllm_priority() -> Policy:
    """vLLM v1, --scheduling-policy priority: the smallest priority value first, ties by arrival; on a shortage the
    largest leaves, ties: the latest arrival."""
    return Policy("vllm-priority", order=priority, victim=least_urgent)


def nobody_decodes(request: Any, server: Any) -> bool:
    """Newcomers enter only beside other newcomers."""
    return bool(server.num_decoding == 0) and passes_gate(request, server)


def fcfs() -> Policy:
    """First come first served, by the name that queueing theory gives it: vLLM's defaults."""
    return Policy("fcfs")


def sarathi() -> Policy:
    """Sarathi-Serve: every decode gets its token, then the prompts under way their chunks, then newcomers.

    Under a token budget at most one prompt is under way, and it was admitted last: vLLM v1's running pass, in order
    of admission, is this order (tests/baselines/test_engines.py). `max_batched_tokens` is the chunk size.
    """
    return Policy("sarathi")


def prefill_first() -> Policy:
    """vLLM v0 and SGLang: an iteration is prefill-only whenever a prefill can enter; decodes stall meanwhile.

    vLLM v0 has `chunked_prefill=false` and `watermark=0.01`.
    """
    return Policy("prefill-first", mix="prefill_first")


def latest_arrival(running: Any, requester: Any, server: Any) -> float:
    """vLLM v0's victim: it sorts the running batch by arrival and takes the last."""
    return float(running.id)


def vllm_v0() -> Policy:
    """vLLM v0: waiting requests enter by arrival while prompt and watermark fit, and then the iteration runs prefills
    only; on a shortage the latest arrival is recomputed (it swaps only beams, and a request here is one sequence).

    Its server has `chunked_prefill=false` and `watermark=0.01`. O(1) per candidate, O(running) per victim.
    """
    return Policy("vllm-v0", mix="prefill_first", victim=latest_arrival)


def orca_vidur() -> Policy:
    """Orca as Vidur models it: running requests first, then newcomers by arrival whose prompt and declared cap can be
    reserved beside everybody else's, or alone; nobody is ever preempted.

    Its server has `chunked_prefill=false`: prompts enter whole. O(running) per candidate.
    """
    return Policy("orca-vidur", fit=reserve_declared, wake=math.inf)


def ft_vidur() -> Policy:
    """FasterTransformer as Vidur models it (TensorRT-LLM's STATIC_BATCH): a batch of requests whose prompts and
    declared caps can be reserved runs until all of them are done; only then the next is formed.

    O(running) per candidate.
    """
    return Policy("ft-vidur", fit=reserve_declared, mix="batch_to_completion", wake=math.inf)


def orca() -> Policy:
    """Prefills first, decodes in the same batch (Orca: Yu et al., OSDI 2022; Dai et al., arXiv 2504.07347)."""
    return Policy("orca", mix="prefill_first_mixed")


def static() -> Policy:
    """Static batching: a batch is formed, prefilled, and decoded until its last member is done."""
    return Policy("static", mix="batch_to_completion")


def ft_rounds() -> Policy:
    """FasterTransformer as Dai et al. model it: decodes first, never mixed with prefills. One round of prefills, then
    rounds of decodes until all of them are done."""
    return Policy("ft-rounds", mix="prefill_first", fit=nobody_decodes, reads_running=False, wake=math.inf)
