"""Orders by hand: predictions with aging and guards, boosts and indices for tails, queues that predict nothing."""

from __future__ import annotations

import math

import pytest
from rounds import PS, Scene, batches, run

from baselines.aging import highest_ratio, look_at_the_oldest, shortest_or_oldest
from baselines.boost import boost_s, boosted_arrival_s
from baselines.gittins import index_of
from baselines.mlfq import highest_queue, queue_after, queue_to_join

# SSJF


@pytest.mark.parametrize(
    ("predicted", "waited_s", "by_age"), [(50, 99, False), (50, 101, True), (2, 19, False), (2, 21, True)]
)
def test_ssjf_goes_by_age_when_the_oldest_has_waited_too_long(predicted: float, waited_s: int, by_age: bool) -> None:
    """Longer than 100 s, or than ten times its own execution at a second a token. The other came a second later."""
    rows = [{"predicted_output_tokens": predicted}, {"predicted_output_tokens": 1.0, "arrival_ps": PS}]
    scene = Scene(rows, clock_ps=waited_s * PS, params=(100.0, 10.0, 1.0))
    look_at_the_oldest(scene.server)
    keys = [shortest_or_oldest(row, scene.server) for row in scene.rows]
    assert keys == ([0.0, 0.0] if by_age else [predicted, 1.0])


def test_ssjf_with_one_slot() -> None:
    """A of 3 tokens runs; B of 2 tokens is overdue after 2 s and goes before D of 1; C of 1 has gone before it."""
    requests = {
        "arrival_s": [0, 0, 1, 2.5], "prompt_tokens": [1] * 4, "output_tokens": [3, 2, 1, 1],
        "predicted_output_tokens": [0.5, 2.0, 1.0, 1.0],
    }  # fmt: skip
    assert batches(run("ssjf:slowdown=2,token_s=1", requests, max_running=1)) == ["A", "A", "A", "C", "D", "B", "B"]
    assert batches(run("ssjf:slowdown=1,token_s=1", requests, max_running=1)) == ["A", "A", "A", "B", "B", "C", "D"]


# HRRN


def test_hrrn_counts_tokens_processed_for_each_of_its_own() -> None:
    """500 tokens for 100, against 60 for 10; whoever finds everything cached goes first."""
    rows = [{"prompt_tokens": 100}, {"prompt_tokens": 10}, {"prompt_tokens": 10, "cached_tokens": 10}]
    scene = Scene(rows, processed_tokens=500)
    scene.rows[1]["notes"][0] = 440
    assert [highest_ratio(row, scene.server) for row in scene.rows] == [-5.0, -6.0, -math.inf]
    scene.server.num_waiting = 129
    assert highest_ratio(scene.rows[1], scene.server) == 0.0


def test_hrrn_with_one_slot() -> None:
    """When A is done 9 tokens have been processed since B came and 2 since C: 9 / 4 goes before 2 / 1, 9 / 5 after."""
    requests = {"arrival_s": [0, 0, 7], "prompt_tokens": [1, 4, 1], "output_tokens": [9, 1, 1]}
    assert batches(run("hrrn", requests, max_running=1)) == ["A"] * 9 + ["B", "C"]
    requests["prompt_tokens"] = [1, 5, 1]
    assert batches(run("hrrn", requests, max_running=1)) == ["A"] * 9 + ["C", "B"]


# LTR


def test_ltr_promotes_whoever_was_idle_for_long() -> None:
    """A is long, and a short request comes every second. Idle for 3 iterations A is promoted and runs for 2; the next
    time H has been idle for as long, is shorter, and goes first."""
    requests = {
        "arrival_s": [0, 0, 1, 2, 3, 4, 5, 6, 7], "prompt_tokens": [1] * 9, "output_tokens": [6] + [1] * 8,
        "predicted_output_tokens": [6.0] + [1.0] * 8,
    }  # fmt: skip
    never = run("ltr:starvation=1000,mode=hold", requests, max_running=1)
    assert "".join(batches(never)) == "BCDEFGHIAAAAAA"
    guarded = run("ltr:starvation=3,period=2,mode=hold", requests, max_running=1)
    assert "".join(batches(guarded)) == "BCDAAEFGAHIAAA"


# gamma-Boost


def test_boost_of_ten_and_a_hundred_seconds() -> None:
    assert boost_s(10.0, 0.01) == pytest.approx(235.2, abs=0.05)
    assert boost_s(100.0, 0.01) == pytest.approx(45.9, abs=0.05)


@pytest.mark.parametrize(("arrival_s", "overtakes"), [(189, True), (190, False)])
def test_ten_seconds_overtake_a_hundred(arrival_s: int, overtakes: bool) -> None:
    rows = [
        {"predicted_output_tokens": 100.0},
        {"predicted_output_tokens": 10.0, "arrival_ps": arrival_s * PS},
    ]
    scene = Scene(rows, params=(0.01, 1.0, 0.0))
    long, short = (boosted_arrival_s(row, scene.server) for row in scene.rows)
    assert (short < long) == overtakes


