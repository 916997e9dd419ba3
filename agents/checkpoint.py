"""Checkpoints: everything that a run goes on from, in files that hold no code.

A checkpoint is a folder: `learner.pt`, tensors that torch reads with weights_only=True; `state.npz`, arrays; and
`state.json`, the rest, in which {"array": n} stands for the n-th array. It is written beside the last one and takes its
place by a rename, so that a run killed at any moment finds a whole one.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from llmqgym.errors import InputError

_NAMES = ("learner.pt", "state.npz", "state.json")
_LATEST = "checkpoint"


def write_checkpoint(run: Path, learner: dict[str, Any], state: dict[str, Any]) -> None:
    """`learner`: tensors in dicts and lists; `state`: plain values and arrays in dicts and lists."""
    name = f"{_LATEST}-{secrets.token_hex(4)}"
    folder = run / name
    folder.mkdir(parents=True)
    torch.save(learner, folder / _NAMES[0])
    arrays: list[Any] = []
    document = _taken_apart(state, arrays)
    np.savez(folder / _NAMES[1], **{str(place): array for place, array in enumerate(arrays)})
    (folder / _NAMES[2]).write_text(json.dumps(document), encoding="utf-8")
    link = run / f".{name}"
    link.symlink_to(name)
    os.replace(link, run / _LATEST)
    for old in run.glob(f"{_LATEST}-*"):
        if old.name != name:
            shutil.rmtree(old)


def has_checkpoint(run: Path) -> bool:
    """Whether there is one to go on from."""
    return (run / _LATEST).is_dir()


def read_checkpoint(run: Path, device: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """(learner, state) of the latest one. Raises InputError where there is none."""
    folder = run / _LATEST
    if not has_checkpoint(run):
        raise InputError(f"{run} has no checkpoint: name the folder of a run that train.py has begun.")
    learner = torch.load(folder / _NAMES[0], map_location=device, weights_only=True)
    with np.load(folder / _NAMES[1], allow_pickle=False) as arrays:
        state = _put_together(json.loads((folder / _NAMES[2]).read_text(encoding="utf-8")), arrays)
    return learner, state


def _taken_apart(value: Any, arrays: list[Any]) -> Any:
    """JSON, with arrays put aside as bytes, without the zeros at their ends: tables are mostly empty."""
    if isinstance(value, np.ndarray):
        raw = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
        used = len(raw) - int(np.argmax(raw[::-1] != 0)) if raw.any() else 0
        arrays.append(raw[:used])
        return {
            "array": len(arrays) - 1,
            "shape": list(value.shape),
            "dtype": np.lib.format.dtype_to_descr(value.dtype),
        }
    if isinstance(value, dict):
        return {"dict": [[key, _taken_apart(member, arrays)] for key, member in value.items()]}
    if isinstance(value, (list, tuple)):
        return [_taken_apart(member, arrays) for member in value]
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"a checkpoint cannot hold {value!r} of type {type(value).__name__}")


def _put_together(value: Any, arrays: Any) -> Any:
    if isinstance(value, list):
        return [_put_together(member, arrays) for member in value]
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        return {key: _put_together(member, arrays) for key, member in value["dict"]}
    dtype, shape = np.lib.format.descr_to_dtype(_as_descr(value["dtype"])), tuple(value["shape"])
    raw = np.zeros(int(np.prod(shape)) * dtype.itemsize, np.uint8)
    stored = arrays[str(value["array"])]
    raw[: len(stored)] = stored
    return raw.view(dtype).reshape(shape)


def _as_descr(value: Any) -> Any:
    """JSON has lists where numpy's description of a type has tuples."""
    if isinstance(value, str):
        return value
    if value and isinstance(value[0], str):
        return tuple(
            _as_descr(member) if isinstance(member, list) and place == 1 else _plain(member)
            for place, member in enumerate(value)
        )
    return [_as_descr(member) for member in value]


def _plain(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
