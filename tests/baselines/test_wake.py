"""Every baseline on random workloads and small servers: jumping from event to event gives what stepping gives, bit for
bit. A `wake` that promises too much shows here."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cases import Case, cases
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.registry import POLICIES, make_policy

#: Other settings than the defaults, which are made for outputs of hundreds of tokens; those here are of 1 to 90.
SPECS = (
    *POLICIES,
    "psjf:mode=hold", "pspjf:mode=swap", "srpt:mode=hold", "sprpt:mode=hold", "spt:mode=hold",
    "las:quantum=1,mode=hold", "las:quantum=7,mode=hold", "las:quantum=3,mode=swap", "las:quantum=5",
    "sprpt-bounce:mode=hold", "sprpt-bounce:mode=swap",
    "trail:c=0.2,mode=hold", "trail:c=0.5,mode=swap", "trail:c=0.5",
    "one-bit:threshold=10,mode=hold", "one-bit:threshold=10,front=false", "one-bit:threshold=10,preemptive=false",
    "one-bit-true:threshold=10,mode=hold", "one-bit-true:threshold=10,front=false,mode=swap",
    "skip-predict:threshold=10,mode=hold", "skip-predict:threshold=10",
    "mc-sf:protect=0.2", "reserve:by=declared", "paced:share=0.5", "flow-control:budget=1",
    "multi-bin:bins=3,high=90", "multi-bin:bins=1",
)  # fmt: skip
#: A fiftieth of what other random tests get, for each spec.
EXAMPLES = max(settings.default.max_examples // 50, 3)


def assert_jumping_is_stepping(case: Case) -> None:
    """Every departure and every total."""
    jumping, stepping = case.kernel(), case.kernel(step_by_step=True)
    ours, theirs = jumping.departures(), stepping.departures()
    assert sorted(map(str, ours.tolist())) == sorted(map(str, theirs.tolist()))
    ours, theirs = jumping.totals(), stepping.totals()
    assert replace(ours, num_events=0) == replace(theirs, num_events=0)


@pytest.mark.parametrize("spec", SPECS)
def test_jumping_is_stepping(spec: str) -> None:
    policy = make_policy(spec)

    @settings(max_examples=EXAMPLES)
    @given(cases(), st.booleans())
    def check(case: Case, roomy: bool) -> None:
        case = replace(case, policy=policy)
        if roomy:  # memory and tokens never run short: only the policy's own decisions are left
            case = replace(case, server=replace(case.server, num_kv_blocks=2000, max_batched_tokens=2048))
        assert_jumping_is_stepping(case)

    check()
