"""Algorithms with guarantees by hand: intervals, batches, phases, thresholds; and the peak test against its
definition."""

from __future__ import annotations

import numpy as np
import pytest
from rounds import Scene, batches, finishes, run

from baselines.peak import peak_fits
from baselines.wait import fire_types, segments, thresholds
from llmqgym.kernel.jit import COMPILED


def test_peak_is_the_most_that_anybody_sees() -> None:
    """Blocks held in every pass, counted one by one."""
    rng = np.random.default_rng(3)
    answers = []
    for _ in range(3000 if COMPILED else 300):
        num, size = int(rng.integers(1, 12)), int(rng.choice([1, 2, 16]))
        passes, stored = rng.integers(1, rng.choice([5, 40, 400]), num), rng.integers(0, 60, num)
        held = [
            sum(-(-(s + t) // size) for p, s in zip(passes.tolist(), stored.tolist(), strict=True) if p >= t)
            for t in range(1, int(passes.max()) + 1)
        ]
        capacity = max(held) + int(rng.integers(-1, 2))
        answers.append(peak_fits(passes, stored, Scene([], block_size=size).server, capacity))
        assert answers[-1] == (max(held) <= capacity)
    assert 0.2 < np.mean(answers) < 0.9


# One large request and three small ones in 9 tokens: F(BCD) = 6 / 9 < F(A) = 1 < F(ABCD), which does not fit


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("mc-sf", [1, 3, 3, 3]),
        ("sorted-f", [3, 2, 2, 2]),
        ("volume-sf", [3, 2, 2, 2]),
        ("volume-sf-true", [3, 2, 2, 2]),
    ],
)
def test_batches_of_many_short_requests_first(policy: str, expected: list[int]) -> None:
    requests = {
        "arrival_s": [0] * 4, "prompt_tokens": [9, 2, 2, 2], "output_tokens": [1, 2, 2, 2],
        "predicted_output_tokens": [1.0, 2.0, 2.0, 2.0],
    }  # fmt: skip
    assert finishes(run(policy, requests, num_kv_blocks=9)) == expected


def test_sorted_f_prefers_the_batch_to_the_shortest() -> None:
    """A of 1 token fills the memory alone, F = 1; B, C, D of 2 fit together, F = 6 / 9. Alone B would have F = 2."""
    requests = {
        "arrival_s": [0] * 2, "prompt_tokens": [9, 2], "output_tokens": [1, 2], "predicted_output_tokens": [1.0, 2.0],
    }  # fmt: skip
    assert finishes(run("sorted-f", requests, num_kv_blocks=9)) == [1, 3]


# Intervals: A of 4 in [2, 4], B of 6 in [3, 8], prompts of 2, 9 tokens of memory


def test_a_max_waits_and_a_min_kills() -> None:
    """A_max: with A for 4 passes and B for 8 the last of A would hold 5 + 5; a pass later B is a token behind. A_min
    plans with 2 and 3 passes, 3 + 4 tokens; in the fourth pass 5 + 5 are wanted, and of those planned shortest, both
    with the 3 that they have, the later leaves with nothing, and starts again alone."""
    requests = {
        "arrival_s": [0, 0], "prompt_tokens": [2, 2], "output_tokens": [4, 6],
        "predicted_lower_tokens": [2.0, 3.0], "predicted_upper_tokens": [4.0, 8.0],
    }  # fmt: skip
    careful = run("a-max", requests, num_kv_blocks=9)
    assert batches(careful) == ["A", "AB", "AB", "AB", "B", "B", "B"]
    bold = run("a-min", requests, num_kv_blocks=9)
    assert batches(bold) == ["AB", "AB", "AB", "A", *["B"] * 6]
    assert [sum(sim.totals().num_preemptions) for sim in (careful, bold)] == [0, 1]


@pytest.mark.parametrize(("lower", "killed"), [((5.0, 2.0), [0, 1]), ((2.0, 5.0), [1, 0])])
def test_a_min_kills_the_smallest_lower_end(lower: tuple[float, float], killed: list[int]) -> None:
    """Two requests of 2 + 5 tokens do not fit together to their ends: whoever was planned shortest leaves."""
    requests = {
        "arrival_s": [0, 0], "prompt_tokens": [2, 2], "output_tokens": [5, 5], "predicted_lower_tokens": list(lower),
        "predicted_upper_tokens": [9.0, 9.0],
    }  # fmt: skip
    rows = np.sort(run("a-min", requests, num_kv_blocks=9).departures(), order="id")
    assert rows["num_preemptions"].sum(axis=1).tolist() == killed


