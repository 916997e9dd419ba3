"""Scratch: numbers kept on disk while a run lasts, in a file without a name that is gone when its owner is."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.files import OutputError


class Scratch:
    """An array of one dtype on disk, in the folder for temporary files (TMPDIR). Holes read as zeros."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        with _on_disk():
            self._file: Any = tempfile.TemporaryFile()  # noqa: SIM115 - closed with its owner
        weakref.finalize(self, self._file.close)

    def write(self, first: int, items: NDArray[Any]) -> None:
        """Put `items` [n] at the places from `first` on. Raises OutputError."""
        with _on_disk():
            self._file.seek(first * self._dtype.itemsize)
            self._file.write(np.ascontiguousarray(items).view(np.uint8))
            self._file.flush()

    def read(self, first: int, most: int) -> NDArray[Any]:
        """The items from `first` on, `most` of them or as many as there are. Raises OutputError."""
        items = np.empty(most, self._dtype)
        with _on_disk():
            self._file.seek(first * self._dtype.itemsize)
            num_bytes = self._file.readinto(items.view(np.uint8))
        return items[: num_bytes // self._dtype.itemsize]


@contextmanager
def _on_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot keep a run's figures in {tempfile.gettempdir()!r}: {reason}: free space there, or set TMPDIR to a "
            "folder with more."
        ) from error
