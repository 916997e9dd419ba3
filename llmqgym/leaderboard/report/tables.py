"""The page's tables: a mean board and a tail board for each scenario, as plain HTML that reads without scripts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from llmqgym.leaderboard.report.board import REFERENCE, Board, Cell, Figure, figure
from llmqgym.leaderboard.report.measures import E2E, TAIL_E2E, TTFT, Measure, digits

#: The measure that ranks each board.
RANKED = {"mean": E2E, "tail": TAIL_E2E}
NONE, TO, MINUS = "\N{EN DASH}", "\N{EN DASH}", "\N{MINUS SIGN}"
_LAST = math.inf  # where a row without the number goes


@dataclass(frozen=True)
class Column:
    """Of a board: its heading, and what a cell of it holds."""

    title: str
    tip: str
    html: Callable[[Cell], str]  # a whole <td>
    descending: bool = False  # the better first


def board_table(board: Board, scenario: dict[str, Any], kind: str) -> str:
    """One board of a scenario; oracles in a body of their own. '' where nothing is measured for it."""
    cells = list(board.cells(scenario["name"]))
    ranked = RANKED[kind]
    if not any(cell.figure(ranked) for cell in cells):
        return ""
    columns = _columns(board, scenario, kind, cells)
    head = "".join(
        heading(column.title, column.tip, descending=column.descending, sorted_by=column is columns[0])
        for column in columns
    )
    caption = {
        "mean": "Mean board: ranked by mean E2E",
        "tail": "Tail board: ranked by p99 E2E",
    }[kind]
    bodies = "".join(
        _body(columns, sorted((cell for cell in cells if cell.oracle is oracle), key=_order(ranked)), oracle=oracle)
        for oracle in (False, True)
    )
    return (
        f'<div class="scroll"><table class="board" data-board="{kind}"><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead>{bodies}</table></div>"
    )


def td(shown: str, value: float | str | None, *, tip: str = "", kind: str = "") -> str:
    """A table cell: `shown` is HTML, `value` what it is sorted by."""
    if isinstance(value, float):
        value = repr(value) if math.isfinite(value) else None
    sort = "" if value is None else f' data-v="{escape(str(value))}"'
    attributes = f' class="{kind}"' if kind else ""
    if tip:
        attributes += f' data-tip="{escape(tip)}"'
    return f"<td{sort}{attributes}>{shown}</td>"


def heading(title: str, tip: str, *, descending: bool = False, sorted_by: bool = False) -> str:
    """A table's heading: a button, so that it sorts from the keyboard too."""
    start = "descending" if descending else "ascending"
    state = f' aria-sort="{start}"' if sorted_by else ""
    attribute = f' data-tip="{escape(tip)}"' if tip else ""
    button = f'<button type="button"{attribute}>{escape(title)}</button>'
    return f'<th scope="col" data-first="{start}"{state}>{button}</th>'


def number(measured: Figure | None, measure: Measure, *, kind: str = "n") -> str:
    """A table cell with a measure and its interval."""
    if measured is None:
        return td(NONE, None, kind=kind)
    shown = digits(measured.mean * measure.scale)
    return td(f"{shown}{_range(measured, measure.scale)}", measured.mean, kind=kind)


def percent(value: float, *, sign: bool = True) -> str:
    """A share as a percentage, three digits at most.

    >>> percent(0.05), percent(12.3), percent(0.2, sign=False)
    ('+5.0 %', '+1,230 %', '20.0 %')
    """
    number = abs(value) * 100
    shown = f"{number:,.0f}" if number >= 100 else f"{number:.1f}"
    lead = "" if shown == "0.0" or not sign else "+" if value > 0 else MINUS
    return f"{lead}{shown} %"


def _columns(board: Board, scenario: dict[str, Any], kind: str, cells: Sequence[Cell]) -> list[Column]:
    ranked = RANKED[kind]
    own = [m for m in board.measures if m.board == kind and m.key != ranked and any(c.figure(m.key) for c in cells)]
    main = next(measure for measure in board.measures if measure.key == ranked)
    columns = [
        Column("rank", "places that the 95 % intervals allow; oracles have none", lambda cell: _rank(cell, ranked)),
        Column("policy, what it needs", "its name on the command line; what it must be told of a request", _name),
        Column(main.title, f"{main.meaning}; the bar is its 95 % interval, on a logarithmic scale"
               + (", the dashed line the bound" if kind == "mean" else ""), _bar(main, scenario, cells)),
        Column("unfinished, rejected", "requests over all runs, and whether the queue grew", _left_out),
        Column("vs vLLM", "difference to vLLM's on the same requests, of vLLM's", _versus(ranked)),
    ]  # fmt: skip
    if kind == "mean":
        tip = "how far above the certified bound: no schedule can be below it; none for censored runs"
        columns.append(Column("gap", tip, lambda cell: _gap(cell, E2E)))
    for measure in own:
        columns.append(
            Column(measure.title, measure.meaning, _number(measure), descending=measure.higher_is_better),
        )
        if measure.key == TTFT:
            columns.append(Column("gap TTFT", "the same for TTFT", lambda cell: _gap(cell, TTFT)))
    if kind == "mean" and any(cell.stable_rho for cell in cells):
        tip = "the largest share of the capacity at which the queue does not grow, by bisection"
        columns.append(Column("stable to", tip, _stable, descending=True))
    return columns


def _stable(cell: Cell) -> str:
    rho = cell.stable_rho
    return td(NONE if rho is None else f"{rho:.2f}", rho, kind="n")


