"""Files that a run writes: checked before the run, whole or not there at all after it."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from llmqgym.errors import InputError


class OutputError(RuntimeError):
    """A result cannot be written. The message names the path and the remedy; nothing half-written stays behind."""


def check_outputs(paths: Iterable[str | os.PathLike[str] | None], inputs: Iterable[str | None] = ()) -> None:
    """Before a run: every path (None and '-' are skipped) can be written, none twice, none over an input.

    Raises OutputError for a folder that is missing or not writable, InputError for a path named twice or also read.
    """
    seen = {os.path.realpath(path): "is also read" for path in inputs if path is not None}
    for path in paths:
        if path is None or str(path) == "-":
            continue
        target = Path(os.path.realpath(path))
        if str(target) in seen and not _is_device(target):
            raise InputError(f"output {str(path)!r} {seen[str(target)]}: give each output a file of its own.")
        seen[str(target)] = "is given twice"
        _check_target(str(path), target)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Make a folder, and those above it. Raises OutputError."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"cannot make the folder {str(path)!r}: {reason}: choose another place.") from error


@contextmanager
def atomic_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Open `path` for writing UTF-8 text, gzip if its name ends in .gz.

    What is written goes to a temporary file in the same folder, which takes the place of `path` when the block ends
    well and is removed when it does not. Devices and pipes are written straight. Raises OutputError for any OSError.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_text(f"{folder}/a.txt") as file:
    ...         _ = file.write("whole")
    ...     Path(folder, "a.txt").read_text()
    'whole'
    """
    target = Path(os.path.realpath(path))
    try:
        if _is_device(Path(path)):
            with open(path, "wb") as raw:
                yield from _encoded(raw, gz=False)
        else:
            _check_target(str(path), target)
            yield from _through_temporary(target)
    except OSError as error:
        raise _failed(str(path), error) from error


@contextmanager
def atomic_bytes(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """`atomic_text` for bytes, which are never compressed. Raises OutputError for any OSError."""
    target = Path(os.path.realpath(path))
    try:
        _check_target(str(path), target)
        with _temporary(target) as temporary, open(temporary, "xb") as raw:
            yield raw
    except OSError as error:
        raise _failed(str(path), error) from error


def strict(value: Any) -> Any:
    """`value` as JSON can hold it: what is not finite becomes None, tuples become lists, numpy scalars plain numbers.

    >>> strict({"a": (1, float("nan"))})
    {'a': [1, None]}
    """
    if isinstance(value, dict):
        return {str(key): strict(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [strict(member) for member in value]
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(document: dict[str, Any]) -> str:
    """Strict, indented JSON with a line feed at its end."""
    return json.dumps(strict(document), indent=2, allow_nan=False) + "\n"


def write_json(path: str | os.PathLike[str], document: dict[str, Any]) -> None:
    """Write `document` as strict JSON. Raises OutputError."""
    with atomic_text(path) as file:
        file.write(json_text(document))


def _through_temporary(target: Path) -> Iterator[TextIO]:
    with _temporary(target) as temporary, open(temporary, "xb") as raw:
        yield from _encoded(raw, gz=target.name.endswith(".gz"))


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A path in the same folder, whose file takes the place of `target` when all is well and else is removed."""
    temporary = target.with_name(f".{target.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        if target.exists():
            temporary.chmod(target.stat().st_mode & 0o7777)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def _encoded(raw: Any, *, gz: bool) -> Iterator[TextIO]:
    """A text stream over `raw`; with `gz` compressed, with no time stamp, so that equal runs give equal files."""
    binary: Any = gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0, compresslevel=6) if gz else raw
    text = io.TextIOWrapper(binary, encoding="utf-8", newline="", write_through=False)
    yield text
    text.flush()
    text.detach()
    if gz:
        binary.close()
    raw.flush()


def _is_device(path: Path) -> bool:
    return path.exists() and not path.is_file() and not path.is_dir()


def _check_target(name: str, target: Path) -> None:
    folder = target.parent
    if target.is_dir():
        raise OutputError(f"cannot write {name!r}: it is a folder: name a file in it.")
    if not folder.is_dir():
        raise OutputError(f"cannot write {name!r}: there is no folder {str(folder)!r}: make it first (mkdir -p).")
    writable = os.access(target, os.W_OK) if _is_device(target) else os.access(folder, os.W_OK | os.X_OK)
    if not writable:
        raise OutputError(f"cannot write {name!r}: {str(folder)!r} is not writable: choose another folder.")


def _failed(name: str, error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(f"cannot write {name!r}: {reason}: free space or choose another place (nothing was left there).")
