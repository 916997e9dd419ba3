"""What commands print: JSON, the tables of a run, the progress bar."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llmqgym.files import OutputError, json_text, write_json

_UNITS = ((1e-3, 1e6, "us"), (1.0, 1e3, "ms"), (120.0, 1.0, "s"), (7200.0, 1 / 60, "min"), (math.inf, 1 / 3600, "h"))


def put_json(path: str, document: dict[str, Any]) -> None:
    """Write strict JSON to a file, or to stdout for '-'. Raises OutputError."""
    if path != "-":
        write_json(path, document)
        return
    try:
        sys.stdout.write(json_text(document))
        sys.stdout.flush()
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot write to stdout: {reason}: free some space or name a file.") from error


def duration(time_s: float | None) -> str:
    """A time in a sensible unit, three digits; '-' for None.

    >>> duration(0.0123), duration(3.2), duration(600.0), duration(None)
    ('12.3 ms', '3.2 s', '10 min', '-')
    """
    if time_s is None:
        return "-"
    if time_s == 0:
        return "0 s"
    factor, unit = next((factor, unit) for below, factor, unit in _UNITS if time_s < below)
    return f"{_digits(time_s * factor)} {unit}"


def print_run(document: dict[str, Any]) -> None:
    """The tables of a run, from its JSON document."""
    out = console()
    for table in (pairs(_settings(document)), _latencies(document), pairs(_counters(document))):
        out.print(table)
    out.print(outcome_line(document), markup=False, highlight=False)


def print_runs(documents: list[dict[str, Any]], across: dict[str, Any]) -> None:
    """The table of several runs that differ in their seed, from their JSON documents and metrics.across_runs."""
    first, last = (documents[place]["config"]["seed"] for place in (0, -1))
    settings = {**dict(_settings(documents[0])), "seed": f"{first} to {last}"}
    out = console()
    out.print(pairs(list(settings.items())))
    out.print(_spreads(across, len(documents)))
    out.print(outcomes_line(across), markup=False, highlight=False)


def console(width: int = 160) -> Any:
    """A rich console on stdout; wide where stdout is not a terminal, so that nothing is folded away in a file."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else width)


def outcome_line(document: dict[str, Any]) -> str:
    """How the run ended, and what a reader of its means must know."""
    remarks = [f"outcome: {document['outcome']}"]
    if document["censored"]:
        missing = document["num_unfinished"] + document["num_not_arrived"]
        remarks.append(f"censored: {missing:,} requests have not finished and are in no latency above")
    if document["stability"] == "growing":
        remarks.append("growing: requests came faster than they were served, and the means grow with the run")
    if document["num_rejected"]:
        remarks.append(f"{document['num_rejected']:,} rejected: they can never fit the KV cache")
    if document["num_extrapolated"]:
        remarks.append(f"{document['num_extrapolated']:,} beyond the profile's measured context")
    corrections = document["config"]["workload"]["corrections"].items()
    remarks += [f"{count:,} corrected: {name}" for name, count in corrections if count]
    return "; ".join(remarks) + "."


def outcomes_line(across: dict[str, Any]) -> str:
    """How several runs ended, and what a reader of their means must know."""
    counts = {"censored": across["censored"].get("true", 0)}
    counts |= {verdict: across["stability"].get(verdict, 0) for verdict in ("stable", "growing", "undecided")}
    counts |= across["outcome"]
    remarks = [f"{name} {count}" for name, count in counts.items() if count]
    num_rejected = across["num_rejected"]["max"]
    if num_rejected:
        remarks.append(f"up to {num_rejected:,} requests of a run rejected: they can never fit the KV cache")
    if all(figure["min"] == figure["max"] for figure in (across["sim_time_s"], across["e2e_s"]["mean"])):
        remarks.append("all alike: nothing in this scenario depends on the seed")
    return f"runs: {', '.join(remarks)}."


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[float], None] | None]:
    """A bar on stderr while runs last, only on a terminal; yields what is to be told how much of `total` is done."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("simulating", total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def waiting_for_the_kernel() -> Iterator[None]:
    """A word on stderr while the kernel is loaded, which means compiled the first time; only on a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status("loading the kernel (compiled on first use, some 15 s)"):
        yield


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _rate(value: float | None) -> str:
    return "-" if value is None else _digits(value)


def _settings(document: dict[str, Any]) -> list[tuple[str, str]]:
    config = document["config"]
    workload, server, profile, policy = (config[name] for name in ("workload", "server", "profile", "policy"))
    defaults = ("num_kv_blocks", "block_size", "max_running", "max_batched_tokens")
    shown = {**{name: server[name] for name in defaults}, **_unusual(server)}
    origin = ", ".join(filter(None, (profile["kind"], profile["origin"])))
    return [
        ("workload", f"{workload['name']}, {workload['num_requests']:,} requests"),
        *_load(config),
        ("profile", f"{profile['name']} ({origin})"),
        ("policy", policy["name"] + (" (oracle: reads true output lengths)" if policy["oracle"] else "")),
        ("predictor", config["predictor"] + _cost(document)),
        ("seed", str(config["seed"])),
        ("server", ", ".join(f"{name} {value}" for name, value in shown.items())),
    ]


