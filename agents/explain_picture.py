"""The curves of `agents.explain` as a picture: scores with the middle half of the states, indices beside them."""

from __future__ import annotations

from typing import Any

from llmqgym.svg import COLOURS, Panel, Scale, legend, page, spanning, text

_WIDTH, _HEIGHT, _COLUMNS = 215.0, 150.0, 4
_LEFT, _TOP, _STEP_X, _STEP_Y = 52.0, 66.0, 275.0, 222.0


def picture_of(document: dict[str, Any]) -> str:
    """The SVG: a panel for each curve."""
    curves = document["curves"]
    names = sorted({name for curve in curves for name in curve["indices"]})
    colours = {name: COLOURS[1 + place % (len(COLOURS) - 1)] for place, name in enumerate(names)}
    parts = [text(_LEFT, 18, f"What {document['agent']} has learnt", "title")]
    note = "score: logit less that of run, mean and middle half of states; indices: from last (bottom) to first (top)"
    parts.append(text(_LEFT, 34, note, "label"))
    for place, curve in enumerate(curves):
        down, along = divmod(place, _COLUMNS)
        parts += _panel(curve, _LEFT + along * _STEP_X, _TOP + down * _STEP_Y, colours)
    rows = -(-len(curves) // _COLUMNS)
    bottom = _TOP + rows * _STEP_Y - 10
    entries = [("the agent", COLOURS[0], ""), *((name, colours[name], "4 3") for name in names)]
    parts += legend(_LEFT, bottom, entries)
    return page(_LEFT + _COLUMNS * _STEP_X - 20, bottom + 15 * len(entries) + 8, parts)


def _panel(curve: dict[str, Any], left: float, top: float, colours: dict[str, str]) -> list[str]:
    values, scores = curve["values"], curve["score"]
    ratio = min(values) > 0 and max(values) > 30 * min(values)
    heights = spanning([*scores, *curve["low"], *curve["high"]])
    panel = Panel(left, top, _WIDTH, _HEIGHT, spanning(values, log=ratio), heights)
    title = "admit" if curve["part"] == "admit" else "preempt"
    label = curve["says"] + ("" if curve["unit"] == "share" else f", {curve['unit']}")
    parts = panel.frame(title, label, "score")
    lower, upper = (list(zip(values, curve[name], strict=True)) for name in ("low", "high"))
    parts += panel.band(lower, upper, COLOURS[0])
    room = 0.05 * (heights.high - heights.low)
    low, high = heights.low + room, heights.high - room
    for name, shares in curve["indices"].items():
        stretched = [(x, low + share * (high - low)) for x, share in zip(values, shares, strict=True)]
        parts += panel.line(stretched, colours[name], "4 3")
    return [*parts, *panel.line(list(zip(values, scores, strict=True)), COLOURS[0]), *_zero(panel, heights)]


def _zero(panel: Panel, heights: Scale) -> list[str]:
    """Where choosing is worth as much as running."""
    if not heights.low < 0 < heights.high:
        return []
    _, y = panel.at((panel.x.low, 0.0))
    return [f'<path class="frame" d="M{panel.left:.1f} {y:.1f}h{panel.width:.1f}"/>']
