"""Schedulers of serving engines: vLLM v1 and its predecessors.

Sources: vLLM 0.33 `v1/core/sched/scheduler.py`; vLLM v0 (Kwon et al., SOSP 2023); FasterTransformer-style static
batching as in Vidur (Agrawal et al., MLSys 2024).
"""

from __future__ import annotations

from typing import Any

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
    """vLLM v1, --scheduling-policy priority."""
    return Policy("vllm-priority", order=priority, victim=least_urgent)


def prefill_first() -> Policy:
    """vLLM v0 and SGLang: an iteration is prefill-only whenever a prefill can enter; decodes stall meanwhile."""
    return Policy("prefill-first", mix="prefill_first")


def orca() -> Policy:
    """Prefills first, decodes in the same batch (Orca: Yu et al., OSDI 2022; Dai et al., arXiv 2504.07347)."""
    return Policy("orca", mix="prefill_first_mixed")


def static() -> Policy:
    """Static batching: a batch is formed, prefilled, and decoded until its last member is done."""
    return Policy("static", mix="batch_to_completion")
