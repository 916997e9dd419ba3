"""Every baseline, and settings other than the defaults: these are made for outputs of hundreds of tokens, those of the
random cases are of 1 to 90."""

from __future__ import annotations

from baselines.registry import POLICIES

SPECS = (
    *POLICIES,
    "psjf:mode=hold", "pspjf:mode=swap", "srpt:mode=hold", "sprpt:mode=hold", "spt:mode=hold",
    "las:quantum=1,mode=hold", "las:quantum=7,mode=hold", "las:quantum=3,mode=swap", "las:quantum=5",
    "sprpt-bounce:mode=hold", "sprpt-bounce:mode=swap",
    "trail:c=0.2,mode=hold", "trail:c=0.5,mode=swap", "trail:c=0.5", "trail:c=0",
    "one-bit:threshold=10,mode=hold", "one-bit:threshold=10,front=false", "one-bit:threshold=10,preemptive=false",
    "one-bit-true:threshold=10,mode=hold", "one-bit-true:threshold=10,front=false,mode=swap",
    "skip-predict:threshold=10,mode=hold", "skip-predict:threshold=10",
    "mc-sf:protect=0.2", "reserve:by=declared", "paced:share=0.5", "flow-control:budget=1",
    "multi-bin:bins=3,high=90", "multi-bin:bins=1",
    "ssjf:limit_s=20,token_s=1", "ltr:starvation=5,period=2,mode=recompute", "ltr:starvation=9,period=0,mode=hold",
    "gamma-boost:gamma=0.1,token_s=1", "gamma-boost:preemptive=false,token_s=1",
    "gamma-boost-true:gamma=0.02,token_s=1,mode=hold", "gittins:mode=hold", "gittins:sigma=1,mode=swap",
    "mlfq:quantum_ms=1500,starvation_s=30,prefill_us=50000", "mlfq:quantum_ms=4000,starvation_s=9,mode=recompute",
    "mlfq:quantum_ms=900,skip_join=false,mode=hold", "gsa:first=2", "gsa:first=7",
    "lightllm:mode=aggressive,every=2", "past-future:every=1", "sglang:conservativeness=0.3",
    "volume-sf:miss=skip", "sorted-f:batches=1,protect=0.1",
    "wait:total=6,rates=2/1/1,decodes=3/17/40", "nested-wait:total=8,rates=2/1/1,decodes=3/17/40",
    "slai:tbt_ms=3000,offset=1,full=0.5,decodes=2,order=shortest", "vtc:admission=engine", "vtc:lift=false",
    "vtc-predicted:admission=engine", "andes:every=3,full=0.5,pass_s=1,speed=2,ttft_s=5",
    "andes:every=1,full=0.1,mode=swap",
)  # fmt: skip
