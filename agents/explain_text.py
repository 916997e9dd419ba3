"""What the numbers of `agents.explain` say, in sentences: nothing that they do not."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

#: A curve whose height is below this share of the highest of its part is said to be nearly level.
_LEVEL = 0.05
#: A curve of which so much of all ups and downs goes one way rises, or falls.
_ONE_WAY = 0.95


def sentences_of(document: dict[str, Any]) -> list[str]:
    """One for what it did, one for how its order agrees, one for each curve."""
    return [
        *_deeds(document["decisions"]),
        *_agreement(document["agreement"]),
        *_never(document["never"]),
        *_curves(document["curves"]),
    ]


def _deeds(counts: dict[str, int]) -> list[str]:
    return [
        f"Of {counts['num']:,} decisions {counts['num_could_admit']:,} were such that somebody could be admitted; in "
        f"{_share(counts['num_held_back'], counts['num_could_admit'])} of these it let the iteration run instead.",
        f"It preempted in {counts['num_preempted']:,} of the {counts['num_could_preempt']:,} decisions in which it "
        "could.",
    ]


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "none"


def _agreement(found: dict[str, dict[str, Any]]) -> list[str]:
    measured = {name: each for name, each in found.items() if each["num_states"]}
    if not measured:
        return ["There was no state with two different requests to choose from: nothing can be said of its order."]
    ranked = sorted(measured, key=lambda name: -measured[name]["mean"])
    parts = [f"{name} {measured[name]['mean']:+.2f} ({measured[name]['num_states']} states)" for name in ranked]
    return [
        "Where two or more could enter, its order of admission has these mean rank correlations with others (1: the "
        f"same, -1: the reverse): {', '.join(parts)}."
    ]


def _never(found: dict[str, float]) -> list[str]:
    """Of what is out of the question."""
    return [
        f"The score of {_what(part)} is below {math.floor(score) + 1:,} in every state looked into: it does not come "
        "about."
        for part, score in found.items()
    ]


def _what(part: str) -> str:
    return "admission" if part == "admit" else "preemption"


def _curves(curves: list[dict[str, Any]]) -> list[str]:
    heights: dict[str, float] = {}
    for curve in curves:
        height = max(curve["score"]) - min(curve["score"])
        heights[curve["part"]] = max(heights.get(curve["part"], 0.0), height)
    return [_curve(curve, heights[curve["part"]]) for curve in curves]


def _curve(curve: dict[str, Any], highest: float) -> str:
    values, scores = curve["values"], curve["score"]
    height = max(scores) - min(scores)
    span = f"from {_amount(values[0])} to {_amount(values[-1])} {curve['unit']}".replace(" share", "")
    head = f"The score of {_what(curve['part'])}"
    if height <= _LEVEL * highest or height == 0.0:
        return f"{head} hardly depends on the {curve['says']}: {height:.2f} {span}."
    steps = [after - before for before, after in pairwise(scores)]
    ups, downs = sum(step for step in steps if step > 0), -sum(step for step in steps if step < 0)
    if max(ups, downs) >= _ONE_WAY * (ups + downs):
        word = "rises" if ups > downs else "falls"
        return f"{head} {word} with the {curve['says']}, by {abs(scores[-1] - scores[0]):.2f} {span}."
    top = values[scores.index(max(scores))]
    bottom = values[scores.index(min(scores))]
    return (
        f"{head} has its highest value at a {curve['says']} of {_amount(top)} and its lowest at {_amount(bottom)}, "
        f"{height:.2f} apart, {span}."
    )


def _amount(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
