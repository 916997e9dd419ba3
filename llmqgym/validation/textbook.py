"""The simulated textbook queue against the printed tables, cell by cell."""

from __future__ import annotations

import math
from functools import partial

from scipy.special import stdtrit

from baselines.registry import make_policy
from llmqgym.textbook import Run, ask, estimate, simulate
from llmqgym.validation.check import Check, Measured
from llmqgym.validation.formulas import SOURCE, queue_of
from llmqgym.validation.theory_tables import BOUNCE, CELLS, EXP, EXPO, PREEMPTIONS, WEIB, Cell

GROUP = "textbook"
SEED = 11
#: Jobs of the full run: more where the tolerance is tight, fewer where every quantum is an event; and of the quick run.
JOBS, MANY_JOBS, FEW_JOBS, QUICK_JOBS = 2_000_000, 5_000_000, 1_000_000, 200_000
#: Tolerances of the quick run, as shares.
QUICK_EXP, QUICK_WEIB = 0.04, 0.08
#: Microseconds that a job takes, roughly.
EVENT_US, QUANTUM_US = 5.0, 25.0


def run_of(cell: Cell, num_jobs: int) -> Run:
    """The cell's queue, simulated."""
    asked = ask(cell.policy, queue_of(cell))
    tokens = asked.twin.tokens_per_job or asked.queue.tokens_per_job(num_jobs)
    return simulate(asked.queue, make_policy(asked.spec(tokens)), num_jobs, SEED, tokens_per_job=tokens)


def num_jobs_of(cell: Cell, quick: bool) -> int:
    """How many jobs the cell needs."""
    if quick:
        return QUICK_JOBS
    if cell.policy in ("las", "sprpt-bounce"):
        return FEW_JOBS
    return MANY_JOBS if cell.policy == "fcfs" or cell.tolerance < 0.01 else JOBS


def response(cell: Cell, quick: bool) -> Measured:
    """The mean response of a cell."""
    found = estimate(run_of(cell, num_jobs_of(cell, quick)), in_order=cell.policy == "fcfs")
    return Measured(found.mean, found.half_width_95)


def preemptions(cell: Cell, quick: bool) -> Measured:
    """Preemptions a job, with the interval of batch means."""
    batches = run_of(cell, num_jobs_of(cell, quick)).preemptions
    quantile = float(stdtrit(len(batches) - 1, 0.975))
    return Measured(float(batches.mean()), quantile * float(batches.std(ddof=1)) / math.sqrt(len(batches)))


def _in_quick(cell: Cell) -> bool:
    """Each policy, law and load at least once, where so few jobs can tell."""
    if cell.policy == "fcfs":
        return cell.law == EXP and cell.load == 0.5
    if cell.policy in ("las", "sprpt-bounce"):
        return cell.law == WEIB and cell.load == 0.8 and cell.predictor == EXPO
    rows = ("lognormal:sigma=1", "bias:k=0.25")
    return cell.predictor in (EXPO, "perfect") or cell.load == 0.7 or (cell.law == WEIB and cell.predictor in rows)


def _of_cell(cell: Cell) -> Check:
    quick = (QUICK_EXP if cell.law == EXP else QUICK_WEIB) * cell.value if _in_quick(cell) else None
    per_job_us = QUANTUM_US if cell.policy in ("las", "sprpt-bounce") else EVENT_US
    return Check(
        group=GROUP,
        name=cell.name,
        source=f"{SOURCE} {cell.table}",
        expected=cell.value,
        tolerance=cell.tolerance * cell.value,
        quick_tolerance=quick,
        measure=partial(response, cell),
        cost_s=num_jobs_of(cell, quick=False) * per_job_us / 1e6,
    )


def _preemptions(cutoff: float, printed: float) -> Check:
    cell = Cell(EXP, 0.8, EXPO, f"trail:cutoff={cutoff:g}", f"{printed:.3f}", "3.7 limited preemption")
    return Check(
        group=GROUP,
        name=f"preemptions a job, {cell.name}",
        source=f"{SOURCE} {cell.table}",
        expected=printed,
        tolerance=0.02 * printed,
        quick_tolerance=0.03 * printed,
        measure=partial(preemptions, cell),
        cost_s=JOBS * EVENT_US / 1e6,
    )


CHECKS = (
    *(_of_cell(cell) for cell in (*CELLS, *BOUNCE)),
    *(_preemptions(cutoff, printed) for cutoff, printed in PREEMPTIONS.items()),
)
