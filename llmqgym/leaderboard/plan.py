"""Plan: a suite settled: its arenas, its contestants, who stays out where and why, and every piece of work."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from llmqgym.leaderboard.arena import Arena, arenas_of
from llmqgym.leaderboard.contestant import Contestant, MakeContestant
from llmqgym.leaderboard.offer import offers_of, reason_to_stay_out
from llmqgym.leaderboard.suite import Suite
from llmqgym.leaderboard.work import BOUND, CELL, STABLE, Piece, key_of


@dataclass(frozen=True)
class Plan:
    """What is to be done for a board. A cell of the board is an arena and a contestant."""

    suite: Suite
    arenas: list[Arena]
    contestants: list[Contestant]
    skipped: dict[tuple[str, str], str]  # (arena, spec) -> the reason
    pieces: list[Piece]

    def cell(self, arena: Arena, spec: str) -> list[Piece]:
        """The runs of a cell, by seed; none where the contestant stays out."""
        return self._by_place.get((CELL, arena.name, spec), [])

    def bounds(self, arena: Arena) -> list[Piece]:
        """The bounds of an arena, by seed."""
        return self._by_place[BOUND, arena.name, None]

    def stable(self, arena: Arena, spec: str) -> Piece | None:
        """The stable rate of a cell, if it is asked for."""
        return next(iter(self._by_place.get((STABLE, arena.name, spec), [])), None)

    @cached_property
    def _by_place(self) -> dict[tuple[str, str, str | None], list[Piece]]:
        found: dict[tuple[str, str, str | None], list[Piece]] = {}
        for piece in self.pieces:
            found.setdefault((piece.kind, piece.arena.name, piece.spec), []).append(piece)
        return found


def plan_of(suite: Suite, make_contestant: MakeContestant) -> Plan:
    """Settle a suite, in order of scenario, seed and contestant. Raises InputError for whatever it names wrongly."""
    contestants = [make_contestant(spec) for spec in suite.contestants]
    arenas = arenas_of(suite)
    skipped: dict[tuple[str, str], str] = {}
    pieces: list[Piece] = []
    for arena in arenas:
        scenario = arena.scenario
        offers = offers_of(
            arena.workload(arena.seeds[0]), scenario.predictor, prefix_caching=scenario.server.prefix_caching
        )
        present = []
        for contestant in contestants:
            reason = reason_to_stay_out(contestant, offers)
            if reason is None:
                present.append(contestant)
            else:
                skipped[arena.name, contestant.spec] = reason
        pieces += _pieces(arena, present, stability=suite.stability)
    return Plan(suite, arenas, contestants, skipped, pieces)


def _pieces(arena: Arena, contestants: list[Contestant], *, stability: bool) -> list[Piece]:
    wanted: list[tuple[str, int | None, Contestant | None]] = []
    for seed in arena.seeds:
        wanted.append((BOUND, seed, None))
        wanted += [(CELL, seed, each) for each in contestants]
    if stability:
        wanted += [(STABLE, None, each) for each in contestants]
    return [
        Piece(kind, arena, seed, None if each is None else each.spec, key_of(kind, arena, seed, each))
        for kind, seed, each in wanted
    ]
