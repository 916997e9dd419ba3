"""Making checks, in processes, the dearest first."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from llmqgym.errors import InputError
from llmqgym.parallel import num_cpus, submit_all, watch_parent
from llmqgym.simulator import load_kernel
from llmqgym.validation.check import Check, NotRun, Outcome, Verdict
from llmqgym.validation.groups import checks_of

#: A check by group and place in it: checks hold functions, which other processes import for themselves.
Place = tuple[str, int]


def run_checks(
    checks: Sequence[Check],
    *,
    quick: bool,
    processes: int | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """The outcomes of the checks, in their order; `on_outcome` is told each as it comes.

    `processes` None: one for each CPU that this process may use. No outcome depends on how many there are. A script
    that calls this has to do so below `if __name__ == "__main__":`. Raises InputError for less than one process.
    """
    if processes is not None and processes < 1:
        raise InputError(f"processes is {processes}: give 1 or more, or leave it out for one for each CPU.")
    load_kernel()
    places = _places(checks)
    dearest = sorted(range(len(checks)), key=lambda i: -checks[i].cost_s)
    outcomes: dict[int, Outcome] = {}
    # A fork of a process with threads (a progress bar's, numba's) may inherit a lock that nobody will open.
    context = multiprocessing.get_context("spawn")
    num = max(min(num_cpus() if processes is None else processes, len(checks)), 1)
    try:
        with ProcessPoolExecutor(num, context, initializer=_enter) as pool:
            try:
                calls = submit_all(pool, _make, [(places[i], quick) for i in dearest])
                runs = dict(zip(calls, dearest, strict=True))
                for run in as_completed(runs):
                    outcomes[runs[run]] = run.result()
                    if on_outcome is not None:
                        on_outcome(outcomes[runs[run]])
            finally:
                pool.shutdown(wait=len(outcomes) == len(checks), cancel_futures=True)
    except BrokenProcessPool as error:
        raise InputError(
            f"one of {num} processes ended before its check did: if memory was short, give fewer."
        ) from error
    return [outcomes[i] for i in range(len(checks))]


def make(check: Check, quick: bool) -> Outcome:
    """Measure and judge one check here. A measurement that raises an error is outside."""
    began = time.perf_counter()
    try:
        measured = check.measure(quick)
    except NotRun as reason:
        verdict, explanation = Verdict.NOT_RUN, f"not run: {reason}"
    except Exception as error:  # whatever breaks a measurement must not hide the others
        verdict, explanation = Verdict.OUTSIDE, f"{type(error).__name__}: {error}"
    else:
        return check.judge(measured, quick, time.perf_counter() - began)
    return Outcome(check, verdict, None, check.tolerance_of(quick), explanation, time.perf_counter() - began)


def _places(checks: Sequence[Check]) -> list[Place]:
    groups = {check.group for check in checks}
    known = {group: [each.name for each in checks_of([group])] for group in groups}
    return [(check.group, known[check.group].index(check.name)) for check in checks]


def _enter() -> None:
    """The first thing that a process of the pool does; HiGHS prints lines of its own to stdout."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    watch_parent()


def _make(place: Place, quick: bool) -> Outcome:
    group, number = place
    return make(checks_of([group])[number], quick)
