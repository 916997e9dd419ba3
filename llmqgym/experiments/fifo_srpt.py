"""First come first served against shortest first: by the truth and by predictions, with and without memory."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from llmqgym.experiments.arms import Arm, Cell, MakePolicy, OnProgress, measure_all, over_seeds, paired
from llmqgym.experiments.experiment import Document, Experiment, interval, ratio_cell, surely_above, surely_below
from llmqgym.scenario import GeneratedTraffic, ScenarioConfig, load_scenario, with_settings, with_traffic
from llmqgym.svg import COLOURS, Panel, Scale, legend, page
from llmqgym.theory import Lognormal, make_prediction, mean_response
from llmqgym.workload.model import TrafficModel

FCFS = Arm("fcfs")
#: Spread of the logarithm of chat's output lengths, and so of the jobs of the queue without memory.
OUTPUT_SIGMA = 0.8
OUTPUT = f"lognormal:median=160,sigma={OUTPUT_SIGMA},max=4096"
#: The servers: settings of chat's, or None for a textbook queue, where one slot does a token a pass of constant time.
SERVERS: dict[str, dict[str, int] | None] = {
    "one slot, no memory": None,
    "32 slots, ample KV": {"max_running": 32},
    "32 slots, 1,500 KV blocks": {"max_running": 32, "num_kv_blocks": 1500},
}


@dataclass(frozen=True)
class Settings:
    """`sigmas` of the lognormal predictions, `loads` as shares of each server's capacity."""

    loads: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
    sigmas: tuple[float, ...] = (0.5, 1.0, 2.0)
    num_requests: int = 20_000
    num_jobs: int = 60_000  # of the queue without memory, where all wait for one
    seeds: tuple[int, ...] = tuple(range(10))


def scenario_of(server: str, load: float, settings: Settings, seed: int) -> ScenarioConfig:
    """Chat on a server at a load; for the textbook queue chat's outputs alone."""
    changed = SERVERS[server]
    base = load_scenario("chat" if changed is not None else "textbook-queue")
    if changed is None:
        model = TrafficModel(prompt="constant:tokens=1", output=OUTPUT)
        base = dataclasses.replace(base, workload=GeneratedTraffic(model, rho=load))
    num = settings.num_jobs if changed is None else settings.num_requests
    base = with_traffic(base, None, None, num_requests=num, rho=load)
    return with_settings(base, changed or {}, seed=seed)


def arms_of(server: str, settings: Settings) -> tuple[Arm, ...]:
    """First come first served, then shortest first, not preemptive and preemptive in the modes that there are."""
    noisy = [f"lognormal:sigma={sigma:g}" for sigma in settings.sigmas]
    modes = ("hold",) if SERVERS[server] is None else ("hold", "swap", "recompute")
    return (
        FCFS,
        Arm("sjf"),
        *(Arm("spjf", predictor) for predictor in noisy),
        *(Arm(f"srpt:mode={mode}") for mode in modes),
        *(Arm(f"sprpt:mode={mode}", predictor) for mode in modes for predictor in noisy),
    )


def run(
    settings: Settings, make_policy: MakePolicy, *, jobs: int | None = None, on_progress: OnProgress | None = None
) -> Document:
    """The document: each point with its E2E time over that of first come first served on the same requests, and, for
    the queue without memory, the same of the closed forms."""
    places = [(server, load) for server in SERVERS for load in settings.loads]
    cells = [
        Cell(scenario_of(server, load, settings, seed), arms_of(server, settings))
        for server, load in places
        for seed in settings.seeds
    ]
    measured = measure_all(cells, make_policy, jobs=jobs, on_progress=on_progress)
    points = []
    for place, (server, load) in enumerate(places):
        of_place = measured[place * len(settings.seeds) :][: len(settings.seeds)]
        first = [each.arms[0] for each in of_place]
        for number, arm in enumerate(arms_of(server, settings)):
            runs = [each.arms[number] for each in of_place]
            points.append(
                {
                    "server": server,
                    "load": load,
                    "policy": arm.policy,
                    "predictor": arm.predictor,
                    "to_fcfs": paired(runs, first),
                    "formula_to_fcfs": None if SERVERS[server] is not None else formula(arm, load),
                    **over_seeds(runs),
                }
            )
    return {"experiment": EXPERIMENT.name, "settings": dataclasses.asdict(settings), "points": points}


def formula(arm: Arm, load: float) -> float:
    """Mean response over that of first come first served, in the textbook queue, by the closed forms."""
    law, prediction = Lognormal(OUTPUT_SIGMA), make_prediction(arm.predictor)
    name = arm.policy.partition(":")[0]
    return mean_response(name, law, load, prediction) / mean_response("fcfs", law, load)


#: What is drawn: arm, colour, dash.
_LINES = (
    (FCFS, COLOURS[8], ""),
    (Arm("sjf"), COLOURS[1], ""),
    (Arm("spjf", "lognormal:sigma=1"), COLOURS[1], "5 3"),
    (Arm("srpt:mode=hold"), COLOURS[3], ""),
    (Arm("sprpt:mode=hold", "lognormal:sigma=1"), COLOURS[3], "5 3"),
    (Arm("srpt:mode=swap"), COLOURS[2], ""),
    (Arm("sprpt:mode=swap", "lognormal:sigma=1"), COLOURS[2], "5 3"),
    (Arm("srpt:mode=recompute"), COLOURS[4], ""),
    (Arm("sprpt:mode=recompute", "lognormal:sigma=1"), COLOURS[4], "5 3"),
)
_LOW, _HIGH = 0.15, 10.0