# GSA


def test_gsa_gives_trials_of_doubling_length() -> None:
    """Trials of 2, 4, 8 in 6 tokens. A (2 + 5) runs alone until C (3 + 2) comes and, since A has had its trial, takes
    its place: A starts again a second later, for a trial of 4, and then goes on, as nobody wants its place."""
    requests = {"arrival_s": [0, 1.5], "prompt_tokens": [2, 3], "output_tokens": [5, 2]}
    sim = run("gsa:first=2", requests, num_kv_blocks=6)
    assert batches(sim) == ["A", "A", "B", "AB", "A", "A", "A", "A"]
    assert sim.totals().num_preemptions == (0, 1, 0, 0)


def test_gsa_puts_later_phases_behind_earlier_ones() -> None:
    """A and B (2 + 5, 2 + 3) have had their trial of 2 when memory runs short: B, the later, goes on to the next
    phase."""
    requests = {"arrival_s": [0, 0, 2.5], "prompt_tokens": [2, 2, 2], "output_tokens": [5, 3, 1]}
    sim = run("gsa:first=2", requests, num_kv_blocks=6)
    assert batches(sim)[:3] == ["AB", "AB", "A"]
    order = "".join(batches(sim))
    assert order.index("C") < order.rindex("B") - 1


# WAIT


def test_wait_thresholds() -> None:
    """Rates 2 and 1, 3 and 7 tokens, 64 places: weights 8 and 8, so 32 each; stages of 8 and of 4."""
    assert thresholds(64, (2, 1), (3, 7)) == [(32, 8), (32, 4)]


@pytest.mark.parametrize(("waiting", "admissions"), [(7, 0), (8, 8), (9, 8)])
def test_wait_fires_at_eight(waiting: int, admissions: int) -> None:
    """Somebody of the other type runs; eight of A must wait."""
    params = [2.0, 0.0, *(float(number) for limit, cap in thresholds(64, (2, 1), (3, 7)) for number in (limit, cap, 0))]
    scene = Scene([{"tenant": 1}, *[{"tenant": 0}] * waiting], running=1, params=params)
    fire_types(scene.server)
    assert scene.server.notes[0] == admissions
    assert scene.server.notes[1] == 0.0


def test_wait_lets_four_start_together() -> None:
    """18 and 6 places, stages of 4 and 1. When nothing runs whoever is there starts; then D to G come one by one and
    start when they are four; H is alone and starts when nothing else runs."""
    requests = {
        "arrival_s": [0, 0, 0, 1, 2, 3, 4, 5], "prompt_tokens": [1] * 8, "output_tokens": [12] + [4] * 7,
        "tenant": [1] + [0] * 7,
    }  # fmt: skip
    found = batches(run("wait:total=24,rates=3/1,decodes=3/3", requests))
    assert found == ["ABC"] * 4 + ["ADEFG"] * 4 + ["A"] * 4 + ["H"] * 4


def test_nested_wait_segments() -> None:
    """Up to 3 tokens both types are there, rate 3, from there on one, rate 1: 27 : 12 of 39 places... in stages."""
    assert segments(39, (2, 1), (3, 7)) == [(27, 9, 3), (12, 3, 7)]


def test_nested_wait_holds_whoever_is_alone_at_an_entry() -> None:
    """Segments to 2 and to 4 tokens, 8 and 4 places, stages of 4 and 2. A stands alone at the entry of the second when
    four newcomers start, and pauses; then nobody starts, and all go on."""
    requests = {"arrival_s": [0, 2, 2, 2, 2], "prompt_tokens": [1] * 5, "output_tokens": [4] * 5}
    found = batches(run("nested-wait:total=12,rates=1/1,decodes=2/4", requests))
    assert found == ["A", "A", "BCDE", "ABCDE", "ABCDE", "BCDE"]
