"""What an interruption costs: recompute, restart and swap against hold, by context length and by where it falls."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from llmqgym.errors import InputError
from llmqgym.experiments.arms import MakePolicy, OnProgress
from llmqgym.experiments.experiment import Document, Experiment, listed
from llmqgym.experiments.interruption import Interruption, break_even_tokens, reckoned, recompute_ps, simulated, swap_ps
from llmqgym.hardware import load_profile
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.svg import COLOURS, Panel, Scale, legend, page, spanning

MODES = ("recompute", "restart", "swap", "hold")
_COLOUR = dict(zip(MODES, (COLOURS[1], COLOURS[4], COLOURS[2], COLOURS[3]), strict=True))
IDLE, BUSY = "", "5 3"  # dashes


@dataclass(frozen=True)
class Settings:
    """`contexts`: KV tokens held when interrupted, after `generated` of `output` tokens. `positions`: the same prompt,
    `position_prompt`, interrupted after each of these numbers of its `position_output` tokens. Each alone and beside
    `others` that decode. `profiles` are for the break-even contexts, up to `most` tokens."""

    profile: str = "a100-llama-3-8b"
    contexts: tuple[int, ...] = (128, 256, 512, 1024, 2048, 4096, 8192, 16_000)
    output: int = 256
    generated: int = 128
    position_prompt: int = 1024
    position_output: int = 1024
    positions: tuple[int, ...] = (1, 128, 256, 384, 512, 640, 768, 896, 1023)
    others: int = 32
    budget: int = 2048
    profiles: tuple[str, ...] = (
        "a100-llama-2-7b", "a100-llama-3-8b", "a100-llama-2-70b", "a100-llama-3-70b-tp4", "a100-llama-2-70b-tp4",
        "h100-llama-2-7b", "h100-llama-3-8b", "h100-llama-2-70b", "h100-llama-2-70b-tp4",
    )  # fmt: skip
    most: int = 16_000


def run(
    settings: Settings, make_policy: MakePolicy, *, jobs: int | None = None, on_progress: OnProgress | None = None
) -> Document:
    """The document: times in ps, as they are exact; `expected_*` are reckoned from the profile, pass by pass.

    Nothing is random, and the runs are too short for more than one process. Raises InputError for a context that does
    not fit.
    """
    profile = load_profile(settings.profile).to_integers(16)
    cases = [(sweep, case) for sweep, case in _cases(settings)]
    points: list[dict[str, Any]] = []
    for place, (sweep, case) in enumerate(cases):
        made = {mode: simulated(case, profile, mode) for mode in MODES}
        hand = {mode: reckoned(case, profile, mode) for mode in MODES}
        for mode in MODES:
            points.append(
                {
                    "sweep": sweep,
                    "others": case.others,
                    "context_tokens": case.context,
                    "generated_tokens": case.generated,
                    "prompt_tokens": case.prompt,
                    "output_tokens": case.output,
                    "mode": mode,
                    "lost_tokens": made[mode].lost_tokens,
                    "extra_ps": made[mode].own_ps - made["hold"].own_ps,
                    "expected_extra_ps": hand[mode].own_ps - hand["hold"].own_ps,
                    "others_extra_ps": _difference(made[mode].others_ps, made["hold"].others_ps),
                    "expected_others_extra_ps": _difference(hand[mode].others_ps, hand["hold"].others_ps),
                }
            )
        if on_progress is not None:
            on_progress((place + 1) / len(cases))
    return {
        "experiment": EXPERIMENT.name,
        "settings": dataclasses.asdict(settings),
        "points": points,
        "break_even": [_break_even(name, settings) for name in settings.profiles],
    }


def _cases(settings: Settings) -> list[tuple[str, Interruption]]:
    found = []
    for others in dict.fromkeys((0, settings.others)):
        for context in settings.contexts:
            prompt = context + 1 - settings.generated
            if prompt < 1:
                raise InputError(
                    f"context {context} is less than the {settings.generated} tokens after which it is interrupted: "
                    "take a longer context, or interrupt earlier."
                )
            case = Interruption(prompt, settings.output, settings.generated, others, budget=settings.budget)
            found.append(("context", case))
        for generated in settings.positions:
            case = Interruption(
                settings.position_prompt, settings.position_output, generated, others, budget=settings.budget
            )
            found.append(("position", case))
    return found


def _difference(value: int | None, less: int | None) -> int | None:
    return None if value is None or less is None else value - less


def _break_even(name: str, settings: Settings) -> dict[str, Any]:
    profile = load_profile(name).to_integers(16)
    costs = {
        str(context): {
            "recompute_ps": recompute_ps(context, profile, settings.budget),
            "swap_ps": swap_ps(context, profile),
        }
        for context in settings.contexts
    }
    tokens = break_even_tokens(profile, settings.budget, settings.most)
    return {"profile": name, "break_even_tokens": tokens, "costs": costs}


def _of(document: Document, sweep: str, others: int, mode: str) -> list[dict[str, Any]]:
    wanted = (sweep, others, mode)
    return [point for point in document["points"] if (point["sweep"], point["others"], point["mode"]) == wanted]


def picture(document: Document) -> str:
    """Left the cost by context, right by position; whole lines alone, dashed ones beside others."""
    busy = document["settings"]["others"]
    costs = [point["extra_ps"] / PS_PER_S for point in document["points"] if point["extra_ps"] > 0]
    contexts, positions = document["settings"]["contexts"], document["settings"]["positions"]
    left = Panel(60, 30, 300, 230, spanning(contexts, log=True), spanning(costs, log=True))
    right = Panel(440, 30, 300, 230, Scale(0, max(positions)), left.y)
    parts = [
        *left.frame("by context", "KV tokens held when interrupted", "extra time of the interrupted request, s"),
        *right.frame(
            f"by position, prompt of {document['settings']['position_prompt']:,} tokens",
            f"tokens generated, of {document['settings']['position_output']:,}", "",
        ),
    ]  # fmt: skip
    for mode in MODES:
        for others, dash in ((0, IDLE), (busy, BUSY)):
            for panel, sweep, place in ((left, "context", "context_tokens"), (right, "position", "generated_tokens")):
                line = [
                    (point[place], point["extra_ps"] / PS_PER_S)
                    for point in _of(document, sweep, others, mode)
                    if point["extra_ps"] > 0  # hold costs nothing, and has no logarithm
                ]
                parts += panel.line(line, _COLOUR[mode], dash)
    entries = [(mode if mode != "hold" else "hold: 0", _COLOUR[mode], "") for mode in MODES]
    entries += [("alone", "#555", IDLE), (f"beside {busy} others", "#555", BUSY)]
    return page(880, 300, [*parts, *legend(758, 45, entries)])


def columns(document: Document) -> tuple[str, ...]:
    """Of the table."""
    return ("profile", "swap is cheaper from", *(f"{context:,} tokens" for context in _shown(document)))


def rows(document: Document) -> list[tuple[str, ...]]:
    """The break-even contexts of the profiles, and what both modes cost at some contexts."""
    shown = _shown(document)
    table = []
    for each in document["break_even"]:
        tokens = each["break_even_tokens"]
        cells = [each["profile"], "-" if tokens is None else f"{tokens:,}"]
        for context in shown:
            cost = each["costs"][str(context)]
            cells.append(f"{_ms(cost['recompute_ps'])} / {_ms(cost['swap_ps'])}")
        table.append(tuple(cells))
    return table


def _shown(document: Document) -> list[int]:
    """Three of the contexts: the columns."""
    contexts = document["settings"]["contexts"]
    return [contexts[0], contexts[len(contexts) // 2], contexts[-1]]


def _ms(time_ps: int) -> str:
    time_ms = time_ps / 1e9
    return f"{time_ms:,.0f} ms" if time_ms >= 100 else f"{time_ms:.3g} ms"


def findings(document: Document) -> list[str]:
    """In words."""
    points = document["points"]
    exact = all(
        point["extra_ps"] == point["expected_extra_ps"]
        and point["others_extra_ps"] == point["expected_others_extra_ps"]
        for point in points
    )
    said = []
    if exact:
        said.append(
            f"All {len(points)} costs equal those reckoned pass by pass from the hardware profile, to the picosecond."
        )
    ratios = [
        each["costs"][str(context)]["recompute_ps"] / each["costs"][str(context)]["swap_ps"]
        for each in document["break_even"]
        for context in document["settings"]["contexts"][-1:]
    ]
    last = document["settings"]["contexts"][-1]
    if min(ratios) > 1:
        said.append(
            f"At {last:,} tokens of context swap is cheaper than recompute on all of the {len(ratios)} profiles, by a "
            f"factor of {min(ratios):.1f} to {max(ratios):.0f} for the interrupted request."
        )
    known = [each for each in document["break_even"] if each["break_even_tokens"] is not None]
    late = max(known, key=lambda each: each["break_even_tokens"], default=None)
    early = min(known, key=lambda each: each["break_even_tokens"], default=None)
    if late is not None and early is not None and late is not early:
        said.append(
            f"It is so from {early['break_even_tokens']:,} tokens on ({early['profile']}) to "
            f"{late['break_even_tokens']:,} ({late['profile']}), where weights and bytes of KV a token differ."
        )
    said += _on_others(document)
    return said


def _on_others(document: Document) -> list[str]:
    """What the others pay."""
    busy = document["settings"]["others"]
    at = [point for point in document["points"] if point["sweep"] == "context" and point["others"] == busy][
        -len(MODES) :
    ]
    paid = {point["mode"]: point["others_extra_ps"] for point in at}
    if not busy or any(paid[mode] is None for mode in MODES):
        return []
    words = [f"{busy * paid[mode] / PS_PER_S:.3g} s by {mode}" for mode in ("recompute", "restart", "swap")]
    return [
        f"Beside {busy} others, one interruption at {at[0]['context_tokens']:,} tokens delays these together by "
        f"{listed(words)}."
    ]


EXPERIMENT = Experiment(
    name="preemption-overhead",
    summary="what an interruption costs by recompute, restart, swap or hold, by context and position",
    full=Settings(),
    quick=Settings(contexts=(128, 1024, 4096), positions=(1, 100, 199), position_output=200, others=8),
    run=run,
    picture=picture,
    columns=columns,
    rows=rows,
    findings=findings,
    about=(
        "One request is interrupted once, for one pass, and goes on in one of four modes; `hold` loses nothing and is "
        "the zero. The table: from which context on swap is cheaper than recompute on an idle server, and what "
        "recompute / swap cost there at some contexts."
    ),
)