def picture(document: Document) -> str:
    """A panel a server: E2E time over that of first come first served, by load; crosses where it is unstable."""
    loads = document["settings"]["loads"]
    parts: list[str] = []
    for place, server in enumerate(SERVERS):
        scale = Scale(min(loads) - 0.02, max(loads) + 0.02)
        panel = Panel(52 + 250 * place, 30, 205, 230, scale, Scale(_LOW, _HIGH, log=True))
        parts += panel.frame(server, "load", "" if place else "mean E2E time, of first come first served")
        for arm, colour, dash in _LINES:
            found = _points(document, server, arm)
            stable = [point for point in found if not point["unstable"] and point["to_fcfs"]["mean"] is not None]
            width = [point["to_fcfs"]["half_width_95"] or 0.0 for point in stable]
            mean = [point["to_fcfs"]["mean"] for point in stable]
            at = [point["load"] for point in stable]
            ends = [[(x, max(y + sign * w, _LOW)) for x, y, w in zip(at, mean, width, strict=True)] for sign in (-1, 1)]
            parts += panel.band(ends[0], ends[1], colour)
            parts += panel.line(list(zip(at, mean, strict=True)), colour, dash)
            for point in found:
                parts += panel.cross((point["load"], _HIGH), colour) if point["unstable"] else []
    entries = [(_label(arm), colour, dash) for arm, colour, dash in _LINES]
    return page(990, 300, [*parts, *legend(795, 45, entries)])


def _label(arm: Arm) -> str:
    name = arm.policy.replace(":mode=", ", ")
    return name if arm.predictor == "perfect" else f"{name}, {arm.predictor.replace('lognormal:sigma=', 'sigma ')}"


def _points(document: Document, server: str, arm: Arm) -> list[dict[str, Any]]:
    wanted = (server, arm.policy, arm.predictor)
    return [point for point in document["points"] if (point["server"], point["policy"], point["predictor"]) == wanted]


def columns(document: Document) -> tuple[str, ...]:
    """Of the table."""
    return ("server", "policy", *(f"load {load:g}" for load in document["settings"]["loads"]))


def rows(document: Document) -> list[tuple[str, ...]]:
    """Ratios to first come first served, and its own E2E time in s."""
    settings = Settings(**document["settings"])
    table = []
    for server in SERVERS:
        for arm in arms_of(server, settings):
            found = _points(document, server, arm)
            if arm == FCFS:
                cells = [f"{interval(point['e2e_s'])} s" for point in found]
            else:
                cells = [ratio_cell(point, "to_fcfs") for point in found]
            table.append((server, _label(arm), *cells))
    return table


def findings(document: Document) -> list[str]:
    """In words."""
    loads = document["settings"]["loads"]
    return [*_without_memory(document), *_by_mode(document, max(loads)), *_noisy(document, max(loads))]


def _without_memory(document: Document) -> list[str]:
    server = next(iter(SERVERS))
    found = [point for point in document["points"] if point["server"] == server and point["policy"] != "fcfs"]
    if not found or any(point["unstable"] for point in found):
        return []
    far = max(abs(point["to_fcfs"]["mean"] / point["formula_to_fcfs"] - 1) for point in found)
    last = _points(document, server, Arm("srpt:mode=hold"))[-1]
    return [
        f"Without memory SRPT takes {interval(last['to_fcfs'])} of the time of first come first served at load "
        f"{last['load']:g}, and no ratio is farther than {far:.1%} from its closed form."
    ]


def _by_mode(document: Document, load: float) -> list[str]:
    """What SRPT's mode of preemption makes of it where there is memory."""
    said = []
    for server in list(SERVERS)[1:]:
        words = []
        for mode in ("hold", "swap", "recompute"):
            for point in _points(document, server, Arm(f"srpt:mode={mode}")):
                if point["load"] == load:
                    words.append(f"{mode} {ratio_cell(point, 'to_fcfs')}")
        first = [p["load"] for p in _points(document, server, Arm("srpt:mode=recompute")) if p["unstable"]]
        limit = f"; by recompute it is unstable from load {min(first):g} on" if first else ""
        said.append(
            f"{server}: SRPT with the truth at load {load:g}, over first come first served: {', '.join(words)}{limit}."
        )
    return said


def _noisy(document: Document, load: float) -> list[str]:
    """Shortest predicted first, without preemption: does it still help?"""
    sigma = max(document["settings"]["sigmas"])
    said = []
    for server in list(SERVERS)[1:]:
        for point in _points(document, server, Arm("spjf", f"lognormal:sigma={sigma:g}")):
            if point["load"] != load or point["unstable"]:
                continue
            if surely_below(point["to_fcfs"], 1) or surely_above(point["to_fcfs"], 1):
                verdict = "better" if point["to_fcfs"]["mean"] < 1 else "worse"
                said.append(
                    f"{server}: without preemption, predictions of sigma {sigma:g} are {verdict} than no order at load "
                    f"{load:g}: {interval(point['to_fcfs'])}."
                )
    return said


EXPERIMENT = Experiment(
    name="fifo-srpt",
    summary="first come first served against shortest first, by truth and by predictions, over load",
    full=Settings(),
    quick=Settings(loads=(0.7, 0.9), sigmas=(1.0,), num_requests=2000, num_jobs=5000, seeds=(0, 1, 2)),
    run=run,
    picture=picture,
    columns=columns,
    rows=rows,
    findings=findings,
    about=(
        "Mean E2E time of the middle 80 % of each run's requests, as a share of that under first come first served on "
        "the same requests; ± is the 95 % interval over seeds. Chat on one A100 with Llama-3-8B; the queue without "
        "memory has chat's outputs as jobs. Policies without a sigma know the true lengths."
    ),
)
