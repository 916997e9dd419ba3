"""The eviction cycle: identical requests, always more of them (arXiv 2606.15555, reference/queueing.md 6.3).

Who enters together leaves together, and memory stands empty after; pacing avoids it, and so does recompute, which keeps
what was generated. The printed shares are of another simulator, over another stretch of the cycle.
"""

from __future__ import annotations

from functools import partial

from llmqgym.kernel.tables import PS_PER_S
from llmqgym.theory import kv_bound
from llmqgym.validation.check import Check, Measured, Sense
from llmqgym.validation.unit_server import requests_of, simulator

GROUP = "eviction-cycle"
SOURCE = "reference/queueing.md 6.3"
#: (s, o, memory): share of the bound on the throughput that each policy reaches, as printed.
SHARES = {
    (10, 60, 16_492): {"reserve": 0.577, "mc-sf": 0.59, "evict-restart": 0.60, "paced:share=0.99": 0.99},
    (100, 100, 10_000): {"reserve": 0.75, "mc-sf": 0.75, "evict-restart": 0.75, "paced:share=0.99": 0.99},
    (512, 128, 65_536): {"reserve": 0.90, "mc-sf": 0.92, "evict-restart": 0.92, "paced:share=0.99": 0.99},
}
#: Policies without a cycle are printed to the last digit, the others as they are on average over it.
SHARP, BLUNT = 0.005, 0.025
#: What vLLM's recompute reaches and more.
RECOMPUTE = 0.97


def share_of_bound(case: tuple[int, int, int], policy: str, quick: bool) -> Measured:
    """Requests a round over the bound memory / (s o + o (o + 1) / 2), after a warm-up."""
    s, o, memory = case
    bound = kv_bound(memory, s, o)
    rounds, warm_up = 30 * o, 10 * o
    sim = simulator(memory, policy, until_ps=rounds * PS_PER_S)
    sim.run(iter([requests_of([(0, s, o)] * int(bound * rounds * 1.1))]))
    finish = sim.departures()["finish_ps"] // PS_PER_S
    num_finished = int(((finish > warm_up) & (finish <= rounds)).sum())
    preempted = sum(sim.totals().num_preemptions)
    return Measured(num_finished / (rounds - warm_up) / bound, note=f"{preempted / rounds:.1f} evictions a round")


def _checks(case: tuple[int, int, int]) -> list[Check]:
    s, o, memory = case
    of = f"({s}, {o}), memory {memory:,}"
    checks = []
    for policy, printed in SHARES[case].items():
        allowed = SHARP if policy.startswith(("reserve", "paced")) else BLUNT
        measure = partial(share_of_bound, case, policy)
        checks.append(Check(GROUP, f"{of}: {policy}", SOURCE, printed, allowed, measure, quick_tolerance=allowed))
    measure = partial(share_of_bound, case, "vllm")
    vllm = Check(GROUP, f"{of}: vllm", SOURCE, RECOMPUTE, 0, measure, Sense.AT_LEAST, quick_tolerance=0)
    return [*checks, vllm]


CHECKS = tuple(check for case in SHARES for check in _checks(case))