def _cost(document: dict[str, Any]) -> str:
    cost_s = document["prediction_cost_s"]
    return f" ({duration(cost_s)} a request outside the server, in no latency)" if cost_s else ""


def _load(config: dict[str, Any]) -> list[tuple[str, str]]:
    """Only where the rate was asked for as a load."""
    if "load" not in config:
        return []
    rho, capacity, binding = (config["load"][name] for name in ("rho", "capacity_per_s", "binding"))
    return [("load", f"{rho:g} of {capacity:.4g} requests/s, where {binding} bind{'' if binding != 'kv' else 's'}")]


def _unusual(server: dict[str, Any]) -> dict[str, Any]:
    """Settings that are not the default, and need no profile to know."""
    from dataclasses import asdict

    from llmqgym.config import ServerConfig

    default = {name: value for name, value in asdict(ServerConfig()).items() if value is not None}
    return {name: server[name] for name in default if server[name] != default[name]}


def pairs(rows: list[tuple[str, str]]) -> Any:
    """A table of names and values."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "", show_header=False, box=box.SIMPLE, pad_edge=False)
    for name, value in rows:
        table.add_row(name, escape(value))
    return table


def _latencies(document: dict[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    columns = ("mean", "p50", "p90", "p95", "p99", "max")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("of all finished requests")
    for column in columns:
        table.add_column(column, justify="right")
    for name in ("ttft_s", "tpot_s", "e2e_s", "queue_s"):
        table.add_row(name.removesuffix("_s"), *(duration(document[name][column]) for column in columns))
    slowdown = document["slowdown"]
    table.add_row("slowdown", *("-" if slowdown[column] is None else _digits(slowdown[column]) for column in columns))
    return table


#: Rows of the table of several runs: where in the documents, how it is shown.
_SPREADS: dict[str, tuple[tuple[str, ...], Callable[[float | None], str]]] = {
    **{
        f"{name} {column}": ((f"{name}_s", column), duration)
        for name in ("ttft", "tpot", "e2e")
        for column in ("mean", "p99")
    },
    "requests/s": (("requests_per_s",), _rate),
    "goodput requests/s": (("goodput_requests_per_s",), _rate),
    "output tokens/s": (("output_tokens_per_s",), _rate),
    "preemptions": (("num_preemptions",), _rate),
}


def _spreads(across: dict[str, Any], num_runs: int) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(f"over {num_runs} runs")
    for column in ("mean", "± 95 %", "min", "max"):
        table.add_column(column, justify="right")
    for name, (path, shown) in _SPREADS.items():
        figure = across
        for key in path:
            figure = figure[key]
        missing = "" if figure["num_runs"] == num_runs else f" (of {figure['num_runs']} runs that have it)"
        table.add_row(name + missing, *(shown(figure[column]) for column in ("mean", "half_width_95", "min", "max")))
    return table


def _fairness(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Only where there are tenants to be fair to."""
    gap = document["vtc_service_gap_per_s"]
    if document["jain_index"] is None or gap is None:
        return []
    return [("tenants", f"Jain's index {document['jain_index']:.3f}, VTC service gap {_digits(gap['mean'])} tokens/s")]


def _prefix_cache(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Only where there is one."""
    queries, hits, rate = (document[f"prefix_cache_{name}"] for name in ("queries", "hits", "hit_rate"))
    if not queries:
        return []
    return [("prefix cache", f"{hits:,} of {queries:,} tokens found, {rate:.1%}")]


def _counters(document: dict[str, Any]) -> list[tuple[str, str]]:
    by_mode = {mode: count for mode, count in document["num_preemptions_by_mode"].items() if count}
    modes = f" ({', '.join(f'{mode} {count:,}' for mode, count in by_mode.items())})" if by_mode else ""
    running, waiting = (_rate(document[f"mean_num_requests_{name}"]) for name in ("running", "waiting"))
    kv_cache = document["kv_cache_usage_perc"] or 0.0
    counts = ("finished", "rejected", "unfinished")
    names = ("requests", "goodput_requests", "prompt_tokens", "output_tokens")
    rates = {name: _rate(document[f"{name}_per_s"]) for name in names}
    return [
        ("requests", ", ".join(f"{name} {document[f'num_{name}']:,}" for name in counts)),
        ("throughput", f"{rates['requests']} requests/s, goodput {rates['goodput_requests']} requests/s"),
        ("tokens", f"{rates['prompt_tokens']} prompt/s, {rates['output_tokens']} output/s"),
        ("preemptions", f"{document['num_preemptions']:,}{modes}, wasted tokens {document['wasted_token_ratio']:.2%}"),
        ("mean over time", f"running {running}, waiting {waiting}, KV cache {kv_cache:.1%}"),
        *_prefix_cache(document),
        *_fairness(document),
        ("simulated", f"{duration(document['sim_time_s'])}, {document['num_iterations']:,} iterations"),
        ("wall time", duration(document["wall_s"])),
    ]