def _number(measure: Measure) -> Callable[[Cell], str]:
    return lambda cell: number(cell.figure(measure.key), measure)


def _body(columns: Sequence[Column], cells: Sequence[Cell], *, oracle: bool) -> str:
    if not cells:
        return ""
    title = (
        f'<tr class="apart"><th scope="colgroup" colspan="{len(columns)}">Oracles: they read true output lengths, '
        "which no server knows. To compare with, not to deploy.</th></tr>"
        if oracle
        else ""
    )
    rows = "".join(_row(columns, cell) for cell in cells)
    return f'<tbody class="{"oracles" if oracle else "policies"}">{title}{rows}</tbody>'


def _row(columns: Sequence[Column], cell: Cell) -> str:
    kinds = [name for name, holds in (("reference", cell.spec == REFERENCE), ("off", not cell.comparable)) if holds]
    kind = f' class="{" ".join(kinds)}"' if kinds else ""
    return f'<tr data-policy="{escape(cell.spec)}"{kind}>{"".join(column.html(cell) for column in columns)}</tr>'


def _order(key: str) -> Callable[[Cell], tuple[float, float, float]]:
    def order(cell: Cell) -> tuple[float, float, float]:
        rank, measured = cell.rank(key), cell.figure(key)
        return (not cell.comparable, rank[0] if rank else _LAST, measured.mean if measured else _LAST)

    return order


def _rank(cell: Cell, key: str) -> str:
    rank, measured = cell.rank(key), cell.figure(key)
    if rank is None or measured is None:
        return td(NONE, None, kind="n")
    first, last = rank
    shown, tip = (f"{first}", "") if first == last else (f"{first}{TO}{last}", f"any place from {first} to {last}")
    return td(shown, first + last / 1e3, tip=tip, kind="n")


def _name(cell: Cell) -> str:
    mark = ' <span class="mark">oracle</span>' if cell.oracle else ""
    tip = "; ".join(filter(None, (cell.policy.get("summary"), cell.policy.get("family"))))
    lead = f'<th scope="row" data-v="{escape(cell.spec)}"'
    needs = f'<span class="needs">{escape(cell.needs)}</span>'
    return f'{lead} data-tip="{escape(tip)}"><code>{escape(cell.spec)}</code>{mark}{needs}</th>'


def _left_out(cell: Cell) -> str:
    if cell.skipped:
        return td(f'<span class="warn">not run: {escape(cell.skipped)}</span>', _LAST, kind="t")
    unfinished, rejected = (cell.count(f"num_{name}") for name in ("unfinished", "rejected"))
    shown = f"{unfinished:,}, {rejected:,}"
    shown += "".join(f' <span class="warn">{word}</span>' for word in cell.remarks)
    return td(shown, float(unfinished + rejected), kind="t")


def _versus(key: str) -> Callable[[Cell], str]:
    def html(cell: Cell) -> str:
        share = cell.against_reference(key)
        if share is None or cell.spec == REFERENCE:
            return td(NONE, None, kind="n")
        kind = "n" if share.is_zero else "n better" if share.mean < 0 else "n worse"
        tip = "not distinguishable" if share.is_zero else "better" if share.mean < 0 else "worse"
        return td(f"{percent(share.mean)}{_ends(share)}", share.mean, tip=tip, kind=kind)

    return html


def _gap(cell: Cell, of: str) -> str:
    gap = cell.gap(of)
    if gap is None:
        return td(NONE, None, kind="n")
    return td(f"{percent(gap.mean)}{_ends(gap)}", gap.mean, kind="n")


def _ends(share: Figure) -> str:
    if share.interval is None:
        return ""
    low, high = share.interval
    return f" <small>{percent(low)} to {percent(high)}</small>"


def _range(measured: Figure, scale: float) -> str:
    if measured.interval is None:
        return ""
    low, high = (digits(end * scale) for end in measured.interval)
    return f" <small>{low} to {high}</small>"


def _bar(measure: Measure, scenario: dict[str, Any], cells: Sequence[Cell]) -> Callable[[Cell], str]:
    """The number and its interval drawn, on the logarithmic scale of the column."""
    figures = [found for cell in cells if (found := cell.figure(measure.key))]
    bound = scenario_bound(scenario, measure.key)
    ends = [end for each in figures for end in (each.interval or (each.mean,)) if end > 0]
    low, high = min([*ends, *([bound.mean] if bound else [])], default=1.0), max(ends, default=1.0)
    span = math.log(high / low) or 1.0

    def place(value: float) -> float:
        return min(max(100 * math.log(max(value, low) / low) / span, 0.0), 100.0)

    def html(cell: Cell) -> str:
        measured = cell.figure(measure.key)
        if measured is None:
            return td(NONE, None, kind="n main")
        start, end = (place(value) for value in measured.interval or (measured.mean, measured.mean))
        line = "" if bound is None else f'<u style="left:{place(bound.mean):.1f}%"></u>'
        drawn = (
            f'<span class="iv" aria-hidden="true">{line}<i style="left:{start:.1f}%;width:{end - start:.1f}%"></i>'
            f'<b style="left:{place(measured.mean):.1f}%"></b></span>'
        )
        shown = f"{digits(measured.mean * measure.scale)}{_range(measured, measure.scale)}"
        return td(f"<span>{shown}</span>{drawn}", measured.mean, kind="n main")

    return html


def scenario_bound(scenario: dict[str, Any], key: str) -> Figure | None:
    """The certified bound of a mean, none for anything else."""
    return figure((scenario.get("bound") or {}).get(key))
