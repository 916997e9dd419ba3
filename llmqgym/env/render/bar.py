"""A request as a bar: its prompt to the left of an axis, its output to the right, each to a scale in tokens."""

from __future__ import annotations

from dataclasses import dataclass

from llmqgym.env.render import theme
from llmqgym.env.render.parts import parts_of
from llmqgym.env.render.pen import Pen
from llmqgym.env.render.scene import Request

#: A bar that is longer than its room has a gap of so many pixels, so many before its end.
_CUT, _CUT_FROM_END = 2, 6
#: Stripes of tokens that are to be computed again: their period, and how much of it is filled.
_PERIOD, _STRIPE = 4, 2


@dataclass(frozen=True)
class Axis:
    """Where the bars of a column stand, in pixels: x of the axis, the room on either side and the tokens it holds."""

    x: int
    prompt_width: int
    output_width: int
    prompt_tokens: int
    output_tokens: int

    def prompt_pixels(self, tokens: int) -> int:
        """Width of so many tokens of a prompt; at most the room."""
        return min(round(tokens * self.prompt_width / self.prompt_tokens), self.prompt_width)

    def output_pixels(self, tokens: int) -> int:
        """Width of so many tokens of an output; at most the room."""
        return min(round(tokens * self.output_width / self.output_tokens), self.output_width)


def draw_bar(pen: Pen, axis: Axis, y: int, height: int, request: Request, pale: float = theme.PALE) -> None:
    """The bar of a request, its upper edge at y; `pale` is what is predicted only."""
    _draw_prompt(pen, axis, y, height, request)
    _draw_output(pen, axis, y, height, request, pale)


def _draw_prompt(pen: Pen, axis: Axis, y: int, height: int, request: Request) -> None:
    parts = parts_of(request)
    whole = axis.prompt_pixels(request.prompt_tokens)
    computed = axis.prompt_pixels(parts.computed)
    pen.box(axis.x - 1 - whole, y, whole, height, theme.UNCOMPUTED)
    pen.box(axis.x - 1 - computed, y, computed, height, theme.PROMPT)
    if request.prompt_tokens > axis.prompt_tokens:
        pen.box(axis.x - 1 - whole + _CUT_FROM_END - _CUT, y, _CUT, height, theme.PAPER)


def _draw_output(pen: Pen, axis: Axis, y: int, height: int, request: Request, pale: float) -> None:
    parts = parts_of(request)
    colour = theme.colour_of(request.predicted_output_tokens)
    left = axis.x + 1
    kept = axis.output_pixels(parts.kept)
    generated = axis.output_pixels(request.generated_tokens)
    predicted = axis.output_pixels(request.generated_tokens - parts.beyond + parts.ahead)
    pen.box(left, y, predicted, height, theme.tint(colour, pale))
    pen.box(left + predicted - 1, y, min(1, predicted), height, colour)
    pen.box(left, y, min(kept, predicted), height, colour)
    if parts.beyond:
        pen.box(left + predicted, y, kept - predicted, height, theme.ALERT)
    draw_stripes(pen, left + kept, left + generated, y, height, colour)
    if parts.beyond:
        pen.box(left + predicted, y - 1, 1, height + 2, theme.INK)
    if request.generated_tokens + parts.ahead > axis.output_tokens:
        pen.box(left + axis.output_width - _CUT_FROM_END, y, _CUT, height, theme.PAPER)


def draw_stripes(pen: Pen, left: int, right: int, y: int, height: int, colour: theme.Colour) -> None:
    """Of tokens that were lost, and are to be computed again."""
    pen.box(left, y, right - left, height, theme.PAPER)
    for x in range(left, right, _PERIOD):
        pen.box(x, y, min(_STRIPE, right - x), height, colour)
