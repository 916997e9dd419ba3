"""The safetensors format, read and written by numpy: a length, a JSON header, raw float32 numbers. No code in it.

The package safetensors would do the same; so few lines keep it, and its compiled wheel, out of what a user needs to
rank an agent, and let every way in which a file can be wrong be said in our words. The format is described at
https://github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.errors import InputError

_LENGTH_BYTES = 8
#: The format's own limit.
_LONGEST_HEADER = 100_000_000
_METADATA = "__metadata__"
_FLOAT32 = np.dtype("<f4")


def tensor_bytes(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """A file of float32 tensors, in the order of their names: the same tensors, the same bytes."""
    header: dict[str, Any] = {}
    at = 0
    for name in sorted(tensors):
        size = tensors[name].size * _FLOAT32.itemsize
        header[name] = {"dtype": "F32", "shape": list(tensors[name].shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _LENGTH_BYTES)
    data = [np.ascontiguousarray(tensors[name], _FLOAT32).tobytes() for name in sorted(tensors)]
    return b"".join([len(text).to_bytes(_LENGTH_BYTES, "little"), text, *data])


def tensors_of(content: bytes) -> dict[str, NDArray[np.float32]]:
    """The tensors of such a file.

    Raises InputError for content that is cut short or too long, a header that is none, and tensors of another type.
    """
    if len(content) < _LENGTH_BYTES:
        raise InputError(f"it has {len(content)} bytes, which is no safetensors file: {_AGAIN}.")
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    data = memoryview(content)[_LENGTH_BYTES + min(length, len(content)) :]
    if length > min(_LONGEST_HEADER, len(content) - _LENGTH_BYTES):
        raise InputError(f"its header would have {length} bytes, the file has {len(content)}: {_AGAIN}.")
    header = _header(content[_LENGTH_BYTES : _LENGTH_BYTES + length])
    header.pop(_METADATA, None)
    tensors = {name: _tensor(name, entry, data) for name, entry in header.items()}
    ranges = sorted(tuple(entry["data_offsets"]) for entry in header.values())
    joined = all(before[1] == after[0] for before, after in pairwise([(0, 0), *ranges, (len(data), 0)]))
    if not joined:
        raise InputError(f"its tensors do not fill its {len(data)} bytes of numbers one after the other: {_AGAIN}.")
    return tensors


_AGAIN = "copy or write the file again"


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(text.decode("utf-8"), object_pairs_hook=_without_repetition)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise InputError(f"its header is not JSON ({error}): {_AGAIN}.") from error
    if not isinstance(header, dict):
        raise InputError(f"its header is {type(header).__name__}, not an object by name of tensor: {_AGAIN}.")
    return header


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _tensor(name: str, entry: Any, data: memoryview) -> NDArray[np.float32]:
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise InputError(f"tensor {name!r} is described by {entry!r}, not by dtype, shape and data_offsets: {_AGAIN}.")
    if entry["dtype"] != "F32":
        raise InputError(f"tensor {name!r} is of dtype {entry['dtype']!r}: write it as float32.")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_counts(shape) or not _are_counts(offsets) or len(offsets) != 2:
        raise InputError(f"tensor {name!r} has shape {shape!r} and offsets {offsets!r}: {_AGAIN}.")
    start, end = offsets
    size = _FLOAT32.itemsize
    for length in shape:
        size *= length
    if end - start != size or end > len(data):
        raise InputError(
            f"tensor {name!r} has {size} bytes by its shape {shape}, lies at {start} to {end}, and there are "
            f"{len(data)}: {_AGAIN}."
        )
    return np.frombuffer(data[start:end], _FLOAT32).astype(np.float32).reshape(shape)


def _are_counts(values: Any) -> bool:
    return isinstance(values, list) and all(type(each) is int and 0 <= each < 2**40 for each in values)