@pytest.mark.parametrize(("gamma", "order"), [(1e-6, "ACCBBBB"), (1e3, "ABBBBCC")])
def test_boost_lies_between_shortest_first_and_first_come(gamma: float, order: str) -> None:
    """B of 4 tokens arrives before C of 2, while A runs."""
    requests = {
        "arrival_s": [0, 0.2, 0.4], "prompt_tokens": [1] * 3, "output_tokens": [1, 4, 2],
        "predicted_output_tokens": [1.0, 4.0, 2.0],
    }  # fmt: skip
    for name in ("gamma-boost", "gamma-boost-true"):
        sim = run(f"{name}:gamma={gamma},token_s=1,prompt_token_s=0,mode=hold", requests, max_running=1)
        assert "".join(batches(sim)) == order


# Gittins


def test_index_of_one_or_nine_tokens() -> None:
    """Equally likely: 1 token of service finishes with chance 1/2, rank 2; once it has not, 8 are left for sure."""
    scene = Scene([], params=[1.0] * 8 + [9.0] * 8)
    assert index_of(1.0, 0.0, scene.server) == 2.0
    assert index_of(1.0, 1.0, scene.server) == 8.0
    assert index_of(10.0, 0.0, scene.server) == 20.0
    assert index_of(1.0, 9.0, scene.server) == 9.0


@pytest.mark.parametrize(("sigma", "order"), [(0.0, "AAAAAABB"), (3.0, "AAAAABBA")])
def test_gittins_with_sure_and_with_vague_predictions(sigma: float, order: str) -> None:
    """B of 2 tokens comes when A of 6 has had 5. Sure that 1 is left, as SRPT is, A goes on; a vague prediction says
    that who has lived as long may live on, and B goes first."""
    requests = {
        "arrival_s": [0, 4.5], "prompt_tokens": [1, 1], "output_tokens": [6, 2], "predicted_output_tokens": [6.0, 2.0]
    }  # fmt: skip
    assert "".join(batches(run(f"gittins:sigma={sigma},mode=hold", requests, max_running=1))) == order


# MLFQ


def test_skip_join() -> None:
    """Quanta 10, 20, 40 ms: a prefill of 25 ms joins the third queue."""
    scene = Scene([], params=(0.010, 2.0, 3.0, 1e-4, 1.0))
    assert [queue_to_join(ms / 1000, scene.server) for ms in (5, 10, 11, 20, 25, 40, 41)] == [0, 0, 1, 1, 2, 2, 3]


def test_a_quantum_used_up_is_a_queue_down() -> None:
    """After 35 ms from the first queue: 10 and 20 are used, 5 of 40; from the third queue 40 is used after 40."""
    scene = Scene([], params=(0.010, 2.0, 3.0, 1e-4, 1.0))
    assert [queue_after(0.0, ms / 1000, scene.server) for ms in (0, 9, 15, 35)] == [0, 0, 1, 2]
    assert [queue_after(2.0, ms / 1000, scene.server) for ms in (39, 41)] == [2, 3]


def test_mlfq_promotes_after_three_seconds() -> None:
    scene = Scene([{"prompt_tokens": 1}], params=(0.010, 2.0, 3.0, 1e-4, 1.0))
    scene.rows[0]["notes"][0] = 2.0
    for waited_s, queue in ((2.9, 2.0), (3.1, -1.0)):
        scene.server.clock_ps = int(waited_s * PS)
        assert highest_queue(scene.rows[0], scene.server) == queue


def test_mlfq_with_one_slot() -> None:
    """Quantum 1 s: after 2 s A is in the second queue (1 of 2 s used) and B in the first; after 1 s B has joined A,
    which came first, but nobody of the same queue is displaced."""
    requests = {"arrival_s": [0, 2], "prompt_tokens": [1, 1], "output_tokens": [6, 2]}
    for mode in ("hold", "swap", "recompute"):
        spec = f"mlfq:quantum_ms=1000,starvation_s=1000,mode={mode}"
        assert "".join(batches(run(spec, requests, max_running=1))) == "AABBAAAA"
    assert "".join(batches(run("fcfs", requests, max_running=1))) == "AAAAAABB"


# The anchor


def test_random_orders_differ_by_seed_and_serve_everybody() -> None:
    requests = {"arrival_s": [0] * 9, "prompt_tokens": [1] * 9, "output_tokens": [1] * 9}
    orders = ["".join(batches(run(f"random:seed={seed}", requests, max_running=1))) for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert all("".join(sorted(order)) == "ABCDEFGHI" for order in orders)
