"""Limits and fairness by hand: deadlines, idle decodes, counters of tenants, experience per token of memory."""

from __future__ import annotations

from typing import Any

import pytest
from rounds import PS, Scene, batches, run

from baselines.andes import choose, gain_of
from baselines.deadlines import last_start_ps, most_urgent

MS = PS // 1000


def test_edf_with_one_slot() -> None:
    """First tokens due never, after 9 s and after 4 s."""
    limits = [-1, 9 * PS, 4 * PS]
    requests = {"arrival_s": [0] * 3, "prompt_tokens": [1] * 3, "output_tokens": [2] * 3, "ttft_limit_ps": limits}
    assert "".join(batches(run("edf", requests, max_running=1))) == "CCBBAA"


# SLAI


@pytest.mark.parametrize(("clock_ms", "urgent"), [(0, False), (39, False), (40, True), (41, True)])
def test_a_decode_may_idle_until_its_last_start(clock_ms: int, urgent: bool) -> None:
    """Last batch ended at 0, limit 100 ms, mean batch 30 ms, offset 2: 40 ms; a prompt goes between the two kinds."""
    decode = {"computed_tokens": 5, "prefill_target_tokens": 5, "tpot_limit_ps": 100 * MS}
    prompt = {"computed_tokens": 2, "prefill_target_tokens": 5}
    scene = Scene([decode, prompt], running=2, clock_ps=clock_ms * MS, num_kv_blocks=9, free_kv_blocks=9)
    scene.server.params[1:4] = 2.0, 4.0, 0.9
    scene.server.notes[:5] = 1.0, 30 * MS, 0.0, 0.0, float("inf")
    assert last_start_ps(scene.rows[0], scene.server) == 40 * MS
    first, second = (most_urgent(row, scene.server) for row in scene.rows)
    assert (first < second) == urgent
    assert (first < 1.0) == urgent


def test_the_offset_depends_on_memory() -> None:
    """Above 90 % of memory twice as many mean batches are kept in hand: 100 - 4 x 30."""
    decode = {"computed_tokens": 5, "prefill_target_tokens": 5, "tpot_limit_ps": 100 * MS}
    scene = Scene([decode], running=1, num_kv_blocks=100, free_kv_blocks=9)
    scene.server.params[1:4] = 2.0, 4.0, 0.9
    scene.server.notes[:2] = 1.0, 30 * MS
    assert last_start_ps(scene.rows[0], scene.server) == -20 * MS


def test_slai_serves_the_prompt_while_the_decode_may_wait() -> None:
    """Two tokens an iteration. A has had its token at 3 s and may wait until 3 + 3 - 1 = 5: B's prompt has 4 tokens
    done by then, where Sarathi lets A go on and gives B what is left."""
    requests = {"arrival_s": [0, 3], "prompt_tokens": [1, 6], "output_tokens": [6, 2]}
    slai = batches(run("slai:tbt_ms=3000,offset=1", requests, max_batched_tokens=2))
    assert slai == ["A", "A", "A", "B", "B", "AB", "AB", "AB"]
    sarathi = batches(run("sarathi", requests, max_batched_tokens=2))
    assert sarathi == ["A", "A", "A", "AB", "AB", "AB", "B", "B", "B"]


def test_slai_takes_so_many_urgent_decodes() -> None:
    """All of A, B, C are late; with one urgent decode at most the two others come after D's prompt, for which nothing
    is left of three tokens otherwise."""
    requests = {"arrival_s": [0, 0, 0, 1], "prompt_tokens": [1, 1, 1, 2], "output_tokens": [3, 3, 3, 1]}
    everybody = run("slai:tbt_ms=0", requests, max_batched_tokens=3)
    assert batches(everybody) == ["ABC", "ABC", "ABC", "D"]
    one = run("slai:tbt_ms=0,decodes=1", requests, max_batched_tokens=3)
    assert batches(one)[1] == "AD"


