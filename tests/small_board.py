"""A small board for tests: two scenarios, policies of each kind that may stay out, two seeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llmqgym.cli.contestants import make_contestant
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
