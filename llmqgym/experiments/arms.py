"""Arms: policies on the same requests, and what is measured of each; the cells of a study, in processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.bounds import ideal_hits, latency_bounds
from llmqgym.errors import InputError
from llmqgym.hardware import load_profile
from llmqgym.kernel.tables import PS_PER_S, Status
from llmqgym.metrics.across_runs import spread
from llmqgym.parallel import each, prepare
from llmqgym.policy import Policy
from llmqgym.run import RunResult, simulate
from llmqgym.scenario import ScenarioConfig
from llmqgym.traffic import at_load, build_workload
from llmqgym.workload.workload import Workload, as_table

MakePolicy = Callable[[str], Policy]
OnProgress = Callable[[float], None]
#: Of a steady state the first and the last requests say nothing: the queue fills, then runs empty.
MARGIN = 0.1


@dataclass(frozen=True)
class Arm:
    """A policy by its spec, and the predictor that it is given."""

    policy: str
    predictor: str = "perfect"


@dataclass(frozen=True)
class Cell:
    """A scenario with its seed, the arms that all meet its requests, and what is measured: of all requests, or, of a
    steady state, of those between the margins; `bounds`: the certified bounds beside them."""

    scenario: ScenarioConfig
    arms: tuple[Arm, ...]
    steady: bool = True
    bounds: bool = False


@dataclass(frozen=True)
class Measured:
    """Figures of each arm of a cell, in their order; the best bounds on mean E2E time and TTFT, s; and the rate."""

    arms: tuple[dict[str, Any], ...]
    rate_per_s: float | None
    bounds: dict[str, float] | None = None


def measure_all(
    cells: Sequence[Cell], make_policy: MakePolicy, *, jobs: int | None = None, on_progress: OnProgress | None = None
) -> list[Measured]:
    """What came of each cell; the same whatever `jobs`, the number of processes (None: one for each CPU).

    `on_progress` is told what share of the cells is done. Raises InputError, naming scenario, seed and policy.
    """
    if jobs != 1 and len(cells) > 1:
        prepare([arm.policy for cell in cells for arm in cell.arms], make_policy)
    tell = None if on_progress is None else lambda done: on_progress(done / len(cells))
    return each(partial(measure, make_policy=make_policy), cells, processes=jobs, on_done=tell)


def measure(cell: Cell, make_policy: MakePolicy) -> Measured:
    """One cell, here."""
    scenario, _ = at_load(cell.scenario)
    requests = as_table(build_workload(scenario))
    margin = round(MARGIN * len(requests)) if cell.steady else 0
    counted = range(margin, len(requests) - margin)
    arms = tuple(figures(_run(arm, scenario, requests, make_policy), counted) for arm in cell.arms)
    return Measured(arms, scenario.workload.rate_per_s, _bounds(scenario, requests) if cell.bounds else None)


def _run(arm: Arm, scenario: ScenarioConfig, requests: Workload, make_policy: MakePolicy) -> RunResult:
    try:
        return simulate(
            requests,
            policy=make_policy(arm.policy),
            server=scenario.server,
            profile=scenario.profile,
            predictor=arm.predictor,
            seed=scenario.seed,
        )
    except InputError as error:
        raise InputError(f"scenario {scenario.name}, seed {scenario.seed}, policy {arm.policy}: {error}") from error


def _bounds(scenario: ScenarioConfig, requests: Workload) -> dict[str, float]:
    server = scenario.server
    hits = ideal_hits(requests.requests, requests.hashes, server.block_size) if server.prefix_caching else None
    profile = load_profile(scenario.profile).to_integers(server.block_size)
    found = latency_bounds(requests.requests, profile, server, hits)
    return {"e2e_s": found.best_e2e_s, "ttft_s": found.best_ttft_s}


def figures(result: RunResult, counted: range) -> dict[str, Any]:
    """What an experiment shows of a run. Latencies in s are those of the `counted` requests, by place in the order of
    arrival; the unfinished enter with their age at the end, the rejected not at all. Counts are of all."""
    rows: NDArray[Any] = result.departures
    rows = rows[(rows["id"] >= counted.start) & (rows["id"] < counted.stop)]
    rows = rows[rows["status"] != Status.REJECTED]
    end_ps = result.totals.clock_ps
    summary = result.summary
    e2e_s = _ages(rows, "finish_ps", end_ps)
    ttft_s = _ages(rows, "first_token_ps", end_ps)
    num_served = max(summary["num_requests"] - summary["num_rejected"], 1)
    return {
        "e2e_s": float(e2e_s.mean()) if len(rows) else None,
        "e2e_p99_s": float(np.percentile(e2e_s, 99)) if len(rows) else None,
        "ttft_s": float(ttft_s.mean()) if len(rows) else None,
        "preemptions_per_request": summary["num_preemptions"] / num_served,
        "wasted_token_ratio": summary["wasted_token_ratio"],
        "kv_cache_usage_perc": summary["kv_cache_usage_perc"],
        "num_unfinished": summary["num_unfinished"] + summary["num_not_arrived"],
        "num_rejected": summary["num_rejected"],
        "outcome": summary["outcome"],
        "stability": summary["stability"],
    }


def _ages(rows: NDArray[Any], until: str, end_ps: int) -> NDArray[np.float64]:
    """Seconds from each arrival until something that has happened by the end, or until the end."""
    ends = np.where(rows[until] >= 0, rows[until], end_ps)
    ages: NDArray[np.float64] = (ends - rows["arrival_ps"]) / PS_PER_S
    return ages


def over_seeds(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A point: the spread (metrics.across_runs) of each latency and ratio over the seeds, the counts added up.

    `unstable` where more than half of the runs have grown, or where one has stalled: its means are of a run of this
    length and of no steady state.
    """
    shares = ("e2e_s", "e2e_p99_s", "ttft_s", "preemptions_per_request", "wasted_token_ratio", "kv_cache_usage_perc")
    num_growing = sum(run["stability"] == "growing" for run in runs)
    return {
        **{name: spread([run[name] for run in runs]) for name in shares},
        **{name: sum(run[name] for run in runs) for name in ("num_unfinished", "num_rejected")},
        "num_runs": len(runs),
        "num_growing": num_growing,
        "unstable": 2 * num_growing > len(runs) or any(run["outcome"] != "finished" for run in runs),
    }


def paired(runs: Sequence[dict[str, Any]], others: Sequence[dict[str, Any]], name: str = "e2e_s") -> dict[str, Any]:
    """The spread over the seeds of a figure's ratio to that of another arm on the same requests."""
    return spread([run[name] / other[name] for run, other in zip(runs, others, strict=True) if other[name]])
