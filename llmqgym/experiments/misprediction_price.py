"""The price of misprediction with memory: over the noise, TRAIL's limit on preemption and the KV cache."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from llmqgym.experiments.arms import Arm, Cell, MakePolicy, OnProgress, measure_all, over_seeds, paired
from llmqgym.experiments.experiment import Document, Experiment, interval, surely_above, surely_below
from llmqgym.scenario import ScenarioConfig, load_scenario, with_settings, with_traffic
from llmqgym.svg import Cell as Square
from llmqgym.svg import Scale, cells, page, ramp, text
from llmqgym.theory import Lognormal, make_prediction, trail

MODES = ("swap", "recompute")
#: Spread of the logarithm of chat's output lengths: the jobs of the theory.
OUTPUT_SIGMA = 0.8
RED = (178, 48, 32)
_SQUARE = (33.0, 19.0)


@dataclass(frozen=True)
class Settings:
    """`sigmas` of the lognormal predictions (0: the truth), `cutoffs` C of TRAIL: a request may be displaced while it
    has generated at most C times its prediction; `blocks` M of the KV cache. `load` is a share of the capacity of the
    slots and of M, whichever is short."""

    sigmas: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0)
    cutoffs: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0)
    blocks: tuple[int, ...] = (900, 1500, 2700, 5400)
    load: float = 0.8
    max_running: int = 32
    num_requests: int = 20_000
    seeds: tuple[int, ...] = tuple(range(10))


def scenario_of(blocks: int, settings: Settings, seed: int) -> ScenarioConfig:
    """Chat at the load, on a server with so many blocks."""
    base = with_traffic(load_scenario("chat"), None, None, num_requests=settings.num_requests, rho=settings.load)
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
    grid = [(mode, cutoff) for mode in MODES for cutoff in settings.cutoffs]
    predictors = ["perfect", *map(predictor_of, settings.sigmas)]
    arms = tuple(arm_of(mode, cutoff, predictor) for mode, cutoff in grid for predictor in predictors)
    all_cells = [Cell(scenario_of(m, settings, seed), arms) for m in settings.blocks for seed in settings.seeds]
    measured = measure_all(all_cells, make_policy, jobs=jobs, on_progress=on_progress)
    points = []
    for place, blocks in enumerate(settings.blocks):
        of_place = measured[place * len(settings.seeds) :][: len(settings.seeds)]
        runs = {arm: [each.arms[number] for each in of_place] for number, arm in enumerate(arms)}
        for mode, cutoff in grid:
            truth = runs[arm_of(mode, cutoff, "perfect")]
            for sigma in settings.sigmas:
                own = runs[arm_of(mode, cutoff, predictor_of(sigma))]
                calm = runs[arm_of(mode, settings.cutoffs[0], predictor_of(sigma))]
                points.append(
                    {
                        "mode": mode,
                        "num_kv_blocks": blocks,
                        "cutoff": cutoff,
                        "sigma": sigma,
                        "price": paired(own, truth),
                        "to_no_preemption": paired(own, calm),
                        **over_seeds(own),
                        "truth_unstable": over_seeds(truth)["unstable"],
                    }
                )
    theory = [
        {"cutoff": cutoff, "sigma": sigma, "price": price_of_theory(settings.load, cutoff, sigma)}
        for cutoff in settings.cutoffs
        for sigma in settings.sigmas
    ]
    return {
        "experiment": EXPERIMENT.name, "settings": dataclasses.asdict(settings), "points": points, "theory": theory,
    }  # fmt: skip


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
    """A table of prices for each mode and number of blocks, and that of the theory."""
    settings = document["settings"]
    prices = [point["price"]["mean"] for point in document["points"] if not _unstable(point)]
    top = max([*prices, *(each["price"] for each in document["theory"]), 1.1])
    colour = ramp(Scale(1.0, min(top, 3.0), log=True), RED)
    sigmas, cutoffs, blocks = settings["sigmas"], settings["cutoffs"], settings["blocks"]
    wide, high = len(sigmas) * _SQUARE[0] + 16, len(cutoffs) * _SQUARE[1] + 52
    parts: list[str] = []
    for down, mode in enumerate(MODES):
        y = 46 + down * high
        for place, cutoff in enumerate(cutoffs):
            parts.append(text(52, y + (place + 0.5) * _SQUARE[1] + 3, f"C = {cutoff:g}", "tick", "end"))
        for along, m in enumerate(blocks):
            squares = [[_square(document, mode, m, cutoff, sigma, colour) for sigma in sigmas] for cutoff in cutoffs]
            parts.append(text(58 + along * wide, y - 18, f"{mode}, M = {m:,}", "title"))
            parts += cells(58 + along * wide, y, _SQUARE, squares, [f"{sigma:g}" for sigma in sigmas])
    left = 58 + len(blocks) * wide
    known = {(each["cutoff"], each["sigma"]): each["price"] for each in document["theory"]}
    squares = [
        [Square(f"{known[cutoff, sigma]:.2f}", colour(known[cutoff, sigma])) for sigma in sigmas] for cutoff in cutoffs
    ]
    parts.append(text(left, 28, "theory, no memory", "title"))
    parts += cells(left, 46, _SQUARE, squares, [f"{sigma:g}" for sigma in sigmas])
    note = "M: KV blocks; columns: sigma. Price: mean E2E time over that with the truth. Grey, x: unstable."
    parts.append(text(58, 46 + len(MODES) * high - 18, note, "label"))
    return page(max(left + wide + 10, 560), 46 + len(MODES) * high, parts)


def _square(document: Document, mode: str, blocks: int, cutoff: float, sigma: float, colour: Any) -> Square:
    point = _point(document, mode, blocks, cutoff, sigma)
    price = point["price"]["mean"]
    return Square("x") if _unstable(point) or price is None else Square(f"{price:.2f}", colour(price))


def _unstable(point: dict[str, Any]) -> bool:
    return bool(point["unstable"] or point["truth_unstable"])


def _point(document: Document, mode: str, blocks: int, cutoff: float, sigma: float) -> dict[str, Any]:
    wanted = (mode, blocks, cutoff, sigma)
    return next(
        point
        for point in document["points"]
        if (point["mode"], point["num_kv_blocks"], point["cutoff"], point["sigma"]) == wanted
    )


def _sigma_shown(document: Document) -> float:
    """The noise of the table: 1, or the largest."""
    sigmas = document["settings"]["sigmas"]
    return 1.0 if 1.0 in sigmas else max(sigmas)


def columns(document: Document) -> tuple[str, ...]:
    """Of the table."""
    return ("mode", "blocks", *(f"C = {cutoff:g}" for cutoff in document["settings"]["cutoffs"]))


def rows(document: Document) -> list[tuple[str, ...]]:
    """At one sigma: the price, then the mean E2E time over that without preemption."""
    settings, sigma = document["settings"], _sigma_shown(document)
    table = []
    for mode in MODES:
        for blocks in settings["blocks"]:
            points = [_point(document, mode, blocks, cutoff, sigma) for cutoff in settings["cutoffs"]]
            table.append((mode, f"{blocks:,}", *map(_table_cell, points)))
    return table


def _table_cell(point: dict[str, Any]) -> str:
    if _unstable(point):
        return f"unstable in {point['num_growing']} of {point['num_runs']}"
    return f"{interval(point['price'])}; {interval(point['to_no_preemption'])}"


def findings(document: Document) -> list[str]:
    """In words."""
    return [*_against_theory(document), *_preempting(document), *_unstable_points(document)]


def _against_theory(document: Document) -> list[str]:
    """The price at the largest cut-off and noise, with memory and without."""
    settings = document["settings"]
    cutoff, sigma = max(settings["cutoffs"]), max(settings["sigmas"])
    theory = next(each["price"] for each in document["theory"] if (each["cutoff"], each["sigma"]) == (cutoff, sigma))
    points = [_point(document, "swap", blocks, cutoff, sigma) for blocks in settings["blocks"]]
    stable = [point for point in points if not _unstable(point)]
    if not stable:
        return []
    words = ", ".join(f"{interval(point['price'])} with {point['num_kv_blocks']:,}" for point in stable)
    return [
        f"Without memory the price at C = {cutoff:g} and sigma {sigma:g} is {theory:.2f}; on {settings['max_running']} "
        f"slots, preempting by swap, it is, by KV blocks, {words}."
    ]


def _preempting(document: Document) -> list[str]:
    """Whether preemption pays at all where there is memory, for every cut-off above the first."""
    said = []
    for mode in MODES:
        points = [
            point
            for point in document["points"]
            if point["mode"] == mode and point["cutoff"] > document["settings"]["cutoffs"][0]
        ]
        worse = sum(point["unstable"] or surely_above(point["to_no_preemption"], 1) for point in points)
        better = sum(not point["unstable"] and surely_below(point["to_no_preemption"], 1) for point in points)
        said.append(
            f"Preempting by {mode} has a longer mean E2E time than not preempting (C = 0), or none that is stable, at "
            f"{worse} of {len(points)} points, a shorter one at {better}; at the rest the intervals do not tell."
        )
    return said


def _unstable_points(document: Document) -> list[str]:
    said = []
    for mode in MODES:
        points = [point for point in document["points"] if point["mode"] == mode]
        cutoffs = sorted({point["cutoff"] for point in points if point["unstable"]})
        if cutoffs:
            number = sum(point["unstable"] for point in points)
            said.append(
                f"By {mode} {number} of {len(points)} points are unstable at load {document['settings']['load']:g}; "
                f"the smallest C among them is {cutoffs[0]:g}."
            )
    return said


EXPERIMENT = Experiment(
    name="misprediction-price",
    summary="the price of misprediction with memory: noise x TRAIL's cut-off C x KV blocks, beside the theory",
    full=Settings(),
    quick=Settings(sigmas=(0.0, 1.0), cutoffs=(0.0, 0.2, 1.0), blocks=(1500, 5400), num_requests=2000, seeds=(0, 1, 2)),
    run=run,
    picture=picture,
    columns=columns,
    rows=rows,
    findings=findings,
    about=(
        "TRAIL(C) on chat, on 32 slots of an A100 with Llama-3-8B at load 0.8 of slots and KV cache, whichever binds: "
        "C = 0 never preempts (SPJF), C = 1 is SPRPT. Means of the middle 80 % of each run's requests, ± is the 95 % "
        "interval over seeds. The table is at sigma 1: the price; then the mean E2E time over that at C = 0."
    ),
)
