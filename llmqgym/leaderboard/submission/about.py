"""About: what an author declares of what is entered, read strictly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from llmqgym.errors import InputError, unknown
from llmqgym.leaderboard.suite import FIRST_SEED, MAX_SEEDS

#: For whoever makes a policy. Boards are made on the test seeds, which are for nothing else.
DEVELOPMENT_SEEDS = range(10_000)
TEST_SEEDS = range(FIRST_SEED, FIRST_SEED + MAX_SEEDS)


@dataclass(frozen=True)
class About:
    """Who made it, what it must be told, and how its parameters were chosen."""

    author: str
    summary: str
    needs: tuple[str, ...]  # words of `llmqgym list policies`
    parameters_tried: dict[str, str]  # of each parameter the values that were tried, and how one was chosen; {}: none
    tuned_on_scenarios: tuple[str, ...]  # scenarios or traces that were looked at meanwhile; (): none
    tuned_on_seeds: tuple[int, ...]
    link: str = ""  # a write-up


def read_about(told: Mapping[str, Any], known_needs: Sequence[str], **known: Any) -> About:
    """From what is told by key, beside what is `known` and not to be told. Raises InputError for a key too many or too
    few, a wrong value, and test seeds that it was tuned on."""
    asked = {field.name: field for field in fields(About) if field.name not in known}
    for key, value in told.items():
        if key not in asked:
            raise unknown("key of about", str(key), asked)
        _check(key, str(asked[key].type), value)
    missing = [name for name in asked if name != "link" and name not in told]
    if missing:
        raise InputError(f"about lacks {', '.join(missing)}: say it, even if it is none.")
    given: dict[str, Any] = {
        key: value if isinstance(value, (str, dict)) else tuple(value) for key, value in told.items()
    }
    about = About(**known, **given)
    for need in about.needs:
        if need not in known_needs:
            raise unknown("need of about", need, known_needs)
    leaked = [seed for seed in about.tuned_on_seeds if seed in TEST_SEEDS]
    if leaked:
        raise InputError(
            f"tuned on test seeds ({', '.join(map(str, leaked[:3]))}): tune on {DEVELOPMENT_SEEDS.start} to "
            f"{DEVELOPMENT_SEEDS.stop - 1}; {TEST_SEEDS.start} to {TEST_SEEDS.stop - 1} are for boards only."
        )
    return about


_KINDS: dict[str, tuple[type | tuple[type, ...], type | None, str]] = {
    "str": (str, None, "a text"),
    "tuple[str, ...]": ((list, tuple), str, "a list of texts"),
    "tuple[int, ...]": ((list, tuple, range), int, "a list of whole numbers"),
    "dict[str, str]": (dict, str, "a dict of texts"),
}


def _check(key: str, kind: str, value: Any) -> None:
    outer, inner, words = _KINDS[kind]
    members = value.items() if isinstance(value, dict) else value
    fits = isinstance(value, outer)
    if fits and inner is not None:
        flat = [each for pair in members for each in pair] if isinstance(value, dict) else list(members)
        fits = all(isinstance(each, inner) and not isinstance(each, bool) for each in flat)
    if not fits:
        raise InputError(f"{key} of about is {value!r}: give {words}.")