# VTC: one request at a time, each of 4 and 2 tokens, so 8. A, B, C of the first tenant come at once, D and E of the
# second when A and B are done or nearly so: the first counter then stands at 16.


@pytest.mark.parametrize(
    ("policy", "order", "counters"),
    [
        ("vtc", "ABCDE", (24, 32)),
        ("lcf", "ABDEC", (24, 16)),
        ("vtc-predicted", "ABCDE", (24, 32)),
        ("fcfs", "ABCDE", None),
    ],
)
def test_a_counter_is_lifted(policy: str, order: str, counters: tuple[int, int] | None) -> None:
    """With the lift both stand at 16, and take turns; without it the second tenant is owed two in a row."""
    requests: dict[str, Any] = {
        "arrival_s": [0, 0, 0, 3.5, 3.5], "prompt_tokens": [4] * 5, "output_tokens": [2] * 5, "max_output_tokens": 2,
        "tenant": [0, 0, 0, 1, 1], "predicted_output_tokens": [3.0, 1.0, 2.0, 3.0, 1.0],
    }  # fmt: skip
    sim = run(policy, requests, max_running=1)
    assert "".join(batches(sim)) == "".join(name * 2 for name in order)
    if counters is not None:
        assert tuple(sim.record.notes[:2]) == counters


def test_turns_within_one_composition() -> None:
    """Four slots, three requests of 10 prompt tokens of the first tenant and three of 4 of the second: after A's 10 the
    second tenant sends three."""
    requests = {
        "arrival_s": [0] * 6, "prompt_tokens": [10, 10, 10, 4, 4, 4], "output_tokens": [1] * 6,
        "tenant": [0, 0, 0, 1, 1, 1],
    }  # fmt: skip
    assert batches(run("vtc", requests, max_running=4))[0] == "ADEF"
    assert batches(run("fcfs", requests, max_running=4))[0] == "ABCD"


# Andes


def test_gain_of_a_reader_who_waits() -> None:
    """A reader of 2 tokens a second has expected tokens for 10 s and has none: in the next 4 iterations of 1 s one
    token an iteration is made, at the ends of them 1 + 2 + 3 + 4 tokens x 1 s of area are gained, of 2 x 14 x 14 / 2
    expected."""
    scene = Scene([{"ttft_limit_ps": 0, "prompt_tokens": 5}], clock_ps=10 * PS, params=(4.0, 0.9, 1.0, 2.0, 1.0))
    assert gain_of(scene.rows[0], scene.server) == pytest.approx(10 / 196)
    scene.rows[0]["generated_tokens"] = 28  # ahead of the reader until then
    assert gain_of(scene.rows[0], scene.server) == 0.0


def test_andes_takes_the_most_gain_per_token_of_memory() -> None:
    """Three readers alike but for their prompts of 30, 10 and 20 tokens; with 4 tokens more each, 40 hold two of
    them."""
    rows = [{"ttft_limit_ps": 0, "prompt_tokens": prompt} for prompt in (30, 10, 20)]
    scene = Scene(rows, running=1, clock_ps=10 * PS, num_kv_blocks=40, params=(4.0, 0.9, 1.0, 2.0, 1.0))
    choose(scene.server)
    assert [row["notes"][0] for row in scene.rows] == [0.0, 1.0, 1.0]


def test_andes_pauses_who_is_ahead_of_its_reader() -> None:
    """10 tokens of memory, half of it used when B comes; the reader takes one token in ten seconds. A is far ahead
    and gains nothing: it leaves for B, and comes back when nobody runs."""
    requests = {"arrival_s": [0, 5], "prompt_tokens": [2, 4], "output_tokens": [9, 2], "ttft_limit_ps": 0}
    assert "".join(batches(run("vllm", requests, num_kv_blocks=10))) == "AAAAAAAAABB"
    paused = run("andes:every=1,full=0.5,pass_s=1,speed=0.1", requests, num_kv_blocks=10)
    assert "".join(batches(paused)) == "AAAAABBAAAA"
    assert paused.totals().num_preemptions == (1, 0, 0, 0)
