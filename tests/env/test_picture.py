"""The picture's pixels are the scene's numbers."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from llmqgym.env.render.ansi import write_ansi
from llmqgym.env.render.canvas import Canvas
from llmqgym.env.render.lanes import MOST_LANES, Lanes
from llmqgym.env.render.scene import OPEN, SHORT, Request, Scene
from llmqgym.env.render.theme import ALERT, PROMPT, UNCOMPUTED, Colour, colour_of, tint

REQUEST = Request(
    id=1, prompt_tokens=400, computed_tokens=480, generated_tokens=81, prefill_left_tokens=0,
    predicted_output_tokens=200.0, num_preemptions=0, age_s=1.0, command=17, is_allowed=True, is_new=False,
)  # fmt: skip
SCENE = Scene(
    clock_s=12.5, num_iterations=1234, state=OPEN, action="run", num_kv_blocks=1000, used_kv_blocks=250,
    max_batched_tokens=2048, budget_tokens=512, max_running=16, num_prefilling=0, num_waiting=0,
    num_finished=25, num_rejected=0, num_preemptions=3, processed_tokens=50_000, lost_tokens=0, running=(REQUEST,),
    oldest=(), shortest=(), unseen_prompt_tokens=0, unseen_predicted_tokens=0, prompt_axis_tokens=1000,
    output_axis_tokens=500,
)  # fmt: skip


def row_of(scene: Scene, lane: int = 0) -> tuple[NDArray[np.uint8], int, int]:
    """The pixels through the middle of the bar in a lane, and the room for prompt and output."""
    canvas = Canvas()
    frame = canvas.draw(scene).frame()
    axis, y, height = canvas.place_of(scene, lane)
    left, right = axis.x - axis.prompt_width - 1, axis.x + axis.output_width + 1
    return frame[y + height // 2, left:right], axis.prompt_width, axis.output_width


def count(row: NDArray[np.uint8], colour: Colour) -> int:
    return int((row == np.array(colour, np.uint8)).all(axis=1).sum())


def test_a_request_that_decodes() -> None:
    row, prompt_width, output_width = row_of(SCENE)
    colour = colour_of(200.0)
    assert count(row, PROMPT) == round(400 * prompt_width / 1000)
    assert count(row, UNCOMPUTED) == 0
    generated, predicted = round(81 * output_width / 500), round(200 * output_width / 500)
    assert count(row, colour) == generated + 1  # and the line at the prediction's end
    assert count(row, tint(colour)) == predicted - generated - 1
    assert count(row, ALERT) == 0


def test_a_request_in_prefill() -> None:
    request = replace(REQUEST, computed_tokens=100, generated_tokens=0, prefill_left_tokens=300)
    row, prompt_width, output_width = row_of(replace(SCENE, running=(request,)))
    assert count(row, PROMPT) == round(100 * prompt_width / 1000)
    assert count(row, PROMPT) + count(row, UNCOMPUTED) == round(400 * prompt_width / 1000)
    assert count(row, tint(colour_of(200.0))) == round(200 * output_width / 500) - 1


def test_a_request_to_recompute() -> None:
    """Every other pair of pixels of its output is filled."""
    request = replace(REQUEST, computed_tokens=0, generated_tokens=100, prefill_left_tokens=500, num_preemptions=1)
    row, prompt_width, output_width = row_of(replace(SCENE, running=(request,)))
    assert count(row, UNCOMPUTED) == round(400 * prompt_width / 1000)
    assert count(row, PROMPT) == 0
    lost = round(100 * output_width / 500)
    assert lost // 2 - 1 <= count(row, colour_of(200.0)) - 1 <= lost // 2 + 2


def test_a_request_beyond_its_prediction() -> None:
    request = replace(REQUEST, predicted_output_tokens=50.0)
    row, _, output_width = row_of(replace(SCENE, running=(request,)))
    predicted, generated = round(50 * output_width / 500), round(81 * output_width / 500)
    assert count(row, colour_of(50.0)) == predicted
    assert count(row, ALERT) == generated - predicted - 1  # less the line at the prediction's end


def test_what_is_longer_than_its_axis_fills_it() -> None:
    request = replace(REQUEST, prompt_tokens=5000, computed_tokens=5900, generated_tokens=901)
    row, prompt_width, output_width = row_of(replace(SCENE, running=(replace(request, predicted_output_tokens=950.0),)))
    assert count(row, PROMPT) == prompt_width - 2  # less the gap that says so
    assert count(row, colour_of(950.0)) == output_width - 2


def test_no_prediction() -> None:
    request = replace(REQUEST, predicted_output_tokens=math.nan)
    row, _, output_width = row_of(replace(SCENE, running=(request,)))
    assert count(row, colour_of(math.nan)) == round(81 * output_width / 500)
    assert count(row, ALERT) == 0


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_gauge(share: float) -> None:
    frame = Canvas().draw(replace(SCENE, used_kv_blocks=round(1000 * share))).frame()
    gauge = frame[110, 24:311]
    assert count(gauge, PROMPT) == round(287 * share)
    short = Canvas().draw(replace(SCENE, used_kv_blocks=round(1000 * share), state=SHORT)).frame()
    assert count(short[110, 24:311], ALERT) == round(287 * share)


def test_servers_without_limits() -> None:
    free = replace(SCENE, num_kv_blocks=None, max_running=None, max_batched_tokens=None)
    assert Canvas().draw(free).frame().shape == Canvas().draw(SCENE).frame().shape
    assert "KV cache 250 blocks, without limit" in write_ansi(free)


def test_more_running_requests_than_lanes() -> None:
    running = tuple(replace(REQUEST, id=number) for number in range(256))
    crowd = replace(SCENE, running=running, max_running=256)
    frame = Canvas().draw(crowd).frame()
    row, _, output_width = row_of(crowd, MOST_LANES - 1)
    assert count(row, colour_of(200.0)) == round(81 * output_width / 500) + 1
    few = Canvas().draw(replace(crowd, running=running[:MOST_LANES])).frame()
    assert (frame[538:550, 500:622] != 255).any()  # "+ 160 more"
    assert (few[538:550, 500:622] == 255).all()
    assert "+ 232 more" in write_ansi(crowd)


def test_a_long_queue() -> None:
    window = tuple(replace(REQUEST, id=number, computed_tokens=0, generated_tokens=0) for number in range(500))
    queue = replace(SCENE, oldest=window[:250], shortest=window[250:], num_waiting=900)
    assert (Canvas().draw(queue).frame() != Canvas().draw(SCENE).frame()).any()
    text = write_ansi(queue)
    assert text.count("  + 242 more") == 2
    assert "+ 400 waiting out of sight" in text


def test_lanes_are_kept_and_used_again() -> None:
    lanes = Lanes()
    assert lanes.grid == (1, 16)
    assert lanes.place(range(20)) == {number: number for number in range(20)}
    assert lanes.grid == (2, 16)
    assert lanes.place([3, 19, 40]) == {3: 3, 19: 19, 40: 0}
    assert lanes.grid == (2, 16)
    assert len(lanes.place(range(100, 300))) == MOST_LANES
