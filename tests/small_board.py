"""A small board for tests: two scenarios, policies of each kind that may stay out, two seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from llmqgym.cli.contestants import make_contestant
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.leaderboard.make import Maker
from llmqgym.leaderboard.suite import Suite

REQUESTS = 1500 if COMPILED else 40

SUITE = Suite(
    "small",
    scenarios=("kv-bound", "multi-tenant"),
    policies=("vllm", "spjf", "sprpt:mode=swap", "vtc", "edf", "a-max", "sjf"),
    num_seeds=2,
    num_requests=REQUESTS,
    usual_predictor="lognormal:sigma=0.5",
)


def board(out: Path, suite: Suite = SUITE, jobs: int = 1, make: Any = make_contestant) -> dict[str, Any]:
    """The document of a suite, made in `out`."""
    maker = Maker(suite, make, out)
    maker.run(jobs=jobs)
    return maker.write("a test")


def cells(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    """By scenario and policy."""
    return {(cell["scenario"], cell["policy"]): cell for cell in document["cells"]}


class Refusing:
    """A contestant that is refused only where it runs."""

    def __init__(self, spec: str) -> None:
        self._inner = make_contestant(spec)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def run(self, *_: object) -> NoReturn:
        raise InputError("this one does not run.")


def refuses(spec: str) -> Any:
    """A maker of contestants that do not run; importable, as other processes need it."""
    return Refusing(spec)
