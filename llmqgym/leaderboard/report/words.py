"""A recommendation in words that the intervals of a board support, and no more than that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llmqgym.leaderboard.report.board import REFERENCE, Board, Cell, Figure
from llmqgym.leaderboard.report.measures import E2E, TAIL_E2E, digits

_SHOWN = 4  # names of a list
#: A mean that is lower by a smaller share than this is no reason to change anything, however sure it is.
WORTH = 0.01


def recommend(document: dict[str, Any]) -> dict[str, Any]:
    """What to run, for each scenario: {"text", "scenarios": [{"scenario", "policy", "ties", "tail", "text"}]}.

    The lowest mean E2E decides, among policies that no oracle helps, whose runs are complete and whose queue does not
    grow. `ties` cannot be told from it; `tail` is the policy with the lowest p99 where that is another. Where vLLM's
    own order is among the ties, or above the best by less than WORTH, it is what is recommended: nothing shows that a
    change would pay. A function of the document alone.
    """
    board = Board(document)
    scenarios = [_for_scenario(board, scenario) for scenario in board.scenarios]
    return {"text": _overall(scenarios), "scenarios": scenarios}


def lines(recommendation: dict[str, Any]) -> list[str]:
    """A recommendation as lines of text."""
    found = [f"{advice['scenario']}: {advice['text']}" for advice in recommendation["scenarios"]]
    return [*found, *([recommendation["text"]] if recommendation["text"] else [])]


def _for_scenario(board: Board, scenario: dict[str, Any]) -> dict[str, Any]:
    cells = list(board.cells(scenario["name"]))
    able = [cell for cell in cells if not cell.oracle and cell.comparable and cell.figure(E2E)]
    if not able:
        text = "no recommendation: no policy without an oracle finished its requests while its queue did not grow."
        return {"scenario": scenario["name"], "policy": None, "ties": [], "tail": None, "text": text}
    best = min(able, key=lambda cell: _mean(cell, E2E))
    tied = [cell for cell in able if cell is not best and _tied(cell, best, E2E)]
    reference = board.cell(scenario["name"], REFERENCE)
    keep = reference in able and (reference in tied or not _worth_changing(best))
    chosen = reference if keep and reference else best
    ties = sorted((cell for cell in [best, *tied] if cell is not chosen), key=lambda cell: _mean(cell, E2E))
    tail = _tail(able, chosen)
    clauses = [
        _kept(chosen, best, ties, able) if keep else _better(chosen, ties, reference),
        _p99(chosen, reference), _tail_winner(tail, chosen), _needs(chosen, ties), _gap(chosen),
    ]  # fmt: skip
    return {
        "scenario": scenario["name"],
        "policy": chosen.spec,
        "ties": [cell.spec for cell in ties],
        "tail": tail.spec if tail else None,
        "text": "; ".join(filter(None, clauses)) + ".",
    }


def _mean(cell: Cell, key: str) -> float:
    found = cell.figure(key)
    assert found is not None
    return found.mean


def _tied(cell: Cell, best: Cell, key: str) -> bool:
    """Whether the paired difference of the two holds zero; where it is of others, whether their places overlap."""
    if cell.compared_with("best", key) == best.spec:
        difference = cell.part("difference_to_best", key)
        return difference is None or difference.is_zero
    rank, first = cell.rank(key), best.rank(key)
    return rank is None or first is None or rank[0] <= first[1]


def _worth_changing(best: Cell) -> bool:
    """Whether it is below the reference beyond doubt, and by WORTH at least."""
    share = best.against_reference(E2E)
    return share is None or (not share.is_zero and share.mean <= -WORTH)


def _like_reference(cell: Cell) -> bool:
    share = cell.against_reference(E2E)
    return share is None or share.is_zero


def _kept(reference: Cell, best: Cell, ties: Sequence[Cell], able: Sequence[Cell]) -> str:
    """Why not to change."""
    mean = f"mean E2E {digits(_mean(reference, E2E))} s"
    if len(able) == 1:
        return f"{reference.spec}, the only one that keeps up; {mean}"
    share = best.against_reference(E2E)
    if best is not reference and share is not None and not share.is_zero:
        little = f"{best.spec}, is {_share(share.mean)} it (95 %: {_ends(share)}), too little to change for"
        return f"keep {reference.spec}; {mean}; the best, {little}"
    alike = all(cell is reference or (cell in ties and _like_reference(cell)) for cell in able)
    lead = "distinguishable from" if alike else "better beyond doubt than"
    lower = [cell.spec for cell in ties if _mean(cell, E2E) < _mean(reference, E2E)]
    doubtful = f"; lower in the mean, though not beyond doubt: {_listed(lower)}" if lower else ""
    return f"nothing is {lead} {reference.spec}: keep it; {mean}{doubtful}"


def _better(chosen: Cell, ties: Sequence[Cell], reference: Cell | None) -> str:
    """Who, with what mean, how it stands to the reference, and who is as good."""
    mean = f"{chosen.spec}; mean E2E {digits(_mean(chosen, E2E))} s"
    tied = f"; not distinguishable from {_listed([cell.spec for cell in ties])}" if ties else ""
    if reference is None:
        return mean + tied
    if not reference.comparable:
        how = "leaves requests unfinished" if reference.censored else "does not keep up"
        return f"{mean}, where {reference.spec} {how}{tied}"
    return f"{mean}{_against(chosen, reference, E2E, lead=', ')}{tied}"


def _against(chosen: Cell, reference: Cell, key: str, *, lead: str = "") -> str:
    """'18 % below vllm's (95 %: 15 to 21 %)', or '' where nothing can be said."""
    share = chosen.against_reference(key)
    if share is None:
        return ""
    if share.interval is None:
        return f"{lead}{_share(share.mean)} vllm's in a single run, which has no interval"
    if share.is_zero:
        return f"{lead}not distinguishable from vllm's"
    return f"{lead}{_share(share.mean)} vllm's (95 %: {_ends(share)})"


