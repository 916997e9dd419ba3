"""A policy's closed form and its simulation side by side: do they agree?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from llmqgym.policy import Policy
from llmqgym.textbook.estimate import Estimate, estimate, jobs_wanted
from llmqgym.textbook.queue import simulate
from llmqgym.textbook.twins import Asked

#: One honest 95 % interval in twenty misses; twice as wide, one in some ten thousand does.
FAR = 2.0


class Agreement(Enum):
    """What a simulation says of a formula."""

    AGREE = "agree"
    DIFFER = "differ"
    UNDECIDED = "too few jobs"
    NOTHING = "nothing to compare"


@dataclass(frozen=True)
class Comparison:
    """`formula` in mean jobs, None where there is none; `simulated` None where nothing was simulated."""

    asked: Asked
    formula: float | None
    simulated: Estimate | None
    agreement: Agreement
    remark: str
    policy_spec: str = ""  # the baseline's


def compare(
    asked: Asked,
    make_policy: Callable[[str], Policy],
    num_jobs: int,
    seed: int = 0,
    *,
    within: float = 0.02,
    on_progress: Callable[[float], None] | None = None,
) -> Comparison:
    """Formula and simulation of `num_jobs` jobs (0: of none).

    `within` is the half-width asked for, as a share of the response. They agree if the formula is at most twice the
    half-width away and the half-width is at most `within`; a difference counts only if the jobs were enough to tell.
    """
    formula = asked.formula()
    if num_jobs == 0:
        return Comparison(asked, formula, None, Agreement.NOTHING, "")
    tokens = asked.twin.tokens_per_job or asked.queue.tokens_per_job(num_jobs)
    spec = asked.spec(tokens)
    run = simulate(
        asked.queue, make_policy(spec), num_jobs, seed,
        tokens_per_job=tokens, cost=asked.cost(), on_progress=on_progress,
    )  # fmt: skip
    found = estimate(run, in_order=asked.name == "fcfs")
    remarks = _remarks(asked, found, within)
    if formula is None:
        return Comparison(asked, None, found, Agreement.NOTHING, "; ".join(["no formula is known", *remarks]), spec)
    inside = abs(found.mean - formula) <= FAR * found.half_width_95
    if found.relative <= within and (inside or not remarks):
        agreement = Agreement.AGREE if inside else Agreement.DIFFER
    else:
        agreement = Agreement.UNDECIDED
    return Comparison(asked, formula, found, agreement, "; ".join(remarks), spec)


def _remarks(asked: Asked, found: Estimate, within: float) -> list[str]:
    """Why the interval is not what it should be."""
    wanted = jobs_wanted(asked.queue, asked.heavy)
    if found.num_jobs < wanted:
        return [
            f"N is too small for its interval to be trusted, take {wanted:.2g} jobs: so long a memory, so rare a size"
        ]
    if found.relative > within:
        more = math.ceil(found.num_jobs * (found.relative / within) ** 2)
        return [f"N is too small for a half-width of {within:.1%}, take {more:.2g} jobs"]
    return []
