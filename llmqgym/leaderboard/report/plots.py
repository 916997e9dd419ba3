"""The board's pictures as PNG, by matplotlib: distributions, gaps to the bound, loads, the price of misprediction."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from llmqgym.errors import InputError
from llmqgym.files import atomic_bytes, make_folder
from llmqgym.leaderboard.report.board import REFERENCE, Board, Cell, figure
from llmqgym.leaderboard.report.measures import E2E, TAIL_E2E, TTFT, measure_of
from llmqgym.leaderboard.report.series import DRAWN, Along, featured, loads, sigmas

#: After vLLM's ink: Okabe and Ito's, in an order in which lightness alternates; oracles are dashed.
_INK, _SOFT, _ALERT = "#1a202c", "#8a93a3", "#b34a00"
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#a64d8a", "#6b4c9a")
_TITLES = {"e2e_s": "E2E", "ttft_s": "TTFT"}
_DPI = 130


def check_matplotlib() -> None:
    """Raises InputError where matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError('matplotlib is not installed: pip install "llmqgym[plots]", or leave --plots out.') from error


def write_plots(folder: str | Path, document: dict[str, Any]) -> list[Path]:
    """Write the PNGs of a board's document into `folder`, which is made; their paths.

    cdf-SCENARIO, gap-SCENARIO; load-SCENARIO where a board has several loads, misprediction-noisy where it has
    scenarios noisy-SIGMA. Raises InputError where matplotlib is not installed, OutputError.
    """
    check_matplotlib()
    board = Board(document)
    drawings: dict[str, Callable[[], Any]] = {}
    for scenario in board.scenarios:
        drawings[f"cdf-{scenario['name']}"] = partial(_distributions, board, scenario)
        drawings[f"gap-{scenario['name']}"] = partial(_gaps, board, scenario)
    for kind, title, found in (
        ("load", "latency against load", loads(board)),
        ("misprediction", "the price of misprediction", sigmas(board)),
    ):
        for along in found:
            drawings[f"{kind}-{along.name}"] = partial(_along, board, along, title)
    make_folder(folder)
    paths = []
    for name, draw in drawings.items():
        drawn = draw()
        if drawn is not None:
            paths.append(_save(Path(folder) / f"{re.sub(r'[^A-Za-z0-9.@_-]', '_', name)}.png", drawn))
    return paths


def _panels(title: str, num: int, height: float = 3.6) -> tuple[Any, Sequence[Any]]:
    """A figure of its own, not one of pyplot's: nothing global is touched."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(4.9 * num, height), layout="constrained")
    made.suptitle(title, fontsize=11, fontweight="bold")
    panels = made.subplots(1, num, squeeze=False)[0]
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(color="#e4e7ec", linewidth=0.7)
        panel.set_axisbelow(True)
    return made, panels


def _style(board: Board, spec: str, shown: Sequence[str]) -> dict[str, Any]:
    if spec == REFERENCE:
        return {"color": _INK, "linewidth": 2.4}
    place = [each for each in shown if each != REFERENCE].index(spec)
    oracle = any(policy["spec"] == spec and policy.get("oracle") for policy in board.policies)
    return {"color": _COLOURS[place % len(_COLOURS)], "linewidth": 1.6, "linestyle": "--" if oracle else "-"}


def _distributions(board: Board, scenario: dict[str, Any]) -> Any:
    shown = featured(board, [scenario["name"]])
    cells = {spec: board.cell(scenario["name"], spec) for spec in shown}
    points = {(spec, of): cell.quantiles(of) for spec, cell in cells.items() if cell is not None for of in DRAWN}
    if not any(points.values()):
        return None
    made, panels = _panels(f"{scenario['name']}: share of requests done within", 2)
    for panel, of in zip(panels, DRAWN, strict=True):
        for spec in shown:
            if points.get((spec, of)):
                shares, values = zip(*points[spec, of], strict=True)
                panel.plot(values, shares, label=spec, **_style(board, spec, shown))
        panel.set(xscale="log", xlabel=f"{_TITLES[of]} (s)", ylim=(0, 1))
        _plain_ticks(panel.xaxis)
    panels[-1].legend(fontsize=8, frameon=False, loc="lower right")
    return made


def _gaps(board: Board, scenario: dict[str, Any]) -> Any:
    keys = [key for key in (E2E, TTFT) if figure((scenario.get("bound") or {}).get(key))]
    cells = [cell for cell in board.cells(scenario["name"]) if any(cell.gap(key) for key in keys)]
    if not cells:
        return None
    made, panels = _panels(f"{scenario['name']}: mean above the certified bound", len(keys), 1.2 + 0.2 * len(cells))
    for panel, key in zip(panels, keys, strict=True):
        with_gap = [(gap, cell) for cell in cells if (gap := cell.gap(key))]
        with_gap.sort(key=lambda pair: -pair[0].mean)
        for place, (gap, cell) in enumerate(with_gap):
            colour = _INK if cell.spec == REFERENCE else _SOFT if cell.oracle else _COLOURS[0]
            if gap.interval:
                panel.plot([1 + end for end in gap.interval], [place, place], color=colour, linewidth=1.6)
            face = "white" if cell.oracle else colour
            panel.plot([1 + gap.mean], [place], "o", color=colour, markerfacecolor=face, markersize=5)
        panel.axvline(1, color=_ALERT, linestyle="--", linewidth=1.3)
        panel.set_yticks(range(len(with_gap)), [_marked(cell) for _, cell in with_gap], fontsize=8)
        panel.set(xscale="log", xlabel=f"{measure_of(key).label}, multiple of the bound")
        _plain_ticks(panel.xaxis)
    return made


def _along(board: Board, along: Along, title: str) -> Any:
    names = [name for _, name in along.points]
    shown = featured(board, names)
    keys = [key for key in (E2E, TAIL_E2E) if any(measure.key == key for measure in board.measures)]
    made, panels = _panels(f"{title}: {along.name} (hollow: censored, or the queue grows)", len(keys))
    for panel, key in zip(panels, keys, strict=True):
        for spec in shown:
            found = [(at, cell) for at, name in along.points if (cell := board.cell(name, spec)) and not cell.skipped]
            _line(panel, found, key, spec, _style(board, spec, shown))
        panel.set(yscale="log", ylabel=measure_of(key).title, xlabel=along.axis)
        panel.set_xticks([at for at, _ in along.points])
        _plain_ticks(panel.yaxis)
    panels[0].legend(fontsize=8, frameon=False)
    return made


def _line(panel: Any, cells: Sequence[tuple[float, Cell]], key: str, spec: str, style: dict[str, Any]) -> None:
    """Means and their intervals; hollow where a run is censored or its queue grows."""
    found = [(at, measured, cell) for at, cell in cells if (measured := cell.figure(key))]
    panel.plot([at for at, _, _ in found], [measured.mean for _, measured, _ in found], label=spec, **style)
    for at, measured, cell in found:
        if measured.interval:
            panel.plot([at, at], measured.interval, color=style["color"], linewidth=1)
        face = style["color"] if cell.comparable else "white"
        panel.plot([at], [measured.mean], "o", color=style["color"], markerfacecolor=face, markersize=4)


def _marked(cell: Cell) -> str:
    return f"{cell.spec} (oracle)" if cell.oracle else cell.spec


def _plain_ticks(axis: Any) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 300 * low else (1.0,)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def _save(path: Path, drawn: Any) -> Path:
    """The same bytes for the same board: no time stamp, no version."""
    buffer = io.BytesIO()
    drawn.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    with atomic_bytes(path) as file:
        file.write(buffer.getvalue())
    return path
