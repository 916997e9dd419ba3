"""What an experiment is: settings to a document, and a document to a picture, a table and a few sentences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from llmqgym.checks import check_count
from llmqgym.experiments.arms import MakePolicy, OnProgress

Document = dict[str, Any]
#: Most seeds of a study.
MAX_SEEDS = 1000


class Run(Protocol):
    """An experiment's function; see Experiment."""

    def __call__(
        self,
        settings: Any,
        make_policy: MakePolicy,
        *,
        jobs: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> Document:
        """The document."""
        ...


@dataclass(frozen=True)
class Experiment:
    """A study by name. `full` and `quick` are its settings, frozen, each with `seeds`; what it draws depends on nothing
    but them. `run` makes the document: strict JSON, the same bits for any number of processes. `picture` draws it as
    SVG, `columns` and `rows` are its table, `findings` what can be said of it: each sentence is made from the figures,
    and left out where they do not support it."""

    name: str
    summary: str
    full: Any
    quick: Any
    run: Run
    picture: Callable[[Document], str]
    columns: Callable[[Document], tuple[str, ...]]
    rows: Callable[[Document], list[tuple[str, ...]]]
    findings: Callable[[Document], list[str]]
    about: str  # what was run, for the page


def seeds_of(num: int) -> tuple[int, ...]:
    """0, 1, .. Raises InputError for less than one, or too many."""
    return tuple(range(check_count("seeds", num, MAX_SEEDS)))


def interval(figure: dict[str, Any], digits: int = 3) -> str:
    """A mean with the half-width of its 95 % interval.

    >>> interval({"mean": 1.2345, "half_width_95": 0.0123}), interval({"mean": 2.0, "half_width_95": None})
    ('1.23 ± 0.012', '2')
    """
    if figure["mean"] is None:
        return "-"
    mean = f"{figure['mean']:.{digits}g}"
    return mean if figure["half_width_95"] is None else f"{mean} ± {figure['half_width_95']:.2g}"


def surely_below(figure: dict[str, Any], value: float) -> bool:
    """Whether the whole 95 % interval lies below a value; not without an interval."""
    width = figure["half_width_95"]
    return width is not None and figure["mean"] + width < value


def surely_above(figure: dict[str, Any], value: float) -> bool:
    """Whether the whole 95 % interval lies above a value; not without an interval."""
    width = figure["half_width_95"]
    return width is not None and figure["mean"] - width > value


def listed(words: Sequence[str]) -> str:
    """Words as a sentence lists them.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def ratio_cell(point: dict[str, Any], name: str) -> str:
    """A ratio for a table, or in how many runs there was no steady state to take it from."""
    if point["unstable"]:
        return f"unstable in {point['num_growing']} of {point['num_runs']}"
    return interval(point[name])
