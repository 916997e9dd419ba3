"""Engines by hand: budgets and ratios of SGLang, what TensorRT-LLM, LightLLM and vLLM v0 let in and send away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases import Case, cases
from hypothesis import given, settings
from rounds import Scene, batches, finishes, run

from baselines.lightllm import drawn_left, remember_length
from baselines.registry import make_policy
from baselines.sglang import fits_budget, least_generated, new_token_ratio, set_ratio
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests

RUNNING = {"prompt_tokens": 5, "max_output_tokens": 50, "generated_tokens": 10, "computed_tokens": 14}


@pytest.mark.parametrize(("ratio", "left", "fits"), [(0.5, 20.0, False), (0.098, 52.16, True)])
def test_sglang_budget(ratio: float, left: float, fits: bool) -> None:
    """60 tokens free, two running with 40 to go each; 10 + 30 tokens and a page of 1 ask: they need 41."""
    candidate = {"prompt_tokens": 10, "max_output_tokens": 30}
    scene = Scene([RUNNING, RUNNING, candidate], running=2, free_kv_blocks=60, params=(0.7, 0.098))
    scene.server.notes[0] = ratio
    assert 60 - 80 * new_token_ratio(scene.server) == pytest.approx(left)
    assert fits_budget(scene.rows[2], scene.server) == fits


def test_sglang_charges_newcomers_in_full() -> None:
    """What this batch has been charged is off the budget, whatever the ratio: 52.16 - 12 < 41."""
    candidate = {"prompt_tokens": 10, "max_output_tokens": 30}
    scene = Scene([RUNNING, RUNNING, candidate], running=2, free_kv_blocks=60, params=(0.7, 0.098))
    scene.server.notes[4] = 12.0
    assert not fits_budget(scene.rows[2], scene.server)


def test_sglang_retracts_the_least_generated_then_the_longest_prompt() -> None:
    """Outputs 5, 9, 5 with inputs 100, 50, 300."""
    lengths = [(5, 100), (9, 50), (5, 300)]
    scene = Scene([{"generated_tokens": output, "prompt_tokens": prompt} for output, prompt in lengths], running=3)
    values = [least_generated(row, row, scene.server) for row in scene.rows]
    assert int(np.argmax(values)) == 2


@pytest.mark.parametrize(("steps", "ratio"), [(0, 0.7), (300, 0.399), (600, 0.098), (900, 0.098)])
def test_new_token_ratio_falls_to_its_floor(steps: int, ratio: float) -> None:
    scene = Scene([], params=(0.7, 0.098))
    scene.server.notes[:2] = 0.7, steps
    assert new_token_ratio(scene.server) == pytest.approx(ratio)


def test_new_token_ratio_after_a_retraction() -> None:
    """(10 + 30 + 20 x 2) / (50 + 150 + 1)."""
    more = {"max_output_tokens": 150, "generated_tokens": 30}
    scene = Scene([RUNNING, more], running=2, params=(0.7, 0.098))
    set_ratio(scene.rows[0], scene.server)
    assert new_token_ratio(scene.server) == pytest.approx(80 / 201)


@pytest.mark.parametrize("step_by_step", [False, True])
def test_new_token_ratio_counts_decode_steps(step_by_step: bool) -> None:
    """A prefill and 19 decodes are over when the second request comes: jumped over or stepped through."""
    profile = load_profile("iterations").to_integers(16)
    sim = Simulator(ServerConfig(), profile, make_policy("sglang"), until_ps=20 * PS_PER_S, step_by_step=step_by_step)
    columns: dict[str, Any] = {"arrival_s": [0.0, 20.0], "prompt_tokens": [5, 5], "output_tokens": [50, 50]}
    sim.run(iter([make_requests(**columns)]))
    assert sim.record.num_iterations == 21
    assert sim.record.notes[1] == 19.0


def test_lpm_serves_what_is_in_the_cache_first() -> None:
    """A leaves 40 tokens of its prompt in the cache; D shares them and overtakes C, which came before it."""
    requests = {
        "arrival_s": [0, 10, 11, 12], "prompt_tokens": [40, 40, 41, 41], "output_tokens": [3, 5, 1, 1],
        "prefix_group": [1, -1, -1, 1], "prefix_tokens": [40, 0, 0, 40], "max_output_tokens": 5,
    }  # fmt: skip
    server = {"max_running": 1, "block_size": 4, "prefix_caching": True}
    assert "".join(batches(run("sglang", requests, **server)))[-2:] == "CD"
    assert "".join(batches(run("sglang-lpm", requests, **server)))[-2:] == "DC"


def test_lpm_lets_one_of_a_group_compute_the_prefix() -> None:
    """A and B share 40 tokens that nobody has computed: of two slots C gets the second, although B came before it."""
    requests = {
        "arrival_s": [0, 0, 0], "prompt_tokens": [44, 44, 44], "output_tokens": [2, 2, 2],
        "prefix_group": [2, 2, -1], "prefix_tokens": [40, 40, 0], "max_output_tokens": 2,
    }  # fmt: skip
    server = {"max_running": 2, "block_size": 4, "prefix_caching": True}
    assert batches(run("sglang", requests, **server)) == ["AB", "AB", "C", "C"]
    assert batches(run("sglang-lpm", requests, **server)) == ["AC", "AC", "B", "B"]
    short = {**requests, "prefix_tokens": [31, 31, 0]}  # too short to wait for
    assert batches(run("sglang-lpm", short, **server))[0] == "AB"


# Two requests of 7 + 6 tokens in 5 blocks of 4: enter together and repair, or reserve


@pytest.mark.parametrize(
    ("policy", "expected", "processed"),
    [
        ("vllm-v0", [6, 10], 32),
        ("trt-max-utilization", [6, 10], 32),
        ("trt-no-evict", [6, 12], 24),
        ("orca-vidur", [6, 12], 24),
        ("ft-vidur", [6, 12], 24),
        ("lightllm", [6, 12], 24),
        ("past-future", [6, 12], 24),
        ("sglang", [6, 12], 24),
    ],
)
def test_two_requests_in_five_blocks(policy: str, expected: list[int], processed: int) -> None:
    requests = {"arrival_s": [0, 0], "prompt_tokens": [7, 7], "output_tokens": [6, 6], "max_output_tokens": 6}
    sim = run(policy, requests, num_kv_blocks=5, block_size=4)
    assert finishes(sim) == expected
    assert sim.totals().processed_tokens == processed


def test_reserving_running_first_and_whole_batches() -> None:
    """Room for two of 2 + 3 tokens: Orca takes C in when A is done, FasterTransformer when A and B are."""
    requests = {"arrival_s": [0, 0, 0], "prompt_tokens": [2, 2, 2], "output_tokens": [1, 3, 3], "max_output_tokens": 3}
    assert batches(run("orca-vidur", requests, num_kv_blocks=8)) == ["AB", "BC", "BC", "C"]
    assert batches(run("ft-vidur", requests, num_kv_blocks=8)) == ["AB", "B", "B", "C", "C", "C"]


def test_max_utilization_asks_for_the_next_step_only() -> None:
    """B's 12 tokens do not fit beside A's 9 in 5 blocks of 4; the 4 of them that the budget leaves do."""
    requests = {"arrival_s": [0, 0], "prompt_tokens": [9, 12], "output_tokens": [2, 1]}
    server = {"num_kv_blocks": 5, "block_size": 4, "max_batched_tokens": 13}
    assert batches(run("vllm", requests, **server)) == ["A", "A", "B"]
    paused = run("trt-max-utilization", requests, **server)
    assert batches(paused) == ["AB", "A", "B"]
    assert paused.totals().num_preemptions == (1, 0, 0, 0)


@settings(max_examples=max(settings.default.max_examples // 30, 10))
@given(cases())
def test_the_last_admitted_is_the_latest_arrival_under_vllm_v0(case: Case) -> None:
    """By arrival, stopping at the first that does not fit, the running batch stands in order of arrival: v0's victim is
    that of `prefill-first`."""
    logs = []
    for policy in ("vllm-v0", "prefill-first"):
        sim = replace(case, policy=make_policy(policy), looks=None).kernel(log=True)
        logs.append(sim.log_triples().tolist())
    assert logs[0] == logs[1]


# Past-Future


def test_lengths_that_finished_are_kept_in_order() -> None:
    """The last 200, as they came and by size."""
    scene, lengths = Scene([{}]), np.random.default_rng(1).integers(1, 60, 500)
    for length in lengths:
        scene.rows[0]["generated_tokens"] = length
        remember_length(scene.rows[0], scene.server)
    assert scene.server.notes[208:408].tolist() == sorted(lengths[-200:].tolist())
    assert sorted(scene.server.notes[8:208].tolist()) == sorted(lengths[-200:].tolist())


def test_a_length_is_drawn_beyond_what_there_is() -> None:
    """Of 200 requests of 10 tokens; the cap before any has finished, and beyond the longest."""
    scene = Scene([{"max_output_tokens": 50, "generated_tokens": 4}])
    assert drawn_left(scene.rows[0], scene.server, 0) == 46
    scene.rows[0]["generated_tokens"] = 10
    for _ in range(200):
        remember_length(scene.rows[0], scene.server)
    assert drawn_left(scene.rows[0], scene.server, 0) == 40
    scene.rows[0]["generated_tokens"] = 4
    assert drawn_left(scene.rows[0], scene.server, 0) == 6


def test_past_future_learns_that_caps_are_not_used() -> None:
    """Two requests of 1 + 10 tokens with a cap of 35, in 40 tokens, after 210 like them: together, or one by one."""
    num = 210
    requests = {
        "arrival_s": [*(11 * place for place in range(num)), 11 * num, 11 * num],
        "prompt_tokens": [1] * (num + 2), "output_tokens": [10] * (num + 2), "max_output_tokens": 35,
    }  # fmt: skip
    assert [done - 11 * num for done in finishes(run("past-future", requests, num_kv_blocks=40))[-2:]] == [10, 10]
    assert [done - 11 * num for done in finishes(run("lightllm", requests, num_kv_blocks=40))[-2:]] == [10, 20]


def test_lightllm_tries_every_six_decode_steps() -> None:
    """B comes a second after A, and enters six iterations after the try that let A in."""
    requests = {"arrival_s": [0, 1], "prompt_tokens": [1, 1], "output_tokens": [9, 2], "max_output_tokens": 9}
    expected = ["A"] * 6 + ["B", "AB", "A", "A"]
    assert batches(run("lightllm", requests)) == expected
    assert batches(run("lightllm:mode=aggressive,every=1", requests)) == ["A", "B", "AB", *["A"] * 7]
