"""A scene as a picture: counters and gauges on top, the batch on the left, the queue on the right, the legend below."""

from __future__ import annotations

from llmqgym.env.render.bar import Axis, draw_bar
from llmqgym.env.render.gauges import draw_counters, draw_gauges
from llmqgym.env.render.lanes import Lanes
from llmqgym.env.render.layout import BATCH, BOTTOM, HEIGHT, QUEUE, TOP, WIDTH, draw_title
from llmqgym.env.render.legend import draw_legend
from llmqgym.env.render.pen import Pen
from llmqgym.env.render.scene import Request, Scene
from llmqgym.env.render.theme import ALERT, FAINT, INK, PALE, PAPER, SOFT

_GAP, _ID_WIDTH, _AGE_WIDTH = 20, 34, 48
#: Share of a bar's room that is its prompt's.
_PROMPT_SHARE = 0.36
_MOST_PITCH, _MOST_HEIGHT = 22, 12
_QUEUE_PITCH, _QUEUE_ROWS = 18, 16
#: Where nearly everything is still to come, predictions may be less pale.
_QUEUE_PALE = 0.4


class Canvas:
    """Draws the scenes of an episode; remembers which lane a request has."""

    def __init__(self) -> None:
        self._lanes = Lanes()

    def draw(self, scene: Scene) -> Pen:
        """The picture, WIDTH x HEIGHT pixels."""
        pen = Pen((WIDTH, HEIGHT))
        pen.clear(PAPER)
        draw_counters(pen, scene)
        draw_gauges(pen, scene)
        self._draw_batch(pen, scene)
        _draw_queue(pen, scene)
        draw_legend(pen)
        return pen

    def _draw_batch(self, pen: Pen, scene: Scene) -> None:
        lane_of = self._lanes.place(request.id for request in scene.running)
        draw_title(pen, BATCH, 142, "Running", _batch_in_words(scene))
        columns, rows = self._lanes.grid
        for column in range(columns):
            axis, _, _ = self.place_of(scene, column * rows)
            pen.box(axis.x - 1, TOP - 4, 2, BOTTOM - TOP + 4, FAINT)
            _draw_axis_ends(pen, axis)
        for request in scene.running:
            if request.id in lane_of:
                axis, y, height = self.place_of(scene, lane_of[request.id])
                _draw_request(pen, axis, y, height, request, PALE)
        hidden = scene.num_running - len(lane_of)
        if hidden > 0:
            pen.text(BATCH[1], BOTTOM + 8, f"+ {hidden:,} more", 12, INK, align="right")

    def place_of(self, scene: Scene, lane: int) -> tuple[Axis, int, int]:
        """The axis of a lane, and upper edge and height of the bar in it."""
        columns, rows = self._lanes.grid
        column, row = divmod(lane, rows)
        left, right = BATCH
        width = (right - left - _GAP * (columns - 1)) // columns
        pitch = min((BOTTOM - TOP) / rows, _MOST_PITCH)
        start = left + column * (width + _GAP)
        height = min(round(pitch) - 4, _MOST_HEIGHT)
        return _axis(scene, start + _ID_WIDTH, start + width), TOP + round(row * pitch), height


def _axis(scene: Scene, left: int, right: int) -> Axis:
    prompt = round((right - left) * _PROMPT_SHARE)
    return Axis(
        left + prompt, prompt - 1, right - left - prompt - 1, scene.prompt_axis_tokens, scene.output_axis_tokens
    )


def _batch_in_words(scene: Scene) -> str:
    words = f"{scene.num_running:,}"
    if scene.max_running is not None:
        words += f" of {scene.max_running:,} slots"
    return words + (f", {scene.num_prefilling:,} in prefill" if scene.num_prefilling else "")


def _short(tokens: int) -> str:
    """A number of tokens in few letters: 812, 37k, 4M."""
    for unit, letter in ((10**6, "M"), (10**3, "k")):
        if tokens >= 10 * unit:
            return f"{tokens / unit:,.0f}{letter}"
    return f"{tokens:,}"


def _draw_axis_ends(pen: Pen, axis: Axis) -> None:
    y = TOP - 13
    pen.text(axis.x - axis.prompt_width, y, f"{axis.prompt_tokens:,}", 10, SOFT)
    pen.text(axis.x, y, "0", 10, SOFT, align="centre")
    pen.text(axis.x + axis.output_width, y, f"{axis.output_tokens:,}", 10, SOFT, align="right")


def _draw_request(pen: Pen, axis: Axis, y: int, height: int, request: Request, pale: float) -> None:
    """Its number, a dot if it has been preempted, its bar."""
    middle, left = y + height // 2, axis.x - axis.prompt_width - 1
    size, colour = 10 if height < 10 else 11, INK if request.is_allowed else SOFT
    pen.text(left - 9, middle, str(request.id), size, colour, bold=request.is_new, align="right")
    if request.num_preemptions:
        pen.dot(left - 5, middle, 2, ALERT)
    draw_bar(pen, axis, y, height, request, pale)


def _draw_queue(pen: Pen, scene: Scene) -> None:
    left, right = QUEUE
    draw_title(pen, QUEUE, 142, "Waiting", f"{scene.num_waiting:,}")
    axis = _axis(scene, left + _ID_WIDTH, right - _AGE_WIDTH)
    pen.box(axis.x - 1, TOP - 4, 2, BOTTOM - TOP + 4, FAINT)
    _draw_axis_ends(pen, axis)
    half = _QUEUE_ROWS // 2
    y = _draw_part(pen, axis, TOP, "the oldest", scene.oldest, _QUEUE_ROWS - min(len(scene.shortest), half))
    most = _QUEUE_ROWS - min(len(scene.oldest), half)
    _draw_part(pen, axis, y + 6, "of the others, those predicted shortest", scene.shortest, most)
    if scene.num_unseen > 0:
        tokens = f"{_short(scene.unseen_prompt_tokens)} prompt, {_short(scene.unseen_predicted_tokens)} output tokens"
        pen.text(left, BOTTOM + 8, f"+ {scene.num_unseen:,} more", 12, INK)
        pen.text(right, BOTTOM + 8, tokens, 11, SOFT, align="right")


def _draw_part(pen: Pen, axis: Axis, y: int, title: str, requests: tuple[Request, ...], most: int) -> int:
    """At most so many requests of a part of the window; returns where the next part begins."""
    if not requests:
        return y
    left, right = QUEUE
    hidden = len(requests) - most
    title += f", {hidden:,} more" if hidden > 0 else ""
    pen.box(left, y - 3, right - left, 16, PAPER)
    pen.text(left, y + 4, title, 11, SOFT)
    for request in requests[:most]:
        y += _QUEUE_PITCH
        _draw_request(pen, axis, y, 10, request, _QUEUE_PALE)
        pen.text(right, y + 5, f"{request.age_s:.1f} s", 11, SOFT, align="right")
    return y + _QUEUE_PITCH
