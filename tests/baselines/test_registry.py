"""The registry: settings of policies are checked, and errors say what to write instead."""

from __future__ import annotations

import pytest

from baselines.registry import POLICIES, make_policy
from llmqgym.errors import InputError


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_has_the_name_it_is_listed_under(name: str) -> None:
    assert make_policy(name).name == name


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("trial", "trail"),
        ("trail:d=1", "Known: c, mode"),
        ("trail:c=much", "c of trail"),
        ("las:quantum=0", "quantum of las"),
        ("one-bit:threshold=-1", "threshold of one-bit"),
        ("reserve:by=decalred", "declared"),
        ("mc-sf:protect=2", "protect of mc-sf"),
        ("mc-sf:miss=wait", "miss"),
        ("paced:share=0", "share of paced"),
        ("flow-control:budget=0.5", "budget of flow-control"),
        ("multi-bin:low=9,high=9", "high must be the larger"),
        ("sprpt-bounce:mode=keep", "preempt_mode"),
    ],
)
def test_bad_settings(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_policy(spec)
