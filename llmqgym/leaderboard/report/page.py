"""The board as one HTML file: no network, no library; tables that read without scripts, charts that small ones draw."""

from __future__ import annotations

import json
import os
from html import escape
from importlib.resources import files
from typing import Any

from llmqgym.files import atomic_text, strict
from llmqgym.leaderboard.report.board import REFERENCE, Board, Cell, figure
from llmqgym.leaderboard.report.measures import E2E, TAIL_E2E, TTFT, digits, measure_of
from llmqgym.leaderboard.report.overview import glance_tables, overall_tables
from llmqgym.leaderboard.report.series import DRAWN, SHARES, Along, at_shares, featured, loads, sigmas
from llmqgym.leaderboard.report.tables import board_table

#: In the order in which they are put into the page.
_SCRIPTS = ("tables.js", "marks.js", "charts.js", "page.js")
#: What the page may load: nothing but what is in it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
#: What is drawn along loads and sigmas.
_ALONG = (E2E, TTFT, TAIL_E2E)
#: Digits of numbers that are only drawn.
_DRAWN = 5


def write_page(path: str | os.PathLike[str], document: dict[str, Any]) -> None:
    """Write the page of a board's document. Raises OutputError."""
    text = page(document)
    with atomic_text(path) as file:
        file.write(text)


def page(document: dict[str, Any]) -> str:
    """The page of a board's document: the same text for the same document."""
    board = Board(document)
    style = _asset("page.css")
    scripts = "\n".join(_asset(name) for name in _SCRIPTS)
    title = f"llmqgym leaderboard: {document.get('suite') or 'own traffic'}"
    sections = "".join(_scenario(board, scenario, place) for place, scenario in enumerate(board.scenarios))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{escape(title)}</title>
<style>
{style}</style>
</head>
<body>
<a class="skip" href="#boards">Skip to the boards</a>
<header>
<div><h1>LLM scheduling leaderboard</h1><p class="sub">{_facts(document)}</p></div>
<button type="button" id="theme" aria-label="Change between light and dark">light / dark</button>
</header>
<main>
{_advice(document)}
<section aria-labelledby="h-glance"><h2 id="h-glance">At a glance</h2>
<p>Each policy against vLLM's first come first served on the same requests. Blue is better, orange worse; ≈ means that
the 95&nbsp;% interval of the difference holds zero.</p>
<div class="pair"><div>{glance_tables(board)}</div>{overall_tables(board)}</div></section>
<section id="boards" aria-labelledby="h-boards"><h2 id="h-boards">Boards</h2>
<div class="controls" id="controls" hidden></div>
{sections}</section>
<section id="price" aria-labelledby="h-price" hidden>
<h2 id="h-price">The price of misprediction</h2><div class="charts"></div></section>
{_method(document)}
</main>
<div id="tip" role="tooltip" hidden></div>
<script type="application/json" id="data">{_json(_data(board))}</script>
<script>
{scripts}</script>
</body>
</html>
"""


def _facts(document: dict[str, Any]) -> str:
    num_policies, num_scenarios = len(document["policies"]), len(document["scenarios"])
    facts = [
        f"suite {document['suite']}" if document.get("suite") else "",
        f"{num_policies} policies x {num_scenarios} scenario{'s' if num_scenarios > 1 else ''}",
        _seeds(document.get("seeds") or []),
        f"llmqgym {document.get('version', '?')}",
        f"commit {str(document['commit'])[:12]}" if document.get("commit") else "",
    ]
    return escape(" · ".join(filter(None, facts)))


def _seeds(seeds: list[int]) -> str:
    return f"{len(seeds)} seed{'s' if len(seeds) != 1 else ''} ({min(seeds)} to {max(seeds)})" if seeds else ""


def _advice(document: dict[str, Any]) -> str:
    recommendation = document.get("recommendation")
    if not recommendation:
        return ""
    lines = "".join(
        f"<li><strong>{escape(advice['scenario'])}</strong>: {escape(advice['text'])}</li>"
        for advice in recommendation.get("scenarios", [])
    )
    overall = recommendation.get("text")
    lead = f"<p>{escape(overall)}</p>" if overall else ""
    return (
        f'<section aria-labelledby="h-advice" class="advice"><h2 id="h-advice">What the intervals support</h2>{lead}'
        f"<ul>{lines}</ul></section>"
    )


def _scenario(board: Board, scenario: dict[str, Any], place: int) -> str:
    name = scenario["name"]
    tables = "".join(filter(None, (board_table(board, scenario, kind) for kind in ("mean", "tail"))))
    summary = f"<p>{escape(scenario['summary'])}</p>" if scenario.get("summary") else ""
    return (
        f'<article class="scenario" data-scenario="{escape(name)}" aria-labelledby="h-s{place}">'
        f'<h3 id="h-s{place}">{escape(name)}</h3>{summary}<dl class="facts">{_scenario_facts(scenario)}</dl>'
        f'{tables}<div class="charts"></div></article>\n'
    )


def _scenario_facts(scenario: dict[str, Any]) -> str:
    bounds = scenario.get("bound") or {}
    facts = {
        "load": f"{scenario['rho']:.3g} of the capacity" if scenario.get("rho") is not None else None,
        "rate": f"{digits(scenario['rate_per_s'])} requests/s" if scenario.get("rate_per_s") else None,
        "requests a run": f"{scenario['num_requests']:,}" if scenario.get("num_requests") else None,
        "of them measured": f"{scenario['num_measured']:,.0f}" if scenario.get("num_measured") else None,
        "hardware": scenario.get("profile"),
        "predictor": scenario.get("predictor") or "none",
    }
    for of, title in ((E2E, "no schedule's mean E2E is below"), (TTFT, "nor its mean TTFT below")):
        bound = figure(bounds.get(of))
        facts[title] = f"{digits(bound.mean)} s" if bound else None
    return "".join(
        f"<div><dt>{escape(title)}</dt><dd>{escape(str(fact))}</dd></div>" for title, fact in facts.items() if fact
    )


def _method(document: dict[str, Any]) -> str:
    facts = {
        "command": document.get("command"), "version": document.get("version"), "commit": document.get("commit"),
        "dynamics": document.get("dynamics"), "seeds": ", ".join(str(seed) for seed in document.get("seeds") or []),
    }  # fmt: skip
    listed = "".join(
        f"<div><dt>{title}</dt><dd><code>{escape(str(fact))}</code></dd></div>" for title, fact in facts.items() if fact
    )
    return f"""<section aria-labelledby="h-method"><h2 id="h-method">How to read it, and how to make it again</h2>