def _share(value: float) -> str:
    return f"{_percent(value)} % {'below' if value < 0 else 'above'}"


def _ends(share: Figure) -> str:
    assert share.interval is not None
    low, high = sorted(abs(end) for end in share.interval)
    return f"{_percent(low)} to {_percent(high)} %"


def _percent(value: float) -> str:
    """As many digits as a reader needs.

    >>> _percent(0.183), _percent(-0.0312), _percent(3.5)
    ('18', '3.1', '350')
    """
    percent = abs(value) * 100
    return f"{percent:,.0f}" if percent >= 10 else f"{percent:.1f}"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _p99(chosen: Cell, reference: Cell | None) -> str:
    if reference is None or chosen.spec == REFERENCE or not reference.comparable:
        return ""
    words = _against(chosen, reference, TAIL_E2E)
    return f"its p99 is {words}" if words else ""


def _tail(able: Sequence[Cell], chosen: Cell) -> Cell | None:
    """Whose p99 is lower, beyond doubt, than that of the chosen one."""
    measured = [cell for cell in able if cell.figure(TAIL_E2E)]
    if not measured or chosen.figure(TAIL_E2E) is None:
        return None
    best = min(measured, key=lambda cell: _mean(cell, TAIL_E2E))
    return None if best is chosen or _tied(chosen, best, TAIL_E2E) else best


def _tail_winner(tail: Cell | None, chosen: Cell) -> str:
    if tail is None:
        return ""
    share = _mean(tail, TAIL_E2E) / _mean(chosen, TAIL_E2E) - 1
    return f"for the tail {tail.spec}, whose p99 of {digits(_mean(tail, TAIL_E2E))} s is {_share(share)} its own"


def _needs(chosen: Cell, ties: Sequence[Cell]) -> str:
    if chosen.needs == "nothing":
        return "needs no predictions"
    plain = [cell.spec for cell in ties if cell.needs == "nothing"]
    more = f" ({_listed(plain)}: none)" if plain else ""
    return f"needs to be told: {chosen.needs}{more}"


def _gap(chosen: Cell) -> str:
    gap = chosen.gap(E2E)
    if gap is None:
        return ""
    return f"certified: no schedule's mean is lower by more than {_percent(gap.mean / (1 + gap.mean))} %"


def _overall(scenarios: Sequence[dict[str, Any]]) -> str:
    """Who is recommended, or tied with it, most often; only where there are several scenarios."""
    if len(scenarios) < 2:
        return ""
    counts: dict[str, int] = {}
    for advice in scenarios:
        for spec in (advice["policy"], *advice["ties"]) if advice["policy"] else ():
            counts[spec] = counts.get(spec, 0) + 1
    if not counts:
        return "No policy without an oracle kept up on any of the scenarios."
    most = max(counts.values())
    names = [spec for spec, count in counts.items() if count == most]
    return (
        f"Lowest mean E2E, or not distinguishable from it, most often: {_listed(names)} "
        f"(on {most} of {len(scenarios)} scenarios)."
    )
