"""How far every policy is from the best possible: the certified bound over its mean, on the default scenarios."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from llmqgym.experiments.arms import Arm, Cell, MakePolicy, OnProgress, measure_all, over_seeds
from llmqgym.experiments.experiment import Document, Experiment, interval
from llmqgym.metrics.across_runs import spread
from llmqgym.scenario import ScenarioConfig, load_scenario, with_settings, with_traffic
from llmqgym.svg import Cell as Square
from llmqgym.svg import Scale, cells, page, ramp, text

#: Predictions where the scenario names none; and bounds of the length for those that ask for them.
PREDICTOR, INTERVALS = "lognormal:sigma=0.5", "interval:low=0.5,high=2"
NEED_INTERVALS = ("a-max", "a-min")
BLUE = (43, 108, 176)


@dataclass(frozen=True)
class Settings:
    """`policies` with their default settings, at each scenario's own load."""

    scenarios: tuple[str, ...] = (
        "chat", "code", "long-context", "reasoning", "bursty", "kv-bound", "noisy-1", "multi-tenant",
    )  # fmt: skip
    policies: tuple[str, ...] = (
        "vllm", "vllm-priority", "vllm-v0", "prefill-first", "orca", "orca-vidur", "static", "ft-rounds", "ft-vidur",
        "sarathi", "trt-no-evict", "trt-max-utilization", "sglang", "sglang-lpm", "lightllm", "past-future",
        "sjf", "spjf", "ssjf", "psjf", "pspjf", "spt", "srpt", "sprpt", "sprpt-bounce", "trail", "ltr", "one-bit",
        "one-bit-true", "skip-predict", "gamma-boost", "gamma-boost-true", "gittins", "las", "mlfq", "hrrn", "gsa",
        "mc-sf", "mc-sf-true", "mc-benchmark", "volume-sf", "volume-sf-true", "sorted-f", "a-max", "a-min", "reserve",
        "evict-restart", "paced", "flow-control", "wait", "nested-wait", "multi-bin", "edf", "slai", "andes", "vtc",
        "vtc-predicted", "random",
    )  # fmt: skip
    num_requests: int = 5000
    seeds: tuple[int, ...] = tuple(range(3))


def scenario_of(name: str, settings: Settings, seed: int) -> ScenarioConfig:
    """A shipped scenario."""
    base = with_traffic(load_scenario(name), None, None, num_requests=settings.num_requests)
    return with_settings(base, {}, seed=seed)


def arms_of(name: str, settings: Settings) -> tuple[Arm, ...]:
    """The policies with the predictions that they are given."""
    usual = load_scenario(name).predictor or PREDICTOR
    return tuple(Arm(spec, INTERVALS if spec in NEED_INTERVALS else usual) for spec in settings.policies)


def run(
    settings: Settings, make_policy: MakePolicy, *, jobs: int | None = None, on_progress: OnProgress | None = None
) -> Document:
    """The document: each point with the share that the bound is of its mean, of E2E time and of TTFT; None where
    requests are unfinished. Means and bounds are of all requests that the server can hold."""
    all_cells = [
        Cell(scenario_of(name, settings, seed), arms_of(name, settings), steady=False, bounds=True)
        for name in settings.scenarios
        for seed in settings.seeds
    ]
    measured = measure_all(all_cells, make_policy, jobs=jobs, on_progress=on_progress)
    oracles = {spec: make_policy(spec).oracle for spec in settings.policies}
    points, bounds = [], []
    for place, name in enumerate(settings.scenarios):
        of_place = measured[place * len(settings.seeds) :][: len(settings.seeds)]
        found = [each.bounds or {} for each in of_place]
        bounds.append({"scenario": name, **{of: spread([each[of] for each in found]) for of in ("e2e_s", "ttft_s")}})
        for number, arm in enumerate(arms_of(name, settings)):
            runs = [each.arms[number] for each in of_place]
            labels = {"scenario": name, "policy": arm.policy, "predictor": arm.predictor, "oracle": oracles[arm.policy]}
            shares = {f"{of.removesuffix('_s')}_share": _shares(runs, found, of) for of in ("e2e_s", "ttft_s")}
            points.append({**labels, **shares, **over_seeds(runs)})
    return {
        "experiment": EXPERIMENT.name, "settings": dataclasses.asdict(settings), "bounds": bounds, "points": points,
    }  # fmt: skip


def _shares(runs: list[dict[str, Any]], bounds: list[dict[str, float]], of: str) -> dict[str, Any] | None:
    if any(run["num_unfinished"] for run in runs):
        return None
    return spread([bound[of] / run[of] for run, bound in zip(runs, bounds, strict=True)])


