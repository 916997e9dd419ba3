"""Where things are in the picture, in pixels, and the title of a panel."""

from __future__ import annotations

from llmqgym.env.render.pen import Pen
from llmqgym.env.render.theme import INK, SOFT

WIDTH, HEIGHT, MARGIN = 960, 612, 24
#: Left and right edge of the batch's panel, and of the queue's.
BATCH, QUEUE = (MARGIN, 622), (658, WIDTH - MARGIN)
#: Between which heights the bars are.
TOP, BOTTOM = 172, 536


def draw_title(pen: Pen, panel: tuple[int, int], y: int, title: str, value: str) -> None:
    """A panel's title on the left, what there is of it on the right."""
    pen.text(panel[0], y, title, 14, INK, bold=True)
    pen.text(panel[1], y, value, 12, SOFT, align="right")
