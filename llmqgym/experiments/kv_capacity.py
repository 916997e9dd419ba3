"""How much KV cache a server needs: latency and preemptions against its blocks, at one rate of requests."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from llmqgym.experiments.arms import Arm, Cell, MakePolicy, OnProgress, measure_all, over_seeds, paired
from llmqgym.experiments.experiment import Document, Experiment, interval, listed, surely_below
from llmqgym.scenario import ScenarioConfig, load_scenario, with_settings, with_traffic
from llmqgym.svg import COLOURS, Panel, Scale, legend, page, spanning

VLLM = Arm("vllm")
ARMS = (
    VLLM, Arm("reserve:by=declared"), Arm("reserve"), Arm("sjf"), Arm("srpt:mode=recompute"), Arm("srpt:mode=swap"),
    Arm("volume-sf"),
)  # fmt: skip
_COLOUR = dict(
    zip(ARMS, (COLOURS[0], COLOURS[8], COLOURS[7], COLOURS[1], COLOURS[4], COLOURS[2], COLOURS[3]), strict=True)
)


@dataclass(frozen=True)
class Settings:
    """`blocks` of the KV cache, 16 tokens each; `rate_per_s` of chat on an A100 with Llama-3-8B, whose own cache has
    26,624 blocks."""

    blocks: tuple[int, ...] = (800, 1000, 1200, 1400, 1700, 2000, 2500, 3200, 4500, 7000, 12_000, 26_624)
    rate_per_s: float = 4.0
    num_requests: int = 20_000
    seeds: tuple[int, ...] = tuple(range(6))


def scenario_of(blocks: int, settings: Settings, seed: int) -> ScenarioConfig:
    """Chat at the rate, on a server with so many blocks."""
    base = with_traffic(
        load_scenario("chat"), None, None, num_requests=settings.num_requests, rate_per_s=settings.rate_per_s
    )
    return with_settings(base, {"num_kv_blocks": blocks}, seed=seed)


def run(
    settings: Settings, make_policy: MakePolicy, *, jobs: int | None = None, on_progress: OnProgress | None = None
) -> Document:
    """The document: each point with its E2E time over that of vLLM on the same requests and blocks."""
    cells = [Cell(scenario_of(blocks, settings, seed), ARMS) for blocks in settings.blocks for seed in settings.seeds]
    measured = measure_all(cells, make_policy, jobs=jobs, on_progress=on_progress)
    points = []
    for place, blocks in enumerate(settings.blocks):
        of_place = measured[place * len(settings.seeds) :][: len(settings.seeds)]
        first = [each.arms[0] for each in of_place]
        for number, arm in enumerate(ARMS):
            runs = [each.arms[number] for each in of_place]
            labels = {"num_kv_blocks": blocks, "policy": arm.policy, "predictor": arm.predictor}
            points.append({**labels, "to_vllm": paired(runs, first), **over_seeds(runs)})
    return {"experiment": EXPERIMENT.name, "settings": dataclasses.asdict(settings), "points": points}


_PANELS = (
    ("e2e_s", "mean E2E time, s", True),
    ("e2e_p99_s", "99th percentile of E2E time, s", True),
    ("preemptions_per_request", "preemptions a request", False),
)


def picture(document: Document) -> str:
    """Mean, 99th percentile and preemptions against blocks; crosses where it is unstable."""
    blocks = document["settings"]["blocks"]
    parts: list[str] = []
    for place, (name, title, log) in enumerate(_PANELS):
        stable = [point[name]["mean"] for point in document["points"] if not point["unstable"]]
        scale = spanning(stable, log) if log else Scale(0, max([*stable, 0.1]) * 1.05)
        panel = Panel(45 + 255 * place, 30, 210, 230, spanning(blocks, log=True), scale)
        parts += panel.frame(title, "KV blocks of 16 tokens", "")
        for arm in ARMS:
            parts += _line(panel, _points(document, arm), name, _COLOUR[arm])
    entries = [(arm.policy.replace(":mode=", ", ").replace(":by=", ", "), _COLOUR[arm], "") for arm in ARMS]
    return page(970, 300, [*parts, *legend(815, 45, entries)])


def _line(panel: Panel, points: list[dict[str, Any]], name: str, colour: str) -> list[str]:
    stable = [point for point in points if not point["unstable"]]
    ends = [
        [
            (point["num_kv_blocks"], max(point[name]["mean"] + sign * (point[name]["half_width_95"] or 0), panel.y.low))
            for point in stable
        ]
        for sign in (-1, 1)
    ]
    parts = panel.band(ends[0], ends[1], colour)
    parts += panel.line([(point["num_kv_blocks"], point[name]["mean"]) for point in stable], colour)
    for point in points:
        parts += panel.cross((point["num_kv_blocks"], panel.y.high), colour) if point["unstable"] else []
    return parts


def _points(document: Document, arm: Arm) -> list[dict[str, Any]]:
    return [point for point in document["points"] if point["policy"] == arm.policy]


def columns(document: Document) -> tuple[str, ...]:
    """Of the table."""
    return ("blocks", *(arm.policy for arm in ARMS))


def rows(document: Document) -> list[tuple[str, ...]]:
    """Mean E2E time and preemptions a request by blocks and policy."""
    table = []
    for blocks in document["settings"]["blocks"]:
        cells = []
        for arm in ARMS:
            point = next(each for each in _points(document, arm) if each["num_kv_blocks"] == blocks)
            if point["unstable"]:
                cells.append(f"unstable in {point['num_growing']} of {point['num_runs']}")
            else:
                cells.append(f"{interval(point['e2e_s'])} s, {point['preemptions_per_request']['mean']:.2g}")
        rejected = sum(
            point["num_rejected"] for point in document["points"] if point["num_kv_blocks"] == blocks
        ) // len(ARMS)
        table.append((f"{blocks:,}" + (f" ({rejected} rejected)" if rejected else ""), *cells))
    return table


def findings(document: Document) -> list[str]:
    """In words."""
    smallest = {arm: _smallest_stable(document, arm) for arm in ARMS}
    known = {arm: blocks for arm, blocks in smallest.items() if blocks is not None}
    said = []
    if known:
        words = [f"{arm.policy} {blocks:,}" for arm, blocks in sorted(known.items(), key=lambda each: each[1])]
        said.append(f"Stable from so many blocks on, of those tried: {listed(words)}.")
    said += _volume_first(document)
    said += _enough(document)
    return said


def _smallest_stable(document: Document, arm: Arm) -> int | None:
    """From which number of blocks on the policy is stable."""
    found = None
    for point in reversed(_points(document, arm)):
        if point["unstable"]:
            break
        found = point["num_kv_blocks"]
    return found


def _volume_first(document: Document) -> list[str]:
    better = [
        point
        for point in _points(document, Arm("volume-sf"))
        if not point["unstable"] and surely_below(point["to_vllm"], 1) and _stable_vllm(document, point)
    ]
    if not better:
        return []
    best = min(better, key=lambda point: point["to_vllm"]["mean"])
    return [
        f"Least memory x time first with true lengths is faster than vLLM at {len(better)} of the sizes, most so at "
        f"{best['num_kv_blocks']:,} blocks: {interval(best['to_vllm'])} of its mean."
    ]


def _stable_vllm(document: Document, point: dict[str, Any]) -> bool:
    return not next(each for each in _points(document, VLLM) if each["num_kv_blocks"] == point["num_kv_blocks"])[
        "unstable"
    ]


def _enough(document: Document) -> list[str]:
    """From where on more memory buys nothing: the mean within 1 % of that with the most."""
    points = [point for point in _points(document, VLLM) if not point["unstable"]]
    if len(points) < 2:
        return []
    least = points[-1]["e2e_s"]["mean"]
    enough = next(point for point in points if point["e2e_s"]["mean"] <= 1.01 * least)
    return [
        f"vLLM's mean is within 1 % of that with {points[-1]['num_kv_blocks']:,} blocks from "
        f"{enough['num_kv_blocks']:,} on, and {points[0]['e2e_s']['mean'] / least:.1f} times that at "
        f"{points[0]['num_kv_blocks']:,}, with {points[0]['preemptions_per_request']['mean']:.2g} preemptions a "
        "request."
    ]


EXPERIMENT = Experiment(
    name="kv-capacity",
    summary="latency and preemptions against the number of KV blocks, for seven policies",
    full=Settings(),
    quick=Settings(blocks=(1200, 2000, 26_624), num_requests=2000, seeds=(0, 1, 2)),
    run=run,
    picture=picture,
    columns=columns,
    rows=rows,
    findings=findings,
    about=(
        "Chat at 4 requests/s on an A100 with Llama-3-8B, the KV cache cut down; predictions are true. Means of the "
        "middle 80 % of each run's requests, ± is the 95 % interval over seeds, and behind it stand the preemptions a "
        "request. Requests that can never fit are rejected, and are in no mean."
    ),
)
