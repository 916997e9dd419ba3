"""The mean response of a simulated queue, with an honest 95 % interval.

Batch means: consecutive jobs depend on each other, batches of thousands hardly do. They are steadied by control
variates, whose means are known exactly: the gaps between arrivals, the sizes and their squares, and the wait under FCFS
of the same jobs, sizes cut off where the sample still has a thousand larger ones (a control whose mean comes from jobs
that were never drawn would mislead). See Glasserman, "Monte Carlo Methods in Financial Engineering", 4.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from llmqgym.textbook.queue import Queue, Run
from llmqgym.theory.laws import Law

Floats = NDArray[np.float64]

#: A share of the law's second moment (or mean) that comes from its largest jobs, and how many of them a sample needs.
RARE_SHARE, RARE_JOBS = 0.05, 50
#: Batches shorter than this many relaxation times depend on each other: 1 / (1 - load)^2 jobs, times E[X^2] / 2 where
#: that matters. With 4 of them 79 % of the intervals of FCFS at load 0.95 hold the formula, with 25 of them 95 %.
RELAXATIONS = 25.0


@dataclass(frozen=True)
class Estimate:
    """Mean response in mean jobs, and half the width of its 95 % interval."""

    mean: float
    half_width_95: float
    num_jobs: int
    preemptions_per_job: float

    @property
    def relative(self) -> float:
        """The half-width as a share of the mean."""
        return self.half_width_95 / self.mean


def estimate(run: Run, *, in_order: bool = False) -> Estimate:
    """The estimate of a run; `in_order` for FCFS itself, which its own waits may not steady."""
    response = run.response + run.cost
    names = ("gap", "size", "square") if in_order else ("gap", "size", "wait")
    means = _known_means(run)
    controls = np.column_stack([getattr(run, name) - means[name] for name in names])
    design = np.column_stack([np.ones(len(response)), controls])
    solution, _, _, _ = np.linalg.lstsq(design, response, rcond=None)
    freedom = len(response) - design.shape[1]
    residual = response - design @ solution
    spread = float(residual @ residual) / freedom
    weight = float(np.linalg.pinv(design.T @ design)[0, 0])
    half_width = float(stdtrit(freedom, 0.975)) * math.sqrt(spread * weight)
    return Estimate(float(solution[0]), half_width, run.num_jobs, float(run.preemptions.mean()))


def jobs_wanted(queue: Queue, heavy: bool, num_batches: int = 40) -> int:
    """The fewest jobs whose interval deserves trust: batches outlast the queue's memory, and the largest jobs come.

    `heavy`: whether the mean response depends on the second moment of sizes, as it does wherever a large job is not
    always preempted; else the mean counts.
    """
    slow = max(queue.law.second_moment / 2, 1.0) if heavy else 1.0
    memory = num_batches * RELAXATIONS * slow / (1 - queue.load) ** 2
    rare = RARE_JOBS / float(queue.law.sf(np.array([_largest(queue.law, 2 if heavy else 1)]))[0])
    return math.ceil(max(memory, rare))


def _largest(law: Law, order: int) -> float:
    """The size above which jobs hold RARE_SHARE of E[X^order]."""
    low, high = (math.log(end) for end in law.support)
    share = RARE_SHARE * law.moment(order)
    while high - low > 1e-9:
        middle = (low + high) / 2
        above = float(law.tail_moment(order, np.array([math.exp(middle)]))[0])
        low, high = (middle, high) if above > share else (low, middle)
    return math.exp(high)


def _known_means(run: Run) -> dict[str, float]:
    """Of the controls; the wait is Pollaczek and Khinchine's for sizes cut off."""
    law, cut = run.queue.law, np.array([run.cut])
    longer = float(law.sf(cut)[0])
    first, second = (float(law.partial_moment(k, cut)[0]) + run.cut**k * longer for k in (1, 2))
    wait = run.queue.load * second / 2 / (1 - run.queue.load * first)
    return {"gap": 1.0, "size": first, "square": second, "wait": wait}
