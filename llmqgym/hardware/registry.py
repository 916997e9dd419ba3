"""Profiles by name: from a spec such as `a100-llama-3-8b:kind=linear` to a HardwareProfile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from llmqgym.errors import InputError, unknown
from llmqgym.hardware.documents import COMMON, SETTINGS, Document, named_profiles, profile_from, read_file, read_named
from llmqgym.hardware.profile import HardwareProfile
from llmqgym.specs import Value, parse_spec

#: The abstract kinds: where each comes from, and what it stands at before the spec's settings.
_ABSTRACT: dict[str, tuple[str, dict[str, float]]] = {
    "linear": ("t = base + token N + decode B + kv S + square F, coefficients from the spec", {}),
    "constant": ("the same time for every iteration, whatever the batch", {}),
    "iterations": ("one second per iteration: time counts iterations (unit rounds)", {"base_ms": 1000.0}),
    "staircase": (
        "Dai, Deng, Li, Peng (arXiv 2504.07347): t = base + step ceil(N / tile); defaults: CodeLlama-34B, one GPU",
        {"base_ms": 11.28, "tail_ms": 35.47, "tile": 128},
    ),
}
_REQUIRED = {"linear": "base_ms", "constant": "iteration_ms"}
_UNLIMITED = ("kv_token_capacity", "max_context_tokens", "max_batch_tokens")


#: How the files end that `llmqgym profile make` writes and the list of profiles looks for.
MADE_SUFFIX = ".profile.json"


class ProfileRow(NamedTuple):
    """One line of the list of profiles."""

    name: str
    kind: str
    origin: str
    gpu: str
    model: str
    source: str
    known_error: str


def list_profiles(folder: str | Path = ".") -> list[ProfileRow]:
    """Every profile there is: the shipped ones, the abstract kinds, the made ones in `folder`, and the form for a file.

    Made ones are the files named *.profile.json; raises InputError for one that is no profile.
    """
    shipped = [_row(name, profile_from(read_named(name))) for name in named_profiles()]
    abstract = [ProfileRow(name, name, "abstract", "", "", text, "") for name, (text, _) in _ABSTRACT.items()]
    made = [_row(str(path), profile_from(read_file(path))) for path in sorted(Path(folder).glob(f"*{MADE_SUFFIX}"))]
    own = ProfileRow("PATH.json", "", "", "", "", "a file of your own, or of `llmqgym profile make`", "")
    return [*shipped, *abstract, *made, own]


def load_profile(spec: str) -> HardwareProfile:
    """The profile that a spec names.

    A shipped name, `linear:base_ms=..,token_ms=..,decode_ms=..,kv_ms=..,square_ms=..`, `constant:iteration_ms=..`,
    `iterations`, `staircase:base_ms=..,step_ms=..,tile_tokens=..`, or a file, `PATH.json`; the settings of
    the kind and of the hardware (`kv_token_capacity=unlimited` too) may follow, and `kind=linear` chooses a shipped
    profile's or a file's other kind. Raises InputError for an unknown name or setting and for a bad value.

    >>> load_profile("constant:iteration_ms=10").base_ms
    10
    >>> load_profile("a100-llama-3-8b:kind=linear").knots_ms
    ()
    """
    name, settings = parse_spec(spec)
    if name in _ABSTRACT:
        return _abstract(spec, name, settings)
    if name.endswith(".json"):
        return _overridden(spec, read_file(Path(name)), settings)
    if name == "token_table":
        return _overridden(spec, _user_document(settings), settings)
    if name not in named_profiles():
        raise unknown("profile", name, [*named_profiles(), *_ABSTRACT, "token_table"])
    return _overridden(spec, read_named(name), settings)


def _row(name: str, profile: HardwareProfile) -> ProfileRow:
    gpu = profile.gpu if profile.tensor_parallel == 1 else f"{profile.gpu} x{profile.tensor_parallel}"
    return ProfileRow(name, profile.kind, profile.origin, gpu, profile.model, profile.source, profile.known_error)


def _user_document(settings: dict[str, Value]) -> Document:
    if "file" not in settings:
        raise InputError("token_table needs a file: write token_table:file=PATH.json.")
    return read_file(Path(str(settings.pop("file"))))


def _abstract(spec: str, kind: str, settings: Mapping[str, Value]) -> HardwareProfile:
    required = _REQUIRED.get(kind)
    if required is not None and required not in settings:
        raise InputError(f"profile {spec!r} needs {required}: write {kind}:{required}=VALUE.")
    source, defaults = _ABSTRACT[kind]
    fields = {**defaults, **_fields(kind, kind, settings)}
    return HardwareProfile(name=spec, kind=kind, origin="abstract", source=source, known_error="", **fields)  # type: ignore[arg-type]


def _overridden(spec: str, document: Document, settings: Mapping[str, Value]) -> HardwareProfile:
    """The document's profile with the spec's settings in place of its own, named by the spec and saying so."""
    others = {key: value for key, value in settings.items() if key != "kind"}
    chosen = settings.get("kind")
    profile = profile_from(document, None if chosen is None else str(chosen))
    if not settings:
        return profile
    fields = _fields(document["name"], profile.kind, others)
    by_hand = "".join(f" Set by hand: {key}={value}." for key, value in others.items())
    return replace(profile, name=spec, source=profile.source + by_hand, **fields)  # type: ignore[arg-type]


def _fields(name: str, kind: str, settings: Mapping[str, Value]) -> dict[str, Value | None]:
    """Settings of a spec as fields of the profile."""
    known = {**SETTINGS[kind], **{key: key for key in COMMON}}
    fields: dict[str, Value | None] = {}
    for key, value in settings.items():
        if key not in known:
            raise unknown(f"setting of {kind} profile {name!r}", key, known)
        fields[known[key]] = None if key in _UNLIMITED and value in ("unlimited", "none") else value
    return fields