def _ranked(document: Document) -> list[str]:
    """The policies, the closest to the bounds first, by their mean share over the scenarios; none counts as 0."""
    return sorted(document["settings"]["policies"], key=lambda spec: -_mean_share(document, spec))


def _mean_share(document: Document, spec: str) -> float:
    shares = [point["e2e_share"] for point in document["points"] if point["policy"] == spec]
    return sum(0.0 if share is None else share["mean"] for share in shares) / len(shares)


def picture(document: Document) -> str:
    """The share of each policy and scenario."""
    scenarios, ranked = document["settings"]["scenarios"], _ranked(document)
    colour, size = ramp(Scale(0.0, 1.0), BLUE), (68.0, 15.0)
    squares = [[_square(_point(document, name, spec), colour) for name in scenarios] for spec in ranked]
    parts = [
        text(8, 18, "Certified bound / mean E2E time, %: 100 would be optimal. Grey: requests unfinished.", "title")
    ]
    for place, spec in enumerate(ranked):
        oracle = " (oracle)" if _point(document, scenarios[0], spec)["oracle"] else ""
        parts.append(text(140, 50 + (place + 0.5) * size[1] + 3, spec + oracle, "tick", "end"))
    parts += cells(146, 50, size, squares, list(scenarios))
    return page(max(146 + size[0] * len(scenarios) + 10, 520), 60 + size[1] * len(ranked), parts)


def _square(point: dict[str, Any], colour: Any) -> Square:
    share = point["e2e_share"]
    if share is None:
        return Square("-")
    mark = " !" if point["unstable"] else ""
    return Square(f"{100 * share['mean']:.0f}{mark}", colour(0.75 * share["mean"]))


def _point(document: Document, scenario: str, spec: str) -> dict[str, Any]:
    wanted = (scenario, spec)
    return next(point for point in document["points"] if (point["scenario"], point["policy"]) == wanted)


def columns(document: Document) -> tuple[str, ...]:
    """Of the table."""
    return ("policy", *document["settings"]["scenarios"])


def rows(document: Document) -> list[tuple[str, ...]]:
    """Bound over mean E2E time by policy and scenario, the bounds themselves first."""
    scenarios = document["settings"]["scenarios"]
    bounds = {each["scenario"]: each for each in document["bounds"]}
    table = [("bound", *(f"{interval(bounds[name]['e2e_s'])} s" for name in scenarios))]
    for spec in _ranked(document):
        points = [_point(document, name, spec) for name in scenarios]
        table.append((f"{spec} (oracle)" if points[0]["oracle"] else spec, *map(_table_cell, points)))
    return table


def _table_cell(point: dict[str, Any]) -> str:
    if point["e2e_share"] is None:
        return f"{point['num_unfinished']:,} unfinished"
    return interval(point["e2e_share"]) + (" !" if point["unstable"] else "")


def findings(document: Document) -> list[str]:
    """In words."""
    shares = [point["e2e_share"]["max"] for point in document["points"] if point["e2e_share"] is not None]
    said = []
    if shares and max(shares) <= 1:
        said.append(f"None of the {len(shares)} means is below its bound.")
    said += _best_of(document)
    return said


def _best_of(document: Document) -> list[str]:
    """By scenario: the closest policy that is told no truth, and the gap that nobody closes."""
    words = []
    for name in document["settings"]["scenarios"]:
        blind = [
            point
            for point in document["points"]
            if point["scenario"] == name and not point["oracle"] and point["e2e_share"] is not None
        ]
        if blind:
            best = max(blind, key=lambda point: point["e2e_share"]["mean"])
            words.append(f"{name} {best['policy']} {best['e2e_share']['mean']:.0%}")
    if not words:
        return []
    return [
        f"The closest to the bound without the truth: {'; '.join(words)}. What is left is the policy's or the bound's."
    ]


EXPERIMENT = Experiment(
    name="certified-gap",
    summary="the certified lower bound over the mean of every policy, on the default scenarios",
    full=Settings(),
    quick=Settings(
        scenarios=("chat", "kv-bound"), policies=("vllm", "spjf", "srpt", "volume-sf-true", "mc-sf"), num_requests=1000,
        seeds=(0, 1),
    ),
    run=run,
    picture=picture,
    columns=columns,
    rows=rows,
    findings=findings,
    about=(
        "Every baseline with its default settings on the shipped scenarios at their own loads, with predictions of "
        "sigma 0.5 where the scenario names none. Share: the largest bound of `llmqgym bound` over the policy's mean, "
        "both of all requests of a run; ± is the 95 % interval over seeds; `!`: the queue grew in most runs."
    ),
)  # fmt: skip
