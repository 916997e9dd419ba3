"""Policy files: an agent as NAME.safetensors, its weights, and NAME.json, everything else. Neither holds code.

What is read is checked against what is known here: a key too many or too few, a shape that does not fit, weights that
are not those that the JSON speaks of, and fields of the observation that mean something else by now are errors.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_type_hints

from agents.brain import Brain
from agents.layout import Layout
from agents.tensors import tensor_bytes, tensors_of
from agents.trained_agent import TrainedAgent, Training, View, digest_of, scales_of
from llmqgym.errors import InputError, unknown
from llmqgym.files import atomic_bytes, json_text

FORMAT = 1
WEIGHTS, DOCUMENT = ".safetensors", ".json"
_MAX_HIDDEN = 4096
_KEYS = {
    "format": int, "name": str, "summary": str, "network": dict, "view": dict, "fields": dict, "weights": dict,
    "training": dict, "curve": list, "evaluation": dict,
}  # fmt: skip
_PARTS = ("server", "waiting", "running")


def write_agent(path: str | os.PathLike[str], agent: TrainedAgent) -> None:
    """Write both files of `path`, with either ending or none: the weights, then the JSON that vouches for them.

    Raises OutputError where that cannot be done.
    """
    stem = _stem(path)
    for ending, content in contents_of(agent).items():
        with atomic_bytes(stem.with_name(stem.name + ending)) as file:
            file.write(content)


def contents_of(agent: TrainedAgent) -> dict[str, bytes]:
    """What both files of an agent hold, by ending, in the order in which they are written."""
    return {WEIGHTS: tensor_bytes(agent.brain.tensors), DOCUMENT: json_text(document_of(agent)).encode()}


def document_of(agent: TrainedAgent) -> dict[str, Any]:
    """The JSON of an agent."""
    brain = agent.brain
    return {
        "format": FORMAT,
        "name": agent.name,
        "summary": agent.summary,
        "network": {"name": brain.network, "hidden": brain.hidden},
        "view": asdict(agent.view),
        "fields": scales_of(brain.layout),
        "weights": {"sha256": digest_of(brain), "num": sum(each.size for each in brain.tensors.values())},
        "training": asdict(agent.training),
        "curve": list(agent.curve),
        "evaluation": agent.evaluation,
    }


def read_agent(path: str | os.PathLike[str]) -> TrainedAgent:
    """The agent of two files, by the path of either or without an ending.

    Raises InputError, beginning with the file, for whatever is not as `write_agent` leaves it.
    """
    stem = _stem(path)
    document_path, weights_path = (stem.with_name(stem.name + ending) for ending in (DOCUMENT, WEIGHTS))
    with _Blaming(document_path):
        document = _json(_content(document_path))
        _check_keys(document)
        view, layout = _view(document["view"]), _layout(document)
        network, hidden = _network(document["network"])
        training = _training(document["training"])
    with _Blaming(weights_path):
        brain = Brain(network, layout, hidden, tensors_of(_content(weights_path)))
        if digest_of(brain) != document["weights"].get("sha256"):
            raise InputError(
                f"these are not the weights that {document_path.name} speaks of: copy both files of one agent."
            )
    return TrainedAgent(
        document["name"], brain, view, training, document["summary"], tuple(document["curve"]), document["evaluation"]
    )


def _stem(path: str | os.PathLike[str]) -> Path:
    found = Path(path)
    return found.with_suffix("") if found.suffix in (WEIGHTS, DOCUMENT) else found


class _Blaming:
    """Errors within begin with the file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, InputError):
            raise InputError(f"{self._path}: {error}") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror or error}): an agent is two files, NAME{WEIGHTS} and NAME{DOCUMENT}."
        ) from error


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _json(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content.decode("utf-8"), parse_constant=_refuse_constant)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error}): name the files that train.py or `llmqgym agent` wrote.") from error
    if not isinstance(document, dict):
        raise InputError(f"it holds {type(document).__name__}, not an object: name the files of an agent.")
    return document


