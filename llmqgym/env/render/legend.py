"""The foot of the picture: what the colours mean."""

from __future__ import annotations

from llmqgym.env.render import theme
from llmqgym.env.render.bar import draw_stripes
from llmqgym.env.render.layout import HEIGHT, MARGIN, WIDTH
from llmqgym.env.render.pen import Pen
from llmqgym.env.render.theme import ALERT, INK, SOFT, Colour

_FIRST, _SECOND = HEIGHT - 40, HEIGHT - 19
_SWATCH, _HEIGHT, _SPACE, _SIZE = 18, 10, 18, 12
_RAMP_WIDTH = 120


def draw_legend(pen: Pen) -> None:
    """Two lines under a rule."""
    pen.box(MARGIN, HEIGHT - 55, WIDTH - 2 * MARGIN, 1, theme.FAINT)
    x = _write(pen, MARGIN, _FIRST, "prompt, left:", SOFT)
    x = _swatch(pen, x, theme.PROMPT, "computed")
    x = _swatch(pen, x, theme.UNCOMPUTED, "to compute") + 14
    x = _write(pen, x, _FIRST, "output, right:", SOFT)
    colour = theme.RAMP[2]
    x = _swatch(pen, x, colour, "generated")
    x = _swatch(pen, x, theme.tint(colour), "predicted")
    draw_stripes(pen, x, x + _SWATCH, _FIRST - _HEIGHT // 2, _HEIGHT, colour)
    x = _swatch(pen, x, None, "to recompute")
    _swatch(pen, x, ALERT, "beyond the prediction")
    x = _draw_ramp(pen, _write(pen, MARGIN, _SECOND, "predicted output:", SOFT))
    pen.dot(x + 2, _SECOND, 2, ALERT)
    x = _write(pen, x + 10, _SECOND, "has been preempted") + _SPACE
    width = pen.text(x, _SECOND, "17", _SIZE, INK)
    x = _write(pen, x + width + 6, _SECOND, "can be chosen now") + _SPACE
    width = pen.text(x, _SECOND, "17", _SIZE, SOFT, bold=True)
    _write(pen, x + width + 6, _SECOND, "admitted in this iteration")


def _write(pen: Pen, x: int, y: int, text: str, colour: Colour = INK) -> int:
    """Returns where the next may begin."""
    return x + pen.text(x, y, text, _SIZE, colour) + 8


def _swatch(pen: Pen, x: int, colour: Colour | None, text: str) -> int:
    if colour is not None:
        pen.box(x, _FIRST - _HEIGHT // 2, _SWATCH, _HEIGHT, colour)
    return _write(pen, x + _SWATCH + 6, _FIRST, text) + _SPACE - 8


def _draw_ramp(pen: Pen, x: int) -> int:
    low, high = theme.RAMP_TOKENS
    x = _write(pen, x, _SECOND, f"{low:,}")
    for column in range(_RAMP_WIDTH):
        tokens = low * (high / low) ** (column / (_RAMP_WIDTH - 1))
        pen.box(x + column, _SECOND - _HEIGHT // 2, 1, _HEIGHT, theme.colour_of(tokens))
    return _write(pen, x + _RAMP_WIDTH + 8, _SECOND, f"{high:,} tokens") + 22
