"""Every baseline by name: a literal table, so that listing it imports nothing.

A new policy is one function in one of the files beside this one, and one line here.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from llmqgym.errors import unknown
from llmqgym.specs import build, parse_spec

if TYPE_CHECKING:
    from collections.abc import Callable

    from llmqgym.policy import Policy

#: What a policy may need to be told of a request beyond its arrival and its prompt.
NEEDS = (
    "nothing", "declared cap", "point prediction", "interval", "distribution", "deadlines", "tenants", "priority",
    "prefix", "rates of types", "truth",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """Where a policy is made, and what the list says of it."""

    module: str
    maker: str
    summary: str
    family: str
    needs: str  # of NEEDS, separated by commas
    cost: str  # per decision: a candidate, unless it says otherwise; n is waiting and running
    source: str
    oracle: bool = False

    def load(self) -> Callable[..., Any]:
        """The function that makes it."""
        return cast("Callable[..., Any]", getattr(import_module(self.module), self.maker))


#: Other names of the same policies; the references disagree about Orca and FasterTransformer. `_` is `-`.
ALIASES = {
    "vllm-fcfs": "vllm",
    "sglang-fcfs": "sglang",
    "orca-dai": "orca",
    "ft-dai": "ft-rounds",
    "trt-static-batch": "ft-vidur",
    "trt-prefill-first": "prefill-first",
    "volume-first": "volume-sf",
    "volume-first-true": "volume-sf-true",
    "spt-estimate": "spt",
    "lcf": "vtc:lift=false",
    "random-feasible": "random",
}

# fmt: off
POLICIES: dict[str, Entry] = {
    "vllm": Entry("baselines.engines", "vllm", "vLLM v1, first come first served: the engine's defaults", "engines",
        "nothing", "O(1)", "vLLM 0.33, v1/core/sched/scheduler.py"),
    "vllm-priority": Entry("baselines.engines", "vllm_priority", "vLLM v1, --scheduling-policy priority", "engines",
        "priority", "O(1), O(running) a victim", "vLLM 0.33, v1/core/sched/scheduler.py"),
    "vllm-v0": Entry("baselines.engines", "vllm_v0",
        "vLLM v0: prefill-only iterations first, the latest arrival is the victim", "engines", "nothing",
        "O(1), O(running) a victim", "Kwon et al., SOSP 2023; hao-ai-lab/vllm-ltr, a fork of v0"),
    "prefill-first": Entry("baselines.engines", "prefill_first",
        "prefill-only iterations first, the last admitted is the victim", "engines", "nothing", "O(1)",
        "Kwon et al., SOSP 2023; Dai et al., arXiv 2504.07347"),
    "orca": Entry("baselines.engines", "orca", "Orca of Dai et al.: prefills first, decodes in the same batch",
        "engines", "nothing", "O(1)", "Yu et al., OSDI 2022; Dai et al., arXiv 2504.07347"),
    "orca-vidur": Entry("baselines.engines", "orca_vidur",
        "Orca of Vidur: running first, newcomers while caps can be reserved", "engines", "declared cap", "O(running)",
        "microsoft/vidur, orca_replica_scheduler.py"),
    "static": Entry("baselines.engines", "static", "static batches, run to completion", "engines", "nothing", "O(1)",
        "FasterTransformer, as static batching in general"),
    "ft-rounds": Entry("baselines.engines", "ft_rounds",
        "FasterTransformer of Dai et al.: prefills only where nobody decodes", "engines", "nothing", "O(1)",
        "Dai et al., arXiv 2504.07347"),
    "ft-vidur": Entry("baselines.engines", "ft_vidur",
        "FasterTransformer of Vidur: static batches whose caps are reserved", "engines", "declared cap", "O(running)",
        "microsoft/vidur, faster_transformer_replica_scheduler.py"),
    "sarathi": Entry("baselines.engines", "sarathi", "decodes first, prompts in chunks", "engines", "nothing", "O(1)",
        "Agrawal et al., OSDI 2024"),
    "fcfs": Entry("baselines.engines", "fcfs", "first come first served, as vllm", "engines", "nothing", "O(1)",
        "Mitzenmacher and Shahout, arXiv 2503.07545"),
    "trt-no-evict": Entry("baselines.tensorrt", "trt_no_evict",
        "TensorRT-LLM GUARANTEED_NO_EVICT: while caps can be reserved", "engines", "declared cap", "O(running)",
        "NVIDIA/TensorRT-LLM, capacityScheduler.cpp"),
    "trt-max-utilization": Entry("baselines.tensorrt", "trt_max_utilization",
        "TensorRT-LLM MAX_UTILIZATION: whoever finds its next blocks, the last started pauses", "engines", "nothing",
        "O(1)", "NVIDIA/TensorRT-LLM, capacityScheduler.cpp"),
    "sglang": Entry("baselines.sglang", "sglang",
        "SGLang fcfs: new_token_ratio admits, the least generated is retracted", "engines", "declared cap",
        "O(running)", "sglang 0.5.23, srt/managers/schedule_policy.py"),
    "sglang-lpm": Entry("baselines.sglang", "sglang_lpm", "SGLang lpm: the longest cached prefix first", "engines",
        "declared cap, prefix", "O(queue x prefix)", "sglang 0.5.23, srt/managers/schedule_policy.py"),
    "lightllm": Entry("baselines.lightllm", "lightllm", "LightLLM: by arrival, while the peak of the caps fits",
        "engines", "declared cap", "O(running), O(n log n) when full", "ModelTC/lightllm, router/req_queue"),
    "past-future": Entry("baselines.lightllm", "past_future",
        "LightLLM Past-Future: lengths drawn from those that finished", "engines", "declared cap", "O(draws x running)",
        "arXiv 2507.10150"),
    "sjf": Entry("baselines.size_based", "sjf", "shortest true output first", "sizes", "truth", "O(1)",
        "arXiv 2503.07545", oracle=True),
    "spjf": Entry("baselines.size_based", "spjf", "shortest predicted output first (SSJF without aging)", "sizes",
        "point prediction", "O(1)", "arXiv 2503.07545; SSJF, arXiv 2404.08509"),
    "ssjf": Entry("baselines.aging", "ssjf", "shortest predicted output first, the overdue before", "sizes",
        "point prediction", "O(waiting) an iteration", "SSJF, arXiv 2404.08509"),
    "psjf": Entry("baselines.size_based", "psjf", "shortest true output first, preemptive", "sizes", "truth",
        "O(running) a preemption", "arXiv 2503.07545", oracle=True),
    "pspjf": Entry("baselines.size_based", "pspjf", "shortest predicted output first, preemptive", "sizes",
        "point prediction", "O(running) a preemption", "arXiv 2503.07545"),
    "spt": Entry("baselines.size_based", "spt", "shortest first estimate first, preemptive, never updated", "sizes",
        "point prediction", "O(running) a preemption", "Dell'Amico, arXiv 1907.04824"),
    "srpt": Entry("baselines.size_based", "srpt", "shortest true remaining first, preemptive", "sizes", "truth",
        "O(running) a preemption", "arXiv 2503.07545", oracle=True),
    "sprpt": Entry("baselines.size_based", "sprpt", "shortest predicted remaining first, preemptive", "sizes",
        "point prediction", "O(running) a preemption", "arXiv 2503.07545"),
    "sprpt-bounce": Entry("baselines.bounce", "sprpt_bounce", "SPRPT, falling back after outliving a prediction",
        "sizes", "point prediction", "O(running)", "Scully et al., arXiv 2110.00633"),
    "trail": Entry("baselines.trail", "trail", "SPRPT, preemptive up to a share of the first prediction", "sizes",
        "point prediction", "O(running) a preemption", "TRAIL, arXiv 2410.01035"),
    "ltr": Entry("baselines.ltr", "ltr", "learning to rank, with a guard against starvation", "sizes",
        "point prediction", "O(waiting) an iteration", "LTR, arXiv 2408.15792"),
    "one-bit": Entry("baselines.one_bit", "one_bit", "predicted shorts before predicted longs", "sizes",
        "point prediction", "O(running) a preemption", "Mitzenmacher, arXiv 2006.15463"),
    "one-bit-true": Entry("baselines.one_bit", "one_bit_true", "true shorts before true longs", "sizes", "truth",
        "O(running) a preemption", "Mitzenmacher, arXiv 2006.15463", oracle=True),
    "skip-predict": Entry("baselines.skip_predict", "skip_predict", "predicted shorts first, longs by SPRPT", "sizes",
        "point prediction", "O(running) a preemption", "arXiv 2402.03564"),
    "gamma-boost": Entry("baselines.boost", "gamma_boost", "the smallest arrival less boost first", "tails",
        "point prediction", "O(running) a preemption", "Yu and Scully, arXiv 2404.08826"),
    "gamma-boost-true": Entry("baselines.boost", "gamma_boost_true", "the same on true lengths", "tails", "truth",
        "O(running) a preemption", "Yu and Scully, arXiv 2404.08826", oracle=True),
    "gittins": Entry("baselines.gittins", "gittins", "the smallest Gittins index of the predictive distribution first",
        "tails", "distribution", "O(16 running) a preemption", "Gittins et al. 2011; SageSched, arXiv 2603.07917"),
    "las": Entry("baselines.attained_service", "las", "least generated tokens first, preemptive", "blind", "nothing",
        "O(running)", "Nuyens and Wierman, Performance Evaluation 2008"),
    "mlfq": Entry("baselines.mlfq", "mlfq", "skip-join multi-level feedback queues", "blind", "nothing",
        "O(waiting) an iteration", "FastServe, arXiv 2305.05920"),
    "hrrn": Entry("baselines.aging", "hrrn", "highest response ratio next, on a clock of tokens", "blind", "nothing",
        "O(waiting) an iteration", "sglang 0.5.23, srt/managers/schedule_policy.py"),
    "gsa": Entry("baselines.gsa", "gsa", "trials of geometrically growing length", "blind", "nothing",
        "O(running), O(n log n) when full", "arXiv 2601.22996"),
    "mc-sf": Entry("baselines.look_ahead", "mc_sf", "shortest predicted first, while the predicted peak fits",
        "look ahead", "point prediction", "O(running), O(n log n) when full", "arXiv 2502.07115"),
    "mc-sf-true": Entry("baselines.look_ahead", "mc_sf_true", "shortest first, while the true peak fits", "look ahead",
        "truth", "O(running), O(n log n) when full", "arXiv 2502.07115", oracle=True),
    "mc-benchmark": Entry("baselines.look_ahead", "mc_benchmark", "by arrival, while the predicted peak fits",
        "look ahead", "point prediction", "O(running), O(n log n) when full", "arXiv 2502.07115"),
    "volume-sf": Entry("baselines.look_ahead", "volume_sf", "least memory x time first, while the predicted peak fits",
        "look ahead", "point prediction", "O(running), O(n log n) when full",
        "stand-in for Sorted-F, arXiv 2508.06133"),
    "volume-sf-true": Entry("baselines.look_ahead", "volume_sf_true", "the same on true lengths", "look ahead", "truth",
        "O(running), O(n log n) when full", "stand-in for Sorted-F, arXiv 2508.06133", oracle=True),
    "sorted-f": Entry("baselines.sorted_f", "sorted_f", "batches of least total output over squared number first",
        "look ahead", "point prediction", "a search: O(n log n) x 32 an arrival", "Sorted-F, arXiv 2508.06133"),
    "a-max": Entry("baselines.intervals", "a_max", "MC-SF on the upper ends of intervals", "look ahead", "interval",
        "O(running), O(n log n) when full", "arXiv 2508.14544"),
    "a-min": Entry("baselines.intervals", "a_min", "MC-SF on lower ends that learn; the shortest is killed",
        "look ahead", "interval", "O(running), O(n log n) when full", "arXiv 2508.14544"),
    "reserve": Entry("baselines.admission", "reserve", "by arrival, while whole lengths fit", "admission",
        "point prediction", "O(running)", "Yu et al., OSDI 2022"),
    "evict-restart": Entry("baselines.admission", "evict_restart", "by arrival; shortage restarts the last admitted",
        "admission", "nothing", "O(1)", "Ao et al., arXiv 2606.15555"),
    "paced": Entry("baselines.admission", "paced", "by arrival, at the rate that the KV cache can bear", "admission",
        "point prediction", "O(running)", "flow control with the rate of the fluid"),
    "flow-control": Entry("baselines.admission", "flow_control", "so many admissions of a tenant an iteration",
        "admission", "tenants", "O(admitted)", "Dong and Cao, arXiv 2604.11001"),
    "wait": Entry("baselines.wait", "wait", "types start together once enough wait", "admission",
        "tenants, rates of types", "O(running + waiting) a composition", "arXiv 2504.11320"),
    "nested-wait": Entry("baselines.wait", "nested_wait", "segments of lengths run once enough stand at their entry",
        "admission", "rates of types", "O(running) an iteration", "arXiv 2504.11320"),
    "multi-bin": Entry("baselines.multi_bin", "multi_bin", "static batches of requests of similar length", "admission",
        "point prediction", "O(waiting) a batch", "Guldogan et al., arXiv 2412.04504"),
    "edf": Entry("baselines.deadlines", "edf", "earliest deadline of the first token first", "limits", "deadlines",
        "O(1)", "Liu and Layland, JACM 1973"),
    "slai": Entry("baselines.deadlines", "slai", "decodes may idle while their limit permits", "limits", "deadlines",
        "O(n log n) an iteration", "SLAI, arXiv 2508.01002"),
    "andes": Entry("baselines.andes", "andes", "most experience gained per token of memory runs", "limits", "deadlines",
        "O(n log n) every 10 iterations", "Andes, arXiv 2404.16283"),
    "vtc": Entry("baselines.vtc", "vtc", "the tenant that has been served least first", "fairness",
        "tenants, declared cap", "O(n log n) an iteration", "VTC, arXiv 2401.00588"),
    "vtc-predicted": Entry("baselines.vtc", "vtc_predicted", "the same, charging predicted outputs at admission",
        "fairness", "tenants, declared cap, point prediction", "O(n log n) an iteration", "VTC, arXiv 2401.00588"),
    "random": Entry("baselines.anchors", "random_feasible", "a random order, whoever fits", "anchors", "nothing",
        "O(1)", "an anchor"),
}
# fmt: on


def real_name(name: str) -> str:
    """The name in POLICIES, or with settings of its own, that a name or alias stands for.

    Raises InputError for an unknown one, naming the nearest.

    >>> real_name("orca_dai")
    'orca'
    """
    name = name.replace("_", "-")
    name = ALIASES.get(name, name)
    if name.partition(":")[0] not in POLICIES:
        raise unknown("policy", name, [*POLICIES, *ALIASES])
    return name


def make_policy(spec: str) -> Policy:
    """The policy that a spec NAME:k=v,... names.

    Raises InputError for an unknown name or setting, naming the nearest.

    >>> make_policy("vllm").name
    'vllm'
    """
    given, _ = parse_spec(spec)
    name, _, preset = real_name(given).partition(":")
    settings = ",".join(filter(None, (preset, spec.partition(":")[2])))
    return cast("Policy", build("policy", f"{name}:{settings}", {name: POLICIES[name].load()}))
