"""Lanes: where in the picture a running request is, from its admission until it leaves."""

from __future__ import annotations

from collections.abc import Iterable

#: (columns, rows) of the batch's picture, from few lanes to many.
GRIDS = ((1, 16), (2, 16), (2, 24), (2, 32), (3, 32))
MOST_LANES = GRIDS[-1][0] * GRIDS[-1][1]


class Lanes:
    """Gives each running request the first free lane and lets it stay there, so that bars grow in place.

    >>> lanes = Lanes()
    >>> lanes.place([4, 5, 6]), lanes.place([4, 6]), lanes.place([4, 6, 9])
    ({4: 0, 5: 1, 6: 2}, {4: 0, 6: 2}, {4: 0, 6: 2, 9: 1})
    """

    def __init__(self) -> None:
        self._lane_of: dict[int, int] = {}
        self._most = 0

    def place(self, ids: Iterable[int]) -> dict[int, int]:
        """Request id -> lane of those now running; the last admitted have none when there are too many."""
        ids = list(ids)
        running = set(ids)
        self._lane_of = {id: lane for id, lane in self._lane_of.items() if id in running}
        taken = set(self._lane_of.values())
        free = (lane for lane in range(MOST_LANES) if lane not in taken)
        for id, lane in zip((id for id in ids if id not in self._lane_of), free, strict=False):
            self._lane_of[id] = lane
        self._most = max([self._most, *(lane + 1 for lane in self._lane_of.values())])
        return dict(self._lane_of)

    @property
    def grid(self) -> tuple[int, int]:
        """(columns, rows) with room for all lanes so far; it never shrinks."""
        return next(grid for grid in GRIDS if grid[0] * grid[1] >= self._most)
