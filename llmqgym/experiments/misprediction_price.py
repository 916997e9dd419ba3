"""The price of misprediction with memory: over the noise, TRAIL's limit on preemption and the KV cache."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from llmqgym.experiments.arms import Arm, Cell, MakePolicy, OnProgress, measure_all, over_seeds, paired
from llmqgym.experiments.experiment import Document, Experiment, interval, surely_above, surely_below
from llmqgym.scenario import ScenarioConfig, load_scenario, with_settings, with_traffic
from llmqgym.svg import Cell as Square
from llmqgym.svg import Scale, cells, page, ramp, text
from llmqgym.theory import Lognormal, make_prediction, trail

#: Spread of the logarithm of chat's output lengths: the jobs of the theory.
OUTPUT_SIGMA = 0.8
RED = (222, 112, 92)
_SQUARE = (33.0, 19.0)


@dataclass(frozen=True)
class Settings:
    """`sigmas` of the lognormal predictions (0 is the truth), `cutoffs` C of TRAIL: a request may be displaced while it
    has generated at most C times its prediction; `blocks` M of the KV cache. `rows`: the mode of preemption and the
    load, a share of the capacity of the slots and of M, whichever is short."""

    sigmas: tuple[float, ...] = (0.5, 1.0, 2.0)
    cutoffs: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    blocks: tuple[int, ...] = (900, 1500, 2700, 5400)
    rows: tuple[tuple[str, float], ...] = (("swap", 0.8), ("recompute", 0.8), ("recompute", 0.6))
    max_running: int = 32
    num_requests: int = 20_000
    seeds: tuple[int, ...] = tuple(range(6))


def scenario_of(load: float, blocks: int, settings: Settings, seed: int) -> ScenarioConfig:
    """Chat at the load, on a server with so many blocks."""
    base = with_traffic(load_scenario("chat"), None, None, num_requests=settings.num_requests, rho=load)
    return with_settings(base, {"num_kv_blocks": blocks, "max_running": settings.max_running}, seed=seed)


def arm_of(mode: str, cutoff: float, predictor: str) -> Arm:
    """TRAIL at a cut-off."""
    return Arm(f"trail:c={cutoff:g},mode={mode}", predictor)


def predictor_of(sigma: float) -> str:
    """Lognormal noise."""
    return f"lognormal:sigma={sigma:g}"


def run(
    settings: Settings, make_policy: MakePolicy, *, jobs: int | None = None, on_progress: OnProgress | None = None
) -> Document:
    """The document: each point with its `price`, the mean E2E time over that of the same policy told the truth, and
    `to_no_preemption`, over that at the first cut-off with the same predictions; all on the same requests."""
    predictors = ["perfect", *map(predictor_of, settings.sigmas)]
    places = [(mode, load, blocks) for mode, load in settings.rows for blocks in settings.blocks]
    all_cells = [
        Cell(
            scenario_of(load, blocks, settings, seed),
            tuple(arm_of(mode, cutoff, predictor) for cutoff in settings.cutoffs for predictor in predictors),
        )
        for mode, load, blocks in places
        for seed in settings.seeds
    ]
    measured = measure_all(all_cells, make_policy, jobs=jobs, on_progress=on_progress)
    num_seeds = len(settings.seeds)
    points = []
    for place, (mode, load, blocks) in enumerate(places):
        of_place = measured[place * num_seeds :][:num_seeds]
        runs = {arm: [each.arms[at] for each in of_place] for at, arm in enumerate(all_cells[place * num_seeds].arms)}
        labels = {"mode": mode, "load": load, "num_kv_blocks": blocks}
        points += [{**labels, **point} for point in _points_of(mode, runs, settings)]
    theory = [
        {"load": load, "cutoff": cutoff, "sigma": sigma, "price": price_of_theory(load, cutoff, sigma)}
        for load in dict.fromkeys(load for _, load in settings.rows)
        for cutoff in settings.cutoffs
        for sigma in settings.sigmas
    ]
    return {
        "experiment": EXPERIMENT.name, "settings": dataclasses.asdict(settings), "points": points, "theory": theory,
    }  # fmt: skip


def _points_of(mode: str, runs: dict[Arm, list[dict[str, Any]]], settings: Settings) -> Iterator[dict[str, Any]]:
    """The points of a server, from the runs of its arms."""
    for cutoff in settings.cutoffs:
        truth = runs[arm_of(mode, cutoff, "perfect")]
        for sigma in settings.sigmas:
            own = runs[arm_of(mode, cutoff, predictor_of(sigma))]
            calm = runs[arm_of(mode, settings.cutoffs[0], predictor_of(sigma))]
            yield {
                "cutoff": cutoff,
                "sigma": sigma,
                "price": paired(own, truth),
                "to_no_preemption": paired(own, calm),
                **over_seeds(own),
                "truth_unstable": over_seeds(truth)["unstable"],
            }


def price_of_theory(load: float, cutoff: float, sigma: float) -> float:
    """The price on one server without memory, whose jobs are chat's outputs: closed forms (llmqgym.theory).

    >>> price_of_theory(0.8, 1.0, 0.0)
    1.0
    """
    law = Lognormal(OUTPUT_SIGMA)
    times = []
    for predictor in (predictor_of(sigma), "perfect"):
        times.append(trail(law, load, make_prediction(predictor), cutoff=cutoff))
    return times[0] / times[1]


def picture(document: Document) -> str:
    """A table of prices for each mode, load and number of blocks, and that of the theory at the load."""
    settings = document["settings"]
    prices = [point["price"]["mean"] for point in document["points"] if not _unstable(point)]
    top = max([*prices, *(each["price"] for each in document["theory"]), 1.1])
    colour = ramp(Scale(1.0, min(top, 3.0), log=True), RED)
    sigmas, cutoffs, blocks = settings["sigmas"], settings["cutoffs"], settings["blocks"]
    wide, high = len(sigmas) * _SQUARE[0] + 16, len(cutoffs) * _SQUARE[1] + 52
    names = [f"{sigma:g}" for sigma in sigmas]
    known = {(each["load"], each["cutoff"], each["sigma"]): each["price"] for each in document["theory"]}
    parts: list[str] = []
    for down, (mode, load) in enumerate(settings["rows"]):
        y = 60 + down * high
        parts.append(text(58, y - 30, f"preemption by {mode}, load {load:g}", "title"))
        for place, cutoff in enumerate(cutoffs):
            parts.append(text(52, y + (place + 0.5) * _SQUARE[1] + 3, f"C = {cutoff:g}", "tick", "end"))
        for along, m in enumerate(blocks):
            of_server = {(p["cutoff"], p["sigma"]): p for p in _server(document, mode, load, m)}
            squares = [[_square(of_server[cutoff, sigma], colour) for sigma in sigmas] for cutoff in cutoffs]
            parts.append(text(58 + along * wide, y - 16, f"{m:,} KV blocks", "label"))
            parts += cells(58 + along * wide, y, _SQUARE, squares, names)
        left = 58 + len(blocks) * wide
        found = [[known[load, cutoff, sigma] for sigma in sigmas] for cutoff in cutoffs]
        parts.append(text(left, y - 16, "theory, no memory", "label"))
        parts += cells(
            left, y, _SQUARE, [[Square(f"{each:.2f}", colour(each)) for each in row] for row in found], names
        )
    end = 60 + len(settings["rows"]) * high
    note = "Columns: sigma of the predictions. Price: mean E2E time over that with the truth. Grey, x: unstable."
    parts.append(text(58, end - 30, note, "label"))
    return page(max(left + wide + 10, 560), end - 16, parts)


def _square(point: dict[str, Any], colour: Callable[[float], str]) -> Square:
    price = point["price"]["mean"]
    return Square("x") if _unstable(point) or price is None else Square(f"{price:.2f}", colour(price))


def _unstable(point: dict[str, Any]) -> bool:
    return bool(point["unstable"] or point["truth_unstable"])


def _row(document: Document, mode: str, load: float) -> list[dict[str, Any]]:
    return [point for point in document["points"] if (point["mode"], point["load"]) == (mode, load)]


def _server(document: Document, mode: str, load: float, blocks: int) -> list[dict[str, Any]]:
    return [point for point in _row(document, mode, load) if point["num_kv_blocks"] == blocks]


def _sigma_shown(document: Document) -> float:
    """The noise of the table: 1, or the largest."""
    sigmas = document["settings"]["sigmas"]
    return 1.0 if 1.0 in sigmas else max(sigmas)


def columns(document: Document) -> tuple[str, ...]:
    """Of the table."""
    return ("mode", "load", "blocks", *(f"C = {cutoff:g}" for cutoff in document["settings"]["cutoffs"]))


def rows(document: Document) -> list[tuple[str, ...]]:
    """At one sigma: the price, then the mean E2E time over that without preemption."""
    sigma = _sigma_shown(document)
    table = []
    for mode, load in document["settings"]["rows"]:
        for blocks in document["settings"]["blocks"]:
            points = [point for point in _server(document, mode, load, blocks) if point["sigma"] == sigma]
            table.append((mode, f"{load:g}", f"{blocks:,}", *map(_table_cell, points)))
    return table


def _table_cell(point: dict[str, Any]) -> str:
    if _unstable(point):
        return f"unstable in {point['num_growing']} of {point['num_runs']}"
    return f"{interval(point['price'])}; {interval(point['to_no_preemption'])}"


def findings(document: Document) -> list[str]:
    """In words."""
    said = _against_theory(document)
    for mode, load in document["settings"]["rows"]:
        said.append(_preempting(document, mode, load))
    return said


def _against_theory(document: Document) -> list[str]:
    """The price at the largest cut-off and noise, with memory and without."""
    settings = document["settings"]
    mode, load = settings["rows"][0]
    at = (max(settings["cutoffs"]), max(settings["sigmas"]))
    theory = next(
        each["price"] for each in document["theory"] if each["load"] == load and (each["cutoff"], each["sigma"]) == at
    )
    points = [point for point in _row(document, mode, load) if (point["cutoff"], point["sigma"]) == at]
    stable = [point for point in points if not _unstable(point)]
    if not stable:
        return []
    words = ", ".join(f"{interval(point['price'])} with {point['num_kv_blocks']:,}" for point in stable)
    return [
        f"Without memory the price at C = {at[0]:g}, sigma {at[1]:g} and load {load:g} is {theory:.2f}; on "
        f"{settings['max_running']} slots, preempting by {mode}, it is, by KV blocks, {words}."
    ]


def _preempting(document: Document, mode: str, load: float) -> str:
    """Whether preemption pays at all, for every cut-off above the first, whatever the noise and the memory."""
    points = [point for point in _row(document, mode, load) if point["cutoff"] > document["settings"]["cutoffs"][0]]
    unstable = [point for point in points if point["unstable"]]
    stable = [point for point in points if not point["unstable"]]
    worse = sum(surely_above(point["to_no_preemption"], 1) for point in stable)
    better = sum(surely_below(point["to_no_preemption"], 1) for point in stable)
    limit = f" (from C = {min(point['cutoff'] for point in unstable):g} on)" if unstable else ""
    return (
        f"Preempting by {mode} at load {load:g}, of {len(points)} points with C > 0: {worse} have a longer mean E2E "
        f"time than not preempting (C = 0), {better} a shorter one, at {len(stable) - worse - better} the intervals do "
        f"not tell, and {len(unstable)}{limit} are unstable."
    )


EXPERIMENT = Experiment(
    name="misprediction-price",
    summary="the price of misprediction with memory: noise x TRAIL's cut-off C x KV blocks, beside the theory",
    full=Settings(),
    quick=Settings(
        sigmas=(0.0, 1.0),
        cutoffs=(0.0, 0.2, 1.0),
        blocks=(1500, 5400),
        rows=(("swap", 0.8), ("recompute", 0.6)),
        num_requests=2000,
        seeds=(0, 1, 2),
    ),
    run=run,
    picture=picture,
    columns=columns,
    rows=rows,
    findings=findings,
    about=(
        "TRAIL(C) on chat, on 32 slots of an A100 with Llama-3-8B; loads are shares of what slots and KV cache bear. "
        "C = 0 never preempts (SPJF), C = 1 is SPRPT. Means of the middle 80 % of each run's requests, ± is the 95 % "
        "interval over seeds. The table is at sigma 1: the price; then the mean E2E time over that at C = 0."
    ),
)
