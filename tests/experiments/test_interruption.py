"""What an interruption costs: the kernel against passes reckoned by hand, the slow twin, and numbers on paper."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmqgym.errors import InputError
from llmqgym.experiments.interruption import (
    Interruption,
    break_even_tokens,
    reckoned,
    recompute_ps,
    simulated,
    swap_ps,
)
from llmqgym.experiments.preemption_overhead import MODES
from llmqgym.hardware import load_profile

A100 = load_profile("a100-llama-3-8b").to_integers(16)
#: 10 ms a pass and 1 ms a token; a block of 16 tokens takes 2 ms over the link.
ROUND = load_profile("linear:base_ms=10,token_ms=1,kv_bytes_per_token=125000,link_bytes_per_s=1e9").to_integers(16)
PS_PER_MS = 10**9


@settings(max_examples=25, deadline=None)
@given(
    prompt=st.integers(1, 5000),
    output=st.integers(2, 60),
    others=st.sampled_from([0, 1, 7, 32]),
    budget=st.sampled_from([2048, 2100, 8192]),
    profile=st.sampled_from([A100, ROUND]),
    data=st.data(),
)
def test_every_cost_is_the_reckoned_one_to_the_picosecond(prompt, output, others, budget, profile, data) -> None:
    case = Interruption(prompt, output, data.draw(st.integers(1, output - 1)), others, budget=budget)
    for mode in MODES:
        assert simulated(case, profile, mode) == reckoned(case, profile, mode)


def test_a_cost_on_paper() -> None:
    """40 prompt tokens in chunks of 32, interrupted after 3 of 5 tokens with 42 in the cache."""
    case = Interruption(prompt=40, output=5, generated=3, budget=32)
    hold, swap, recompute, restart = (
        simulated(case, ROUND, mode).own_ps / PS_PER_MS for mode in ("hold", "swap", "recompute", "restart")
    )
    # Chunks of 32 and 8; two decodes; the intruder; two decodes: four passes of one token and one of each chunk.
    assert hold == (10 + 32) + (10 + 8) + 2 * 11 + 11 + 2 * 11
    # 42 tokens are 3 blocks of 2 ms, out and in.
    assert swap == hold + 2 * 3 * 2
    # 43 tokens, the last of which makes the next one, in chunks of 32 and 11, in place of a decode.
    assert recompute == hold + (10 + 32) + (10 + 11) - 11
    # The prompt again, and the four tokens after the first in place of two.
    assert restart == hold + (10 + 32) + (10 + 8) + 4 * 11 - 2 * 11


def test_hold_loses_nothing_and_recompute_the_whole_context() -> None:
    case = Interruption(prompt=1000, output=50, generated=20)
    lost = {mode: simulated(case, A100, mode).lost_tokens for mode in MODES}
    assert lost == {"hold": 0, "swap": 0, "recompute": 1019, "restart": 1019}


def test_where_it_falls_matters_to_restart_alone() -> None:
    """The same context, most of it prompt or most of it answer."""
    early, late = Interruption(prompt=1000, output=1200, generated=10), Interruption(100, 1200, 910)
    assert early.context == late.context
    extra = {
        mode: [simulated(case, A100, mode).own_ps - simulated(case, A100, "hold").own_ps for case in (early, late)]
        for mode in ("recompute", "swap", "restart")
    }
    assert extra["recompute"][0] == extra["recompute"][1]
    assert extra["swap"][0] == extra["swap"][1]
    assert extra["restart"][1] > 2 * extra["restart"][0]


@pytest.mark.parametrize("context", [1, 16, 100, 2048, 2049, 9000])
def test_the_closed_costs_are_those_of_a_run(context: int) -> None:
    case = Interruption(prompt=context, output=3, generated=1)
    hold = simulated(case, A100, "hold").own_ps
    assert simulated(case, A100, "recompute").own_ps - hold == recompute_ps(context, A100, 2048)
    assert simulated(case, A100, "swap").own_ps - hold == swap_ps(context, A100)


def test_the_break_even_context() -> None:
    """Blocks of 64 ms a way: recompute of c tokens costs c + 1 + 10 less a decode of 11, so c ms; swap 8 ms a token."""
    slow = load_profile("linear:base_ms=10,token_ms=1,kv_bytes_per_token=4000000,link_bytes_per_s=1e9").to_integers(16)
    assert recompute_ps(160, slow, 2048) == 160 * PS_PER_MS
    assert swap_ps(160, slow) == 2 * 10 * 64 * PS_PER_MS
    assert break_even_tokens(slow, 2048, 4096) is None
    # 2 ms a block and way are 0.25 ms a token.
    assert break_even_tokens(ROUND, 2048, 4096) == 16


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ({"generated": 0}, "generated is 0.*1 to 9"),
        ({"generated": 10}, "generated is 10.*1 to 9"),
        ({"others": 40}, "40 others.*2048"),
    ],
)
def test_what_cannot_be_interrupted(lengths: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Interruption(**{"prompt": 10, "output": 10, "generated": 5, **lengths})


def test_a_context_beyond_the_cache() -> None:
    small = load_profile("a100-llama-3-8b:kv_token_capacity=1600").to_integers(16)
    with pytest.raises(InputError, match="KV blocks, and there are 100"):
        simulated(Interruption(prompt=2000, output=10, generated=5), small, "swap")
