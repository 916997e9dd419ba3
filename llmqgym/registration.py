"""The environments by id, in Gymnasium's registry: a literal table, and the one place that fills it.

An id carries a version of its own: a change of dynamics makes a new one.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
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


def register_when_loaded() -> None:
    """Register now if Gymnasium is loaded, else as soon as it is: whoever does not need it does not wait for it."""
    if "gymnasium" in sys.modules:
        register_envs()
    else:
        sys.meta_path.insert(0, _Watch())


class _Watch(MetaPathFinder):
    """Sees Gymnasium being imported, once."""

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "gymnasium":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            register_envs()

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
