"""Work: the pieces that a board is made of, each a plain document: a run, the bounds of a workload, a stable rate."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import llmqgym
from llmqgym.bounds import ideal_hits, latency_bounds
from llmqgym.bounds.hits import Hits
from llmqgym.errors import InputError
from llmqgym.files import strict
from llmqgym.hardware import load_profile
from llmqgym.leaderboard.arena import Arena
from llmqgym.leaderboard.contestant import Contestant, MakeContestant
from llmqgym.leaderboard.measured import digest, figures, measured_rows
from llmqgym.leaderboard.stable import largest_stable_rate
from llmqgym.metrics.alone import AloneTimes

#: The sources that determine results: packages with all their files, and single files.
_PACKAGES = ("kernel", "workload", "hardware", "metrics", "bounds", "load")
_FILES = (
    "policy.py",
    "config.py",
    "simulator.py",
    "run.py",
    "traffic.py",
    "totals.py",
    "leaderboard/work.py",
    "leaderboard/measured.py",
)

CELL, BOUND, STABLE = "cell", "bound", "stable"


@dataclass(frozen=True)
class Piece:
    """What is to be done: `kind` CELL, a run of `spec` on a seed; BOUND, of a seed's workload; STABLE, of `spec`."""

    kind: str
    arena: Arena
    seed: int | None = None
    spec: str | None = None
    key: str = ""

    def title(self) -> str:
        """For people."""
        seed = "" if self.seed is None else f", seed {self.seed}"
        return f"{self.spec or 'bounds'} on {self.arena.name}{seed}"


@cache
def dynamics() -> str:
    """A digest of the sources that determine results: boards of two versions with the same one are comparable."""
    root = Path(llmqgym.__file__).parent
    folders = [path for name in _PACKAGES for path in sorted((root / name).rglob("*.py"))]
    made = hashlib.sha256()
    for path in [*folders, *(root / name for name in _FILES)]:
        made.update(path.relative_to(root).as_posix().encode() + path.read_bytes())
    return made.hexdigest()


def key_of(kind: str, arena: Arena, seed: int | None, contestant: Contestant | None) -> str:
    """The name under which a piece is kept: a digest of all that determines it."""
    told = {
        "kind": kind,
        "dynamics": dynamics(),
        "arena": arena.fingerprint(),
        "seed": seed,
        "contestant": None if contestant is None else [contestant.spec, contestant.settings()],
    }
    return hashlib.sha256(json.dumps(strict(told), sort_keys=True).encode()).hexdigest()[:32]


def do(piece: Piece, make_contestant: MakeContestant) -> dict[str, Any]:
    """The document of a piece. Nothing in it but `wall_s` depends on where or when it is made. Raises InputError."""
    began = time.perf_counter()
    try:
        made = _DOERS[piece.kind](piece, make_contestant)
    except InputError as error:
        raise InputError(f"{piece.title()}: {error}") from error
    told = {
        "key": piece.key,
        "kind": piece.kind,
        "scenario": piece.arena.name,
        "seed": piece.seed,
        "policy": piece.spec,
    }
    whole: dict[str, Any] = strict({**told, **made, "wall_s": time.perf_counter() - began})
    return whole


def _cell(piece: Piece, make_contestant: MakeContestant) -> dict[str, Any]:
    assert piece.spec is not None
    assert piece.seed is not None
    scenario = piece.arena.at(piece.seed)
    result = make_contestant(piece.spec).run(piece.arena.workload(piece.seed), scenario)
    profile = load_profile(scenario.profile).to_integers(scenario.server.block_size)
    alone = AloneTimes(profile, scenario.server.max_batched_tokens)
    found = figures(result.departures, piece.arena.num_counted, result.totals.clock_ps, alone)
    summary = result.summary
    gap = summary["vtc_service_gap_per_s"]
    of_the_run = {
        "wasted_token_ratio": summary["wasted_token_ratio"],
        "num_preemptions": summary["num_preemptions"],
        "jain_index": summary["jain_index"],
        "mean_vtc_service_gap_per_s": None if gap is None else gap["mean"],
    }
    return {
        **found,
        "metrics": {**found["metrics"], **of_the_run},
        "censored": found["num_unfinished"] > 0,
        "outcome": summary["outcome"],
        "stability": summary["stability"],
        "num_extrapolated": summary["num_extrapolated"],
        "digest": digest(result.departures),
    }


def _bound(piece: Piece, make_contestant: MakeContestant) -> dict[str, Any]:
    """Over the measured requests alone: to leave others out makes it no less valid."""
    assert piece.seed is not None
    scenario, workload = piece.arena.at(piece.seed), piece.arena.workload(piece.seed)
    rows = measured_rows(piece.arena.num_counted)
    hits = None
    if scenario.server.prefix_caching:
        whole = ideal_hits(workload.requests, workload.hashes, scenario.server.block_size)
        hits = Hits(whole.earlier[rows], whole.shared[rows], whole.shared_blocks[rows])
    profile = load_profile(scenario.profile).to_integers(scenario.server.block_size)
    found = latency_bounds(workload.requests[rows], profile, scenario.server, hits)
    return {
        "mean_e2e_s": found.best_e2e_s,
        "mean_ttft_s": found.best_ttft_s,
        "num_requests": found.num_requests,
        "parts": {"e2e_s": found.e2e_s, "ttft_s": found.ttft_s},
    }


def _stable(piece: Piece, make_contestant: MakeContestant) -> dict[str, Any]:
    assert piece.spec is not None
    return largest_stable_rate(piece.arena.scenario, make_contestant(piece.spec))


_DOERS: dict[str, Callable[[Piece, MakeContestant], dict[str, Any]]] = {CELL: _cell, BOUND: _bound, STABLE: _stable}
