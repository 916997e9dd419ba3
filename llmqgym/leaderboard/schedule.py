"""Having pieces of work done: in this process, in processes beside it, or on a Ray cluster; always the same bits.

Whoever does a piece keeps it at once, so that whatever ends the run loses at most what each worker has in hand.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from llmqgym.cluster import cluster
from llmqgym.errors import InputError
from llmqgym.leaderboard.contestant import MakeContestant
from llmqgym.leaderboard.store import Store
from llmqgym.leaderboard.work import Piece, do
from llmqgym.parallel import check_reaches_processes, num_cpus, submit_all, watch_parent
from llmqgym.simulator import load_kernel

#: Told of each piece when it is kept.
OnPiece = Callable[[Piece], None]


def do_all(
    pieces: Sequence[Piece],
    *,
    make_contestant: MakeContestant,
    store: Store,
    jobs: int | None = None,
    on_piece: OnPiece | None = None,
) -> None:
    """Do and keep the pieces in `jobs` processes (None: one for each CPU; 1: in this one).

    A script that calls this has to do so below `if __name__ == "__main__":`. Raises InputError for less than one
    process, a `make_contestant` that cannot reach another process, and whatever a piece raises; KeyboardInterrupt
    passes once the pieces in hand are kept.
    """
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs is {jobs}: give 1 or more, or leave it out for one for each CPU.")
    tell = on_piece or (lambda piece: None)
    num = min(num_cpus() if jobs is None else jobs, len(pieces))
    load_kernel()  # compiled before several processes want it
    if num > 1:
        _side_by_side(pieces, make_contestant, store, num, tell)
        return
    for piece in pieces:
        store.put(do(piece, make_contestant))
        tell(piece)


def do_all_on_ray(
    pieces: Sequence[Piece],
    *,
    make_contestant: MakeContestant,
    store: Store,
    address: str | None = None,
    jobs: int | None = None,
    on_piece: OnPiece | None = None,
) -> None:
    """The same on a Ray cluster: the one at `address`, or one that is started here with `jobs` CPUs for as long as it
    takes. Only this process writes files: the workers may be on machines that share none. Raises InputError."""
    tell = on_piece or (lambda piece: None)
    with cluster(address, num_cpus() if jobs is None else jobs) as ray:
        on_worker = ray.remote(do)
        waiting, running = list(reversed(pieces)), dict[Any, Piece]()
        most = 2 * max(int(ray.cluster_resources().get("CPU", 1)), 1)
        while waiting or running:
            while waiting and len(running) < most:
                piece = waiting.pop()
                running[on_worker.remote(piece, make_contestant)] = piece
            done, _ = ray.wait(list(running))
            for each in done:
                store.put(_result(ray, each))
                tell(running.pop(each))


def _result(ray: Any, reference: Any) -> dict[str, Any]:
    try:
        made: dict[str, Any] = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, InputError):
            raise error.cause from error
        raise
    return made


def _side_by_side(
    pieces: Sequence[Piece], make_contestant: MakeContestant, store: Store, num: int, tell: OnPiece
) -> None:
    check_reaches_processes("make_contestant", make_contestant, "jobs=1")
    # A fork of a process with threads (a progress bar's, numba's) may inherit a lock that nobody will open.
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(num, context, initializer=watch_parent) as pool:
            try:
                calls = submit_all(pool, _keep, [(piece, make_contestant, store.folder) for piece in pieces])
                runs = dict(zip(calls, pieces, strict=True))
                for run in as_completed(runs):
                    run.result()
                    tell(runs[run])
            finally:
                pool.shutdown(wait=True, cancel_futures=True)
    except BrokenProcessPool as error:
        raise InputError(
            f"one of {num} processes ended before its work did: if memory was short, give fewer jobs; what is done is "
            "kept, and the same run goes on from there."
        ) from error


def _keep(piece: Piece, make_contestant: MakeContestant, folder: Path) -> None:
    """In a process of the pool."""
    Store(folder).put(do(piece, make_contestant))
