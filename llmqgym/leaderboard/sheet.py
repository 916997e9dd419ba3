"""Sheet: one metric of a board as rows of text: contestants by scenarios. The terminal and Markdown print the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmqgym.errors import unknown

#: What a sheet can show, and how it is put. All times are in seconds.
TITLES = {
    "mean_e2e_s": "mean time in system, s",
    "p50_e2e_s": "median time in system, s",
    "p90_e2e_s": "90th percentile of the time in system, s",
    "p99_e2e_s": "99th percentile of the time in system, s",
    "mean_ttft_s": "mean time to first token, s",
    "p50_ttft_s": "median time to first token, s",
    "p90_ttft_s": "90th percentile of the time to first token, s",
    "p99_ttft_s": "99th percentile of the time to first token, s",
    "mean_tpot_s": "mean time per output token, s",
    "p50_tpot_s": "median time per output token, s",
    "p90_tpot_s": "90th percentile of the time per output token, s",
    "p99_tpot_s": "99th percentile of the time per output token, s",
    "mean_slowdown": "mean slowdown",
    "p99_slowdown": "99th percentile of the slowdown",
    "requests_per_s": "requests finished per second",
    "goodput_requests_per_s": "requests per second that met every limit",
    "wasted_token_ratio": "share of computed tokens that were lost",
    "num_preemptions": "preemptions a run",
    "jain_index": "Jain's index of the tenants' speeds",
    "mean_vtc_service_gap_per_s": "VTC service gap, tokens/s",
    "gap_mean_e2e_s": "mean time in system above the certified bound, as a share of it",
    "gap_mean_ttft_s": "mean time to first token above the certified bound, as a share of it",
    "largest_stable_rho": "largest stable load, as a share of the fluid's capacity",
}
#: Those that have a row of bounds, and a column over all scenarios.
_OVERALL = ("mean_e2e_s", "p99_e2e_s")

NOTES = (
    "± half a 95 % interval over seeds; * nobody is surely better; g the queue grows in most runs, m in some; "
    "≥ censored: some have not finished, u of them; r were rejected; - not there; a number after a ratio: over so many "
    "scenarios alone"
)


@dataclass(frozen=True)
class Sheet:
    """A table of text. `rows` are the contestants without oracle rights, the best over all scenarios first; `apart`
    are what is no contestant: oracles, and the bound."""

    metric: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    apart: list[list[str]]


def sheet(document: dict[str, Any], metric: str) -> Sheet:
    """A metric of a board's document. Raises InputError for an unknown one, naming the nearest."""
    if metric not in TITLES:
        raise unknown("metric of a leaderboard", metric, TITLES)
    scenarios = [each["name"] for each in document["scenarios"]]
    cells = {(cell["policy"], cell["scenario"]): cell for cell in document["cells"]}
    overall = {each["policy"]: each for each in document["overall"]}
    oracles = {each["spec"]: each["oracle"] for each in document["policies"]}
    ordered = sorted(oracles, key=lambda spec: _order(overall[spec], metric))

    def row(spec: str) -> list[str]:
        texts = [_cell(cells[spec, name], metric) for name in scenarios]
        name = f"{spec} (oracle)" if oracles[spec] else spec
        return [name, *texts, *_over_all(overall[spec], metric, len(scenarios))]

    return Sheet(
        metric,
        TITLES[metric],
        ["policy", *scenarios, *(["ratio to vllm", "better than vllm"] if metric in _OVERALL else [])],
        [row(spec) for spec in ordered if not oracles[spec]],
        [row(spec) for spec in ordered if oracles[spec]] + _bounds(document, metric),
    )


def markdown(made: Sheet) -> str:
    """The sheet as a table in Markdown."""
    lines = [made.columns, ["---", *("---:" for _ in made.columns[1:])], *made.rows, *made.apart]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def number(value: float | None) -> str:
    """Three digits.

    >>> number(0.01234), number(12.345), number(1234.5), number(None)
    ('0.0123', '12.3', '1,234', '-')
    """
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def spread(figure: dict[str, float | None]) -> str:
    """A mean and half its interval, both to the last digit that is shown of the mean.

    >>> spread({"mean": 12.345, "low": 12.0, "high": 12.69}), spread({"mean": 0.5, "low": None, "high": None})
    ('12.3±0.3', '0.500')
    """
    text = number(figure["mean"])
    if figure["mean"] is None or figure["low"] is None:
        return text
    return f"{text}±{figure['mean'] - figure['low']:,.{len(text.partition('.')[2])}f}"


def _order(overall: dict[str, Any], metric: str) -> tuple[bool, float]:
    """By the ratio over the scenarios; those that are in few of them as the others; those without any last."""
    ratio = overall[metric if metric in _OVERALL else _OVERALL[0]]["iqm_ratio_to_vllm"]
    return (ratio is None, 0.0 if ratio is None else ratio["mean"])


def _cell(cell: dict[str, Any], metric: str) -> str:
    if cell["skipped"] is not None:
        return "-"
    if metric == "largest_stable_rho":
        found = cell["largest_stable"]
        return "-" if found is None else number(found["rho"])
    figure = cell["gap"][metric.removeprefix("gap_")] if metric.startswith("gap_") else cell["metrics"][metric]
    if figure is None or figure["mean"] is None:
        return "-"
    bound = "≥" if cell["censored"] and metric.endswith(("_s", "slowdown")) and "per_s" not in metric else ""
    place = cell["rank"].get(metric)
    marks = "*" if place is not None and place[0] == 1 else ""
    marks += {"growing": "g", "mixed": "m"}.get(cell["stability"], "")
    marks = f" {marks}" if marks else ""
    marks += f" {cell['num_unfinished']}u" if cell["num_unfinished"] else ""
    marks += f" {cell['num_rejected']}r" if cell["num_rejected"] else ""
    return f"{bound}{spread(figure)}{marks}"


def _over_all(overall: dict[str, Any], metric: str, num_scenarios: int) -> list[str]:
    if metric not in _OVERALL:
        return []
    ratio, better = overall[metric]["iqm_ratio_to_vllm"], overall[metric]["prob_improvement"]
    if ratio is None:
        return ["-", "-"]
    of = "" if overall["num_compared"] == num_scenarios else f" ({overall['num_compared']})"
    span = f"{number(ratio['mean'])} [{number(ratio['low'])}, {number(ratio['high'])}]"
    return [span + of, f"{better['mean']:.0%}"]


def _bounds(document: dict[str, Any], metric: str) -> list[list[str]]:
    if metric not in document["scenarios"][0]["bound"]:
        return []
    figures = [each["bound"][metric] for each in document["scenarios"]]
    rest = ["-", "-"] if metric in _OVERALL else []
    return [["no schedule is below", *(number(each["mean"]) for each in figures), *rest]]
