"""Runs of whole scenarios, several at once, each in a process of a pool."""

from __future__ import annotations

import math
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import connection
from typing import Any, TypeVar

from llmqgym.errors import InputError
from llmqgym.kernel.compile import address_of_hook
from llmqgym.policy import Policy
from llmqgym.run import Decider, RunResult, simulate
from llmqgym.scenario import ScenarioConfig
from llmqgym.simulator import load_kernel
from llmqgym.traffic import at_load, build_workload

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_S = 0.1  # between two looks at how far the processes are
_PATIENCE_S = 1.5  # what it costs to start a pool, whose processes import and load everything anew


def run_all(
    scenarios: Sequence[ScenarioConfig],
    *,
    make_policy: Callable[[str], Policy],
    make_decider: Callable[[ScenarioConfig], Decider | None] | None = None,
    processes: int | None = None,
    step_by_step: bool = False,
    on_progress: Callable[[float], None] | None = None,
) -> list[dict[str, Any]]:
    """The documents of the scenarios' runs, in their order; no bit of them but `wall_s` depends on `processes`.

    `processes` None: one for each CPU that this process may use, once the runs have taken longer in this process than
    it takes to start others; 1: all in this process. For more, `make_policy` (baselines.registry.make_policy) and
    `make_decider`, whose answer takes the policy's place (llmqgym.run.Decider), have to be importable by name, and a
    script that calls this has to do so below `if __name__ == "__main__":`. `on_progress` is called now and then with
    the number of runs that are done, parts of runs included. Raises InputError, naming the scenario and its seed; no
    run goes on after it.
    """
    if processes is not None and processes < 1:
        raise InputError(f"processes is {processes}: give 1 or more, or leave it out for one for each CPU.")
    work = _Work(make_policy, make_decider or _nobody, step_by_step)
    num = min(len(scenarios), num_cpus() if processes is None else processes)
    tell = on_progress or (lambda done: None)
    if num <= 1:
        return _in_turn(scenarios, work, math.inf, tell)
    prepare({scenario.policy for scenario in scenarios}, make_policy)
    for scenario in {scenario.policy: scenario for scenario in scenarios}.values():
        work.make_decider(scenario)  # compiles
    done = _in_turn(scenarios, work, _PATIENCE_S, tell) if processes is None else []
    rest = scenarios[len(done) :]
    return done + _side_by_side(rest, work, min(num, len(rest)), lambda more: tell(len(done) + more)) if rest else done


def each(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    processes: int | None = None,
    on_done: Callable[[int], None] | None = None,
) -> list[Result]:
    """function(item) for each of the items, in their order; `processes` and what it asks of a script as in `run_all`.

    `function` and items have to be picklable, and whatever is compiled should be in its cache (`prepare`). `on_done` is
    told how many are done. Raises what `function` raises, the first that comes.
    """
    if processes is not None and processes < 1:
        raise InputError(f"processes is {processes}: give 1 or more, or leave it out for one for each CPU.")
    num = min(len(items), num_cpus() if processes is None else processes)
    tell = on_done or (lambda done: None)
    if num <= 1:
        results = []
        for item in items:
            results.append(function(item))
            tell(len(results))
        return results
    try:
        with ProcessPoolExecutor(num, multiprocessing.get_context("spawn"), initializer=watch_parent) as pool:
            try:
                calls = submit_all(pool, function, [(item,) for item in items])
                for done, call in enumerate(as_completed(calls), 1):
                    call.result()
                    tell(done)
                return [call.result() for call in calls]
            finally:
                pool.shutdown(cancel_futures=True)
    except BrokenProcessPool as error:
        raise _broken(num) from error


