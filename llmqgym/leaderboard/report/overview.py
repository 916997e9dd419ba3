"""The page's first tables: all policies over all scenarios at a glance, and the overall score."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape
from typing import Any

from llmqgym.leaderboard.report.board import REFERENCE, Board, Cell, Figure, figure
from llmqgym.leaderboard.report.measures import E2E, TAIL_E2E, TAIL_TTFT, TTFT, digits, measure_of
from llmqgym.leaderboard.report.tables import NONE, heading, percent, td

GLANCES = (E2E, TAIL_E2E, TTFT, TAIL_TTFT)
_GAP = "gap"
#: A share from which on a cell is as strongly coloured as it can be.
_FULL = 0.5

Html = Callable[[str, str], str]  # of scenario and policy


def glance_tables(board: Board) -> str:
    """For each of a few measures a table of policies by scenarios: how each stands to vLLM; the gap to the bound."""
    known = {measure.key for measure in board.measures}
    titles = {key: f"{measure_of(key).label} against vLLM's" for key in GLANCES if key in known}
    makers: dict[str, Html] = {key: _against(board, key) for key in titles}
    if any(cell.get("gap") for cell in board.document["cells"]):
        titles[_GAP] = "mean E2E above the certified bound"
        makers[_GAP] = _above_bound(board)
    choices = "".join(f'<option value="{key}">{escape(title)}</option>' for key, title in titles.items())
    tables = [_glance(board, key, titles[key], make) for key, make in makers.items()]
    first = [f"<div{table}" for table in tables[:1]] + [f"<div hidden{table}" for table in tables[1:]]
    return f'<label class="choose">Show <select id="glance">{choices}</select></label>{"".join(first)}'


def overall_tables(board: Board) -> str:
    """Scores over all scenarios, for the mean and for the tail: the ratio to vLLM's, and how often it is below 1."""
    rows = board.document.get("overall") or []
    return "".join(_overall(board, rows, key) for key in (E2E, TAIL_E2E) if any(row.get(key) for row in rows))


def _glance(board: Board, key: str, title: str, html: Html) -> str:
    """The table, from within the tag that opens it."""
    names = [scenario["name"] for scenario in board.scenarios]

    def row(policy: dict[str, Any]) -> str:
        return _row(policy["spec"], (html(name, policy["spec"]) for name in names))

    table = _table("glance", title, [("policy", ""), *((name, "") for name in names)], board.policies, row)
    return f' class="scroll" data-glance="{key}">{table}</div>'


def _against(board: Board, key: str) -> Html:
    """The difference to the reference, coloured where it is beyond doubt."""

    def html(scenario: str, spec: str) -> str:
        cell = board.cell(scenario, spec)
        if cell is None or cell.skipped or cell.censored:
            return _absent(cell)
        share = cell.against_reference(key)
        if share is None or spec == REFERENCE:
            return td(NONE + _warning(cell), None, kind="n")
        if share.is_zero:
            shown = f"\N{ALMOST EQUAL TO} {percent(share.mean)}{_warning(cell)}"
            return td(shown, share.mean, kind="n", tip="not distinguishable from vLLM's")
        return td(percent(share.mean) + _warning(cell), share.mean, kind=f"n {_shade(share.mean)}")

    return html


def _above_bound(board: Board) -> Html:
    def html(scenario: str, spec: str) -> str:
        cell = board.cell(scenario, spec)
        gap = None if cell is None or cell.skipped else cell.gap(E2E)
        return _absent(cell) if cell is None or gap is None else td(percent(gap.mean), gap.mean, kind="n")

    return html


def _absent(cell: Cell | None) -> str:
    if cell is None or cell.skipped:
        return td(NONE, None, kind="n", tip="not run" if cell is None else f"not run: {cell.skipped}")
    return td(f"{NONE}{_warning(cell)}", None, kind="n")


def _warning(cell: Cell) -> str:
    return "".join(f' <span class="warn" data-tip="{word}"></span>' for word in cell.remarks[:1])


def _overall(board: Board, rows: Sequence[dict[str, Any]], key: str) -> str:
    by_spec = {row["policy"]: row for row in rows}
    partly = any(row["num_compared"] != row["num_scenarios"] for row in rows)

    def rank(policy: dict[str, Any]) -> float:
        score = _score(by_spec.get(policy["spec"], {}).get(key))
        return score.mean if score else math.inf

    def row(policy: dict[str, Any]) -> str:
        of = by_spec.get(policy["spec"], {})
        scores = of.get(key) or {}
        first, compared = scores.get("num_first"), of.get("num_compared")
        where = NONE if compared is None else f"{compared} of {of['num_scenarios']}"
        cells = [
            _with_ends(_score(scores), digits),
            _with_ends(figure(scores.get("prob_improvement")), lambda value: percent(value, sign=False)),
            td(NONE if first is None else str(first), first, kind="n"),
        ]
        return _row(policy["spec"], [*cells, *([td(where, compared, kind="n")] if partly else [])])

    label = measure_of(key).label
    heads = [
        ("policy", ""),
        (f"{label} / vLLM's", "interquartile mean over scenarios and seeds, stratified bootstrap; below 1 is better"),
        ("below vLLM's", "share of seeds, mean over scenarios"),
        ("first", "scenarios in which nobody is surely better"),
        *([("compared", "scenarios in which it and vLLM finished all requests")] if partly else []),
    ]
    table = _table("board overall", f"Over all scenarios: {label}", heads, sorted(board.policies, key=rank), row)
    return f'<div class="scroll">{table}</div>'


def _score(of: dict[str, Any] | None) -> Figure | None:
    return figure((of or {}).get("iqm_ratio_to_vllm"))


def _with_ends(found: Figure | None, shown: Callable[[float], str]) -> str:
    if found is None:
        return td(NONE, None, kind="n main")
    ends = "" if found.interval is None else f" <small>{' to '.join(shown(end) for end in found.interval)}</small>"
    return td(shown(found.mean) + ends, found.mean, kind="n main")


def _table(
    kind: str,
    caption: str,
    heads: Sequence[tuple[str, str]],
    policies: Sequence[dict[str, Any]],
    row: Callable[[dict[str, Any]], str],
) -> str:
    """Oracles in a body of their own."""
    head = "".join(heading(title, tip) for title, tip in heads)
    bodies = ""
    for oracle in (False, True):
        rows = "".join(row(policy) for policy in policies if bool(policy.get("oracle")) is oracle)
        apart = f'<tr class="apart"><th scope="colgroup" colspan="{len(heads)}">Oracles</th></tr>' if oracle else ""
        bodies += f"<tbody>{apart}{rows}</tbody>" if rows else ""
    return f'<table class="{kind}"><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>{bodies}</table>'


def _row(spec: str, cells: Iterable[str]) -> str:
    kind = ' class="reference"' if spec == REFERENCE else ""
    name = f'<th scope="row" data-v="{escape(spec)}"><code>{escape(spec)}</code></th>'
    return f"<tr{kind}>{name}{''.join(cells)}</tr>"


def _shade(share: float) -> str:
    """Better or worse, and how strongly, as classes."""
    strength = min(1 + int(3 * min(abs(share), _FULL) / _FULL), 3)
    return f"{'better' if share < 0 else 'worse'} s{strength}"
