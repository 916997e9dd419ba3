"""Errors for bad input: each names the value, the bound and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """Something a user handed over cannot be used as it is.

    The command line prints the message and exits with code 2; nothing has been computed or written yet.
    """


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that looks most like `name`, or None when nothing is close.

    >>> nearest("vlm", ["vllm", "srpt"])
    'vllm'
    """
    matches = difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.4)
    return matches[0] if matches else None


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a table: names the nearest one and where to see them all.

    >>> print(unknown("policy", "vlm", ["vllm", "srpt"]))
    unknown policy 'vlm': did you mean 'vllm'? Known: srpt, vllm.
    """
    names = sorted(known)
    guess = nearest(name, names)
    hint = f"did you mean {guess!r}? " if guess else ""
    return InputError(f"unknown {kind} {name!r}: {hint}Known: {', '.join(names) or 'none'}.")
