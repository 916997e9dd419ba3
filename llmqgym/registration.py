"""The environments by id, in Gymnasium's registry: a literal table, and the one place that fills it.

An id carries a version of its own: a change of dynamics makes a new one.
"""

from __future__ import annotations

from typing import Any

NAMESPACE = "llmqgym"
_ENTRY, _VECTOR_ENTRY = "llmqgym.env.env:LLMServerEnv", "llmqgym.env.vector_env:LLMServerVectorEnv"

#: Id without the namespace -> settings that its environments begin with.
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "LLMServer-v0": {},
    "LLMServerChat-v0": {"scenario": "chat"},
    "LLMServerCode-v0": {"scenario": "code"},
    "LLMServerLongContext-v0": {"scenario": "long-context"},
    "LLMServerReasoning-v0": {"scenario": "reasoning"},
    "LLMServerBursty-v0": {"scenario": "bursty"},
    "LLMServerKVBound-v0": {"scenario": "kv-bound"},
    "LLMServerNoisy-v0": {"scenario": "noisy-1"},
    "LLMServerMultiTenant-v0": {"scenario": "multi-tenant"},
    "LLMServerSLO-v0": {
        "scenario": "slo",
        "reward": {"slo_misses": 1.0, "latency": 0.01},
        "waiting_fields": (
            "prompt_tokens", "predicted_remaining_tokens", "age_s", "kv_wanted", "ttft_left_s", "e2e_left_s",
        ),
    },
}  # fmt: skip


def register_envs() -> None:
    """Make the ids known to `gymnasium.make`; those known already stay as they are."""
    import gymnasium

    for name, settings in ENVIRONMENTS.items():
        env_id = f"{NAMESPACE}/{name}"
        if env_id not in gymnasium.registry:
            gymnasium.register(env_id, _ENTRY, vector_entry_point=_VECTOR_ENTRY, kwargs=settings)
