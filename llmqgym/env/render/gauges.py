"""The upper part of the picture: counters, the gauges of KV cache and token budget, the last action."""

from __future__ import annotations

from llmqgym.env.render.layout import BATCH, MARGIN, QUEUE, WIDTH, draw_title
from llmqgym.env.render.pen import Pen
from llmqgym.env.render.scene import SHORT, Scene
from llmqgym.env.render.theme import ALERT, FAINT, INK, PROMPT, SOFT, Colour

_GAP, _TITLE_Y, _GAUGE_Y, _GAUGE_HEIGHT = 24, 92, 106, 10
_KV = (BATCH[0], (sum(BATCH) - _GAP) // 2)
_BUDGET = (_KV[1] + _GAP, BATCH[1])


def draw_counters(pen: Pen, scene: Scene) -> None:
    """Eight numbers in a row."""
    counters = (
        ("clock", f"{scene.clock_s:,.2f} s"),
        ("iteration", f"{scene.num_iterations:,}"),
        ("running", f"{scene.num_running:,}"),
        ("waiting", f"{scene.num_waiting:,}"),
        ("finished", f"{scene.num_finished:,}"),
        ("preemptions", f"{scene.num_preemptions:,}"),
        ("requests/s", f"{scene.requests_per_s:.2f}"),
        ("tokens/s", f"{scene.tokens_per_s:,.0f}"),
    )
    step = (WIDTH - 2 * MARGIN) / len(counters)
    for number, (label, value) in enumerate(counters):
        x = MARGIN + round(number * step)
        pen.text(x, 26, label, 12, SOFT)
        pen.text(x, 48, value, 20, INK, bold=True)
    pen.box(MARGIN, 72, WIDTH - 2 * MARGIN, 1, FAINT)


def draw_gauges(pen: Pen, scene: Scene) -> None:
    """KV cache, token budget, and beside them the last action."""
    blocks, used = scene.num_kv_blocks, scene.used_kv_blocks
    kv = f"{used:,} blocks" if blocks is None else f"{used:,} of {blocks:,} blocks, {used / blocks:.0%}"
    draw_title(pen, _KV, _TITLE_Y, "KV cache", kv)
    _draw_gauge(pen, _KV, scene.kv_share, ALERT if scene.state == SHORT else PROMPT)
    tokens, budget = scene.scheduled_tokens, scene.max_batched_tokens
    given = f"{tokens:,} of {budget:,}" if tokens is not None and budget is not None else "none"
    draw_title(pen, _BUDGET, _TITLE_Y, "Tokens of this iteration", given)
    _draw_gauge(pen, _BUDGET, tokens / budget if tokens is not None and budget is not None else None, PROMPT)
    draw_title(pen, QUEUE, _TITLE_Y, "Last action", "" if scene.state != SHORT else SHORT)
    pen.text(QUEUE[0], _GAUGE_Y + 6, scene.action or "none", 13, INK)


def _draw_gauge(pen: Pen, panel: tuple[int, int], share: float | None, colour: Colour) -> None:
    left, right = panel
    pen.box(left, _GAUGE_Y, right - left, _GAUGE_HEIGHT, FAINT)
    pen.box(left, _GAUGE_Y, round((right - left) * (share or 0.0)), _GAUGE_HEIGHT, colour)