def each_apart(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    processes: int = 1,
    on_done: Callable[[int, Result | Exception], None] | None = None,
) -> list[Result | Exception]:
    """function(item) for each of the items, each in a process of its own, `processes` at a time, in their order.

    What one of them raises, or a RuntimeError where its process was killed, stands in its place and ends no other;
    `on_done` is told (place, result or error). For work that takes hours and keeps what it has done: when this process
    is interrupted, theirs are killed. What is asked of `function` and of a script is as in `each`. Raises InputError
    for less than one process.
    """
    if processes < 1:
        raise InputError(f"processes is {processes}: give 1 or more.")
    found: dict[int, Result | Exception] = {}
    waiting = list(reversed(range(len(items))))
    running: dict[Any, tuple[int, Any]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                place = waiting.pop()
                process, results = _start_apart(function, items[place])
                running[results] = place, process
            for results in connection.wait(list(running)):
                place, process = running.pop(results)
                found[place] = _result_of(process, results)
                if on_done is not None:
                    on_done(place, found[place])
    finally:
        for _, process in running.values():
            process.kill()
            process.join()
    return [found[place] for place in range(len(items))]


def _start_apart(function: Callable[[Item], Result], item: Item) -> tuple[Any, Any]:
    """(the process, the end of a pipe that its result will come out of)."""
    context = multiprocessing.get_context("spawn")
    results, to_results = context.Pipe(duplex=False)
    process = context.Process(target=_run_apart, args=(to_results, function, item))
    with out_of_reach_of_interrupts():
        process.start()
    to_results.close()  # the process has it, and nobody else: when it dies, the pipe ends
    return process, results


def _result_of(process: Any, results: Any) -> Any:
    try:
        found = results.recv()
    except EOFError:
        process.join()
        found = RuntimeError(f"its process was ended from outside (exit code {process.exitcode})")
    process.join()
    results.close()
    return found


def _run_apart(to_results: Any, function: Callable[[Item], Result], item: Item) -> None:
    """The life of a process of `each_apart`."""
    watch_parent()
    try:
        to_results.send(function(item))
    except InputError as error:
        to_results.send(error)
    except Exception:  # whatever it is, somebody may not be able to read it there
        to_results.send(RuntimeError(traceback.format_exc()))


def submit_all(
    pool: ProcessPoolExecutor, function: Callable[..., Result], arguments: Iterable[tuple[Any, ...]]
) -> list[Future[Result]]:
    """Calls of a function in a pool whose processes, which this starts, never see Ctrl-C."""
    with out_of_reach_of_interrupts():
        calls = [pool.submit(function, *each) for each in arguments]
        # The pool notices the death of the process that was started last only after another submit.
        pool.submit(int).cancel()
    return calls


def check_reaches_processes(name: str, function: object, remedy: str) -> None:
    """Raise InputError for a function that cannot be handed to another process."""
    try:
        pickle.dumps(function)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InputError(
            f"{name} cannot be handed to another process ({error}): define it at the top of a module, or give {remedy}."
        ) from error


def prepare(specs: Iterable[str], make_policy: Callable[[str], Policy]) -> None:
    """Have all that is compiled in its cache before several processes want it, and refuse what cannot reach them."""
    check_reaches_processes("make_policy", make_policy, "processes=1")
    load_kernel()
    for spec in dict.fromkeys(specs):
        for kind, hook in make_policy(spec).hooks().items():
            address_of_hook(kind, hook)


def describe(result: RunResult, scenario: ScenarioConfig, load: dict[str, Any] | None) -> dict[str, Any]:
    """The JSON of a scenario's run: the run's own, the specs as they were given, and the load if one was asked for."""
    document = result.document()
    specs = {"scenario": scenario.name, "profile_spec": scenario.profile, "policy_spec": scenario.policy}
    document["config"] = {**specs, **({} if load is None else {"load": load}), **document["config"]}
    return document


def num_cpus() -> int:
    """How many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True)
class _Work:
    """What is done with each scenario."""

    make_policy: Callable[[str], Policy]
    make_decider: Callable[[ScenarioConfig], Decider | None]
    step_by_step: bool

    def document(self, scenario: ScenarioConfig, on_share: Callable[[float], None]) -> dict[str, Any]:
        """Of one run; `on_share` is told what share of its requests has left."""
        try:
            policy = self.make_policy(scenario.policy)
            scenario, load = at_load(scenario)
            workload = build_workload(scenario)
            result = simulate(
                workload,
                policy=policy,
                decider=self.make_decider(scenario),
                server=scenario.server,
                profile=scenario.profile,
                predictor=scenario.predictor,
                seed=scenario.seed,
                step_by_step=self.step_by_step,
                on_progress=lambda num_left: on_share(num_left / len(workload)),
                keep_departures=False,
            )
        except InputError as error:
            raise InputError(f"scenario {scenario.name}, seed {scenario.seed}: {error}") from error
        on_share(1.0)
        return describe(result, scenario, load)


def _in_turn(
    scenarios: Sequence[ScenarioConfig], work: _Work, patience_s: float, on_progress: Callable[[float], None]
) -> list[dict[str, Any]]:
    """The documents of the first scenarios: of those that are run in so much time, of all if but one is left then."""
    documents: list[dict[str, Any]] = []
    began = time.perf_counter()

    def on_share(share: float) -> None:
        if time.perf_counter() - began > patience_s and len(scenarios) - len(documents) > 1 and share < 1:
            raise _Stopped
        on_progress(len(documents) + share)

    with suppress(_Stopped):
        for scenario in scenarios:
            documents.append(work.document(scenario, on_share))
    return documents


def _nobody(scenario: ScenarioConfig) -> None:
    """No decider beside the policy."""


def _side_by_side(
    scenarios: Sequence[ScenarioConfig], work: _Work, num: int, on_progress: Callable[[float], None]
) -> list[dict[str, Any]]:
    # A fork of a process with threads (a progress bar's, numba's) may inherit a lock that nobody will open.
    context = multiprocessing.get_context("spawn")
    board = _Board(context.RawArray("d", len(scenarios)), context.RawValue("b", False))
    try:
        with ProcessPoolExecutor(num, context, initializer=_enter, initargs=(board,)) as pool:
            try:
                runs = submit_all(pool, _run_beside, [(work, place, each) for place, each in enumerate(scenarios)])
                return _gather(runs, board, on_progress)
            finally:
                board.stop.value = True
                pool.shutdown(cancel_futures=True)
    except BrokenProcessPool as error:
        raise _broken(num) from error


def _broken(num: int) -> InputError:
    return InputError(
        f"one of {num} processes ended before its run did: if memory was short, give fewer processes; in a script, "
        'call run_all below `if __name__ == "__main__":`.'
    )


def _gather(
    runs: list[Future[dict[str, Any]]], board: _Board, on_progress: Callable[[float], None]
) -> list[dict[str, Any]]:
    """The documents, or the first error that comes."""
    running = set(runs)
    while running:
        done, running = wait(running, _LOOK_S, FIRST_EXCEPTION)
        for run in runs:
            if run in done:
                run.result()
        on_progress(sum(board.shares))
    return [run.result() for run in runs]


@contextmanager
def out_of_reach_of_interrupts() -> Iterator[None]:
    """Processes started meanwhile never see Ctrl-C: only this one answers it, and stops them."""
    if sys.platform == "win32":
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True)
class _Board:
    """Memory that the processes of a pool share. Each run writes its own share, the pool's owner writes `stop`."""

    shares: Any  # float64 [N]: how much of each run is done
    stop: Any  # whether the runs are to end where they are


class _Stopped(Exception):
    """The run's document is no longer wanted."""


_boards: list[_Board] = []  # of a process in a pool, one


def _enter(board: _Board) -> None:
    """The first thing that a process of a pool does."""
    _boards.append(board)
    watch_parent()


def watch_parent() -> None:
    """What a process of a pool begins with: it waits for work for ever, though its owner may have been killed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _run_beside(work: _Work, place: int, scenario: ScenarioConfig) -> dict[str, Any]:
    """A run in a process of a pool, the one at `place`."""
    board = _boards[0]

    def on_share(share: float) -> None:
        if board.stop.value:
            raise _Stopped
        board.shares[place] = share

    on_share(0.0)
    return work.document(scenario, on_share)
