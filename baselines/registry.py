"""Every baseline by name: a literal table, so that listing it imports nothing.

A new policy is one function in one of the files beside this one, and one line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, cast

from llmqgym.errors import unknown
from llmqgym.specs import build, parse_spec

if TYPE_CHECKING:
    from llmqgym.policy import Policy


@dataclass(frozen=True)
class Entry:
    """Where a policy is made, and what the list says of it."""

    module: str
    maker: str
    summary: str
    oracle: bool = False


POLICIES: dict[str, Entry] = {
    "vllm": Entry("baselines.engines", "vllm", "vLLM v1, first come first served: the engine's defaults"),
    "vllm-priority": Entry("baselines.engines", "vllm_priority", "vLLM v1, --scheduling-policy priority"),
    "prefill-first": Entry("baselines.engines", "prefill_first", "vLLM v0, SGLang: prefill-only iterations first"),
    "orca": Entry("baselines.engines", "orca", "prefills first, decodes in the same batch"),
    "static": Entry("baselines.engines", "static", "static batches, run to completion"),
    "sjf": Entry("baselines.size_based", "sjf", "shortest true output first", oracle=True),
    "spjf": Entry("baselines.size_based", "spjf", "shortest predicted output first (SSJF)"),
    "srpt": Entry("baselines.size_based", "srpt", "shortest true remaining first, preemptive", oracle=True),
    "sprpt": Entry("baselines.size_based", "sprpt", "shortest predicted remaining first, preemptive"),
}


def make_policy(spec: str) -> Policy:
    """The policy that a spec NAME:k=v,... names.

    Raises InputError for an unknown name or setting, naming the nearest.

    >>> make_policy("vllm").name
    'vllm'
    """
    name, _ = parse_spec(spec)
    if name not in POLICIES:
        raise unknown("policy", name, POLICIES)
    entry = POLICIES[name]
    maker = getattr(import_module(entry.module), entry.maker)
    return cast("Policy", build("policy", spec, {name: maker}))
