"""Profiles as JSON documents: the one format of the shipped profiles and of a user's own files, read strictly."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

from llmqgym.errors import InputError, unknown
from llmqgym.hardware.profile import HardwareProfile

Document = dict[str, Any]

#: Settings of each kind and the profile's field behind each; specs and documents know the same ones.
SETTINGS: dict[str, dict[str, str]] = {
    "linear": {key: key for key in ("base_ms", "token_ms", "decode_ms", "kv_ms", "square_ms")},
    "token_table": {
        key: key
        for key in (
            "base_ms", "token_ms", "decode_base_ms", "decode_ms", "kv_ms", "prefill_base_ms", "root_ms", "square_ms",
            "tail_ms",
        )
    },
    "constant": {"iteration_ms": "base_ms"},
    "iterations": {},
    "staircase": {"base_ms": "base_ms", "step_ms": "tail_ms", "tile_tokens": "tile"},
}  # fmt: skip
#: Settings of every kind: the fixed costs of an iteration and what the hardware holds.
COMMON = (
    "lm_head_ms", "overhead_ms", "kv_token_capacity", "kv_bytes_per_token", "link_bytes_per_s",
    "host_memory_bytes", "max_context_tokens", "max_batch_tokens",
)  # fmt: skip
_KNOTS = ("knots_tokens", "knots_ms")
_REQUIRED = ("name", "kind", "origin", "source", "known_error", "kinds")
#: Keys that only a document has.
_DOCUMENT_ONLY = ("tensor_parallel", "kinds")
_TEXTS = ("name", "kind", "origin", "source", "known_error", "gpu", "model")


def named_profiles() -> list[str]:
    """Names of the shipped profiles, sorted."""
    folder = files("llmqgym.hardware") / "named"
    return sorted(entry.name.removesuffix(".json") for entry in folder.iterdir() if entry.name.endswith(".json"))


def read_named(name: str) -> Document:
    """The document of a shipped profile."""
    return parse(name, (files("llmqgym.hardware") / "named" / f"{name}.json").read_text(encoding="utf-8"))


def read_file(path: Path) -> Document:
    """The document in a user's file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read profile file {str(path)!r} ({error}): name a JSON file in UTF-8.") from error
    return parse(str(path), text)


def parse(where: str, text: str) -> Document:
    """Read and check a document; `where` names it in errors.

    Raises InputError for bad JSON, NaN, a key given twice, an unknown key (naming the nearest) or a missing one.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise InputError(f"profile {where}: a key is given twice among {[key for key, _ in pairs]}: give it once.")
        return dict(pairs)

    def finite(constant: str) -> float:
        raise InputError(f"profile {where}: {constant} is not a finite number: correct the value.")

    try:
        document = json.loads(text, object_pairs_hook=once, parse_constant=finite)
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"profile {where} is not JSON ({error}): correct the file.") from error
    _check(where, document)
    return dict(document)


def profile_from(document: Document, kind: str | None = None) -> HardwareProfile:
    """The profile of a document, of its own kind or of another one it has figures for."""
    kind = document["kind"] if kind is None else kind
    if kind not in document["kinds"]:
        raise unknown(f"kind of profile {document['name']!r}", str(kind), document["kinds"])
    block = dict(document["kinds"][kind])
    common = {key: value for key, value in document.items() if key not in ("kind", "kinds", "known_error")}
    errors = (block.pop("known_error", ""), document["known_error"])
    knots: dict[str, Any] = {key: tuple(block.pop(key)) for key in _KNOTS if key in block}
    return HardwareProfile(
        kind=kind,
        known_error=" ".join(error for error in errors if error),
        **common,
        **knots,
        **{SETTINGS[kind][key]: value for key, value in block.items()},
    )


def text_of(document: Document) -> str:
    """The document as indented JSON with each list of numbers on one line; `parse` reads it back.

    >>> print(text_of({"knots_tokens": [1, 2]}), end="")
    {
     "knots_tokens": [1,2]
    }
    """
    lines: list[str] = []
    inside = False
    for line in json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False).splitlines():
        if inside:
            lines[-1] += line.strip()
        else:
            lines.append(line)
        inside = line.endswith("[") or (inside and not line.strip().startswith("]"))
    return "\n".join(lines) + "\n"


def _check(where: str, document: object) -> None:
    top = _object(where, "the document", document)
    _known_keys(f"key of profile {where}", top, (*_TEXTS, *COMMON, *_DOCUMENT_ONLY))
    missing = [key for key in _REQUIRED if key not in top]
    if missing:
        raise InputError(f"profile {where} lacks {', '.join(missing)}: add the key (docs: the shipped profiles).")
    for key in _TEXTS:
        if not isinstance(top.get(key, ""), str):
            raise InputError(f"profile {where}: {key} is {top[key]!r}, it must be text: put it in quotes.")
    kinds = _object(where, "kinds", top["kinds"])
    _known_keys(f"kind in profile {where}", kinds, SETTINGS)
    for kind, block in kinds.items():
        _check_block(where, kind, _object(where, f"kinds.{kind}", block))
    if top["kind"] not in kinds:
        raise unknown(f"kind of profile {where}", top["kind"], kinds)


def _check_block(where: str, kind: str, block: Document) -> None:
    knots = _KNOTS if kind == "token_table" else ()
    _known_keys(f"key of {kind} in profile {where}", block, (*SETTINGS[kind], *knots, "known_error"))
    for key in knots:
        if not isinstance(block.get(key), list):
            raise InputError(f"profile {where}: token_table needs {key}, a list of numbers: add it.")
    if not isinstance(block.get("known_error", ""), str):
        raise InputError(f"profile {where}: known_error of {kind} must be text: put it in quotes.")


def _object(where: str, what: str, value: object) -> Document:
    if not isinstance(value, dict):
        raise InputError(f"profile {where}: {what} is a {type(value).__name__}, it must be an object: write {{...}}.")
    return value


def _known_keys(kind: str, given: Iterable[str], known: Iterable[str]) -> None:
    names = tuple(known)
    for key in given:
        if key not in names:
            raise unknown(kind, key, names)