def _check_keys(document: dict[str, Any]) -> None:
    if document.get("format") != FORMAT:
        raise InputError(
            f"its format is {document.get('format')!r}, this llmqgym reads {FORMAT}: train the agent again, or use the "
            "llmqgym that wrote it."
        )
    _exactly("key", document, _KEYS)
    for key, kind in _KEYS.items():
        if type(document[key]) is not kind:
            raise InputError(f"{key} is {document[key]!r}: it must be of type {kind.__name__}.")
    if not document["name"]:
        raise InputError("name is empty: give the agent one.")
    if not all(isinstance(each, dict) for each in document["curve"]):
        raise InputError("curve must be a list of objects, one for each evaluation.")
    _exactly("key of weights", document["weights"], ("sha256", "num"))


def _exactly(kind: str, found: dict[str, Any], known: Any) -> None:
    """No key too many, none too few."""
    for key in found:
        if key not in known:
            raise unknown(kind, key, known)
    for key in known:
        if key not in found:
            raise InputError(f"there is no {kind} {key!r}: the file is not whole, write it again.")


def _built(shape: Any, section: dict[str, Any], name: str) -> Any:
    """A flat dataclass from a section, every key of its type."""
    hints = get_type_hints(shape)
    _exactly(f"key of {name}", section, [each.name for each in dataclasses.fields(shape)])
    for key, value in section.items():
        kind = getattr(hints[key], "__origin__", hints[key])
        fits = isinstance(value, (int, float)) and math.isfinite(value) if kind is float else isinstance(value, kind)
        if not fits or isinstance(value, bool):
            raise InputError(f"{name} {key} is {value!r}: it must be of type {kind.__name__}.")
    return shape(**section)


def _view(section: dict[str, Any]) -> View:
    from llmqgym.env.config import make_config

    view: View = _built(View, section, "view")
    make_config(**asdict(view))  # for its bounds
    return view


def _training(section: dict[str, Any]) -> Training:
    training: Training = _built(Training, section, "training")
    return training


def _network(section: dict[str, Any]) -> tuple[str, int]:
    from llmqgym.checks import check_count

    _exactly("key of network", section, ("name", "hidden"))
    return str(section["name"]), check_count("network hidden", section["hidden"], _MAX_HIDDEN)


def _layout(document: dict[str, Any]) -> Layout:
    """From the fields, if they mean what they did."""
    fields, view = document["fields"], document["view"]
    _exactly("key of fields", fields, ("absent", *_PARTS))
    for part in _PARTS:
        if not isinstance(fields[part], dict):
            raise InputError(f"fields {part} is {fields[part]!r}: it must hold scales by name of field.")
    made = Layout(view["window"], view["running"], *(tuple(fields[part]) for part in ("waiting", "running", "server")))
    now = scales_of(dataclasses.replace(made, server_fields=Layout(1, 1).server_fields))
    for part in _PARTS:
        _check_part(part, fields[part], now[part])
    if fields["absent"] != now["absent"]:
        raise InputError(
            f"requests that are not there are {fields['absent']} in it and {now['absent']} now: {_RETRAIN}."
        )
    return made


_RETRAIN = "it would misread what it is shown: train it again, or use the llmqgym of its time"


def _check_part(part: str, found: dict[str, Any], now: dict[str, Any]) -> None:
    from llmqgym.kernel.observe import REQUEST_FIELDS

    known = list(now) if part == "server" else [each.name for each in REQUEST_FIELDS]
    for name in found:
        if name not in known:
            raise unknown(f"field of {part} (the agent was trained on)", name, known)
    if list(found) != list(now):
        raise InputError(f"its fields of {part} are {', '.join(found)}, now they are {', '.join(now)}: {_RETRAIN}.")
    for name, scale in found.items():
        if scale != now[name] or isinstance(scale, bool):
            raise InputError(f"field {name} of {part} had the scale {scale!r}, now it has {now[name]!r}: {_RETRAIN}.")