<p>Every policy meets the same requests. Latencies are of the requests that arrive after the first tenth of a run; none
is left out silently: unfinished requests count with the age that they had reached, mark the run as censored, and stand
beside the mean, as do rejected ones. Intervals are 95&nbsp;% over seeds, those of differences over pairs of runs on the
same requests. Policies share a rank where the intervals cannot part them. The bound is certified over exactly the
requests in the mean: no schedule of this server, with or without knowledge of the future, is below it.</p>
<dl class="facts">{listed}</dl></section>"""


def _data(board: Board) -> dict[str, Any]:
    """What the charts are drawn from."""
    return {
        "reference": REFERENCE,
        "shares": SHARES,
        "measures": {key: {"title": measure_of(key).title, "scale": measure_of(key).scale} for key in _ALONG},
        "policies": [{"spec": policy["spec"], "oracle": bool(policy.get("oracle"))} for policy in board.policies],
        "scenarios": {scenario["name"]: _scenario_data(board, scenario) for scenario in board.scenarios},
        "loads": [_along_data(board, along) for along in loads(board)],
        "sigmas": [_along_data(board, along) for along in sigmas(board)],
    }


def _scenario_data(board: Board, scenario: dict[str, Any]) -> dict[str, Any]:
    bounds = {of: bound.mean for of, value in (scenario.get("bound") or {}).items() if (bound := figure(value))}
    return {
        "bound": {of: _drawn(mean) for of, mean in bounds.items()},
        "featured": featured(board, [scenario["name"]]),
        "cells": {cell.spec: _cell_data(cell) for cell in board.cells(scenario["name"]) if not cell.skipped},
    }


def _cell_data(cell: Cell) -> dict[str, Any]:
    """Metrics m, gaps g, quantiles q at SHARES, and why its means are not like others'."""
    gaps = {key: _ends(cell.gap(key)) for key in (E2E, TTFT)}
    metrics = {key: _ends(cell.figure(key)) for key in _ALONG}
    quantiles = {of: [_drawn(at) for at in at_shares(points)] for of in DRAWN if (points := cell.quantiles(of))}
    return {
        "m": {key: ends for key, ends in metrics.items() if ends},
        "g": {key: ends for key, ends in gaps.items() if ends},
        "q": quantiles,
        **({} if cell.comparable else {"off": cell.remarks[0]}),
    }


def _along_data(board: Board, along: Along) -> dict[str, Any]:
    names = [name for _, name in along.points]
    return {
        "name": along.name,
        "axis": along.axis,
        "points": [list(point) for point in along.points],
        "featured": featured(board, names),
    }


def _ends(found: Any) -> list[float | None] | None:
    return None if found is None else [_drawn(value) for value in (found.mean, found.low, found.high)]


def _drawn(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{_DRAWN}g}")


def _json(data: dict[str, Any]) -> str:
    """JSON that cannot end the element it stands in, whatever the names are."""
    text = json.dumps(strict(data), separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return (files("llmqgym.leaderboard.report") / "assets" / name).read_text(encoding="utf-8")
