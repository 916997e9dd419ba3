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
    "ft-rounds": Entry(
        "baselines.engines", "ft_rounds", "FasterTransformer in rounds: prefills only where nobody decodes"
    ),
    "sarathi": Entry("baselines.engines", "sarathi", "decodes first, prompts in chunks"),
    "fcfs": Entry("baselines.engines", "fcfs", "first come first served, as vllm"),
    "sjf": Entry("baselines.size_based", "sjf", "shortest true output first", oracle=True),
    "spjf": Entry("baselines.size_based", "spjf", "shortest predicted output first (SSJF)"),
    "psjf": Entry("baselines.size_based", "psjf", "shortest true output first, preemptive", oracle=True),
    "pspjf": Entry("baselines.size_based", "pspjf", "shortest predicted output first, preemptive"),
    "spt": Entry("baselines.size_based", "spt", "shortest first estimate first, preemptive, never updated"),
    "srpt": Entry("baselines.size_based", "srpt", "shortest true remaining first, preemptive", oracle=True),
    "sprpt": Entry("baselines.size_based", "sprpt", "shortest predicted remaining first, preemptive"),
    "sprpt-bounce": Entry("baselines.bounce", "sprpt_bounce", "SPRPT, falling back after outliving a prediction"),
    "trail": Entry("baselines.trail", "trail", "SPRPT, preemptive up to a share of the first prediction"),
    "las": Entry("baselines.attained_service", "las", "least generated tokens first, preemptive"),
    "one-bit": Entry("baselines.one_bit", "one_bit", "predicted shorts before predicted longs"),
    "one-bit-true": Entry("baselines.one_bit", "one_bit_true", "true shorts before true longs", oracle=True),
    "skip-predict": Entry("baselines.skip_predict", "skip_predict", "predicted shorts first, longs by SPRPT"),
    "mc-sf": Entry("baselines.look_ahead", "mc_sf", "shortest predicted first, while the predicted peak fits"),
    "mc-sf-true": Entry("baselines.look_ahead", "mc_sf_true", "shortest first, while the true peak fits", oracle=True),
    "mc-benchmark": Entry("baselines.look_ahead", "mc_benchmark", "by arrival, while the predicted peak fits"),
    "volume-sf": Entry("baselines.look_ahead", "volume_sf", "least memory x time first, while the predicted peak fits"),
    "reserve": Entry("baselines.admission", "reserve", "by arrival, while whole lengths fit (Orca, TRT NO_EVICT)"),
    "evict-restart": Entry("baselines.admission", "evict_restart", "by arrival; shortage restarts the last admitted"),
    "paced": Entry("baselines.admission", "paced", "by arrival, at the rate that the KV cache can bear"),
    "flow-control": Entry("baselines.admission", "flow_control", "so many admissions of a tenant an iteration"),
    "multi-bin": Entry("baselines.multi_bin", "multi_bin", "static batches of requests of similar length"),
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
