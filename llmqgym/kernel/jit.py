"""How the kernel is compiled: one decorator for helpers, one for entry points, whose cache watches every kernel file.

numba's `cache=True` looks only at the file of the function itself, so that an edit of a callee in another file goes
unseen (numba issue 1833). The entry points' caches are stamped with a hash of all kernel sources instead. Where the
package's folder is read-only numba's own fall-back, a folder of the user's, is used.
"""

from __future__ import annotations

import glob
import hashlib
import inspect
import pickle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core.caching import FunctionCache, IndexDataCacheFile

F = TypeVar("F", bound=Callable[..., Any])

COMPILED: bool = not numba.config.DISABLE_JIT
_OPTIONS = {"error_model": "numpy", "nogil": True}


def _stamp() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


KERNEL_STAMP = _stamp()


def _functions_behind(function: Any, found: set[Any]) -> None:
    """Add a function and all that it calls by a global name, or by a name in a module, to `found`."""
    function = getattr(function, "py_func", function)
    if not inspect.isfunction(function) or function in found:
        return
    found.add(function)
    names = function.__code__.co_names
    for value in [function.__globals__.get(name) for name in names]:
        owners = [getattr(value, name, None) for name in names] if inspect.ismodule(value) else [value]
        for called in owners:
            _functions_behind(called, found)


def sources_behind(function: Any) -> tuple[tuple[str, str], ...]:
    """The files behind a function, each with a hash of what is in it now."""
    found: set[Any] = set()
    _functions_behind(function, found)
    files = sorted({Path(each.__code__.co_filename) for each in found})
    return tuple((str(file), hashlib.sha256(file.read_bytes()).hexdigest()) for file in files if file.is_file())


class _StampedFiles(IndexDataCacheFile):
    """The index of a function's cache, and its data, whose files are named after the stamp.

    numba writes the index before the data. Under one name for all stamps another process would find older code there
    meanwhile, and ever after if the first one is ended in between.
    """

    def __init__(self, cache_path: str, filename_base: str, stamp: Any) -> None:
        super().__init__(cache_path, filename_base, stamp)
        self._everything = f"{glob.escape(filename_base)}.*.nbc"
        self._mine = f"{filename_base}.{hashlib.sha256(repr(stamp).encode()).hexdigest()[:12]}."
        self._data_name_pattern = self._mine + "{number:d}.nbc"

    def save(self, key: Any, data: Any) -> None:
        super().save(key, data)
        for path in Path(self._cache_path).glob(self._everything):
            if not path.name.startswith(self._mine):
                path.unlink(missing_ok=True)


class StampedCache(FunctionCache):
    """numba's function cache, fresh only while all kernel files, and the files of all that the function calls, are what
    they were."""

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)
        stamp = (KERNEL_STAMP, sources_behind(py_func))
        self._cache_file = _StampedFiles(self._cache_path, self._impl.filename_base, stamp)

    def _load_overload(self, signature: Any, target: Any) -> Any:
        try:
            return super()._load_overload(signature, target)
        except (pickle.UnpicklingError, EOFError, ImportError, AttributeError):
            self.flush()  # cut short, or written by code that is no longer there: compile anew
            return None


def helper(function: F) -> F:
    """Compile a function that only compiled code calls: it is inlined there, and lives in the cache of its callers.

    Left to itself LLVM keeps half of the helpers as functions, each on a page of its own: 1.4 times the time in all.
    """
    return numba.njit(**_OPTIONS, forceinline=True)(function)


def entry_point(function: F) -> F:
    """Compile a function that Python calls, and keep the machine code on disk."""
    compiled = numba.njit(**_OPTIONS)(function)
    if COMPILED:
        with suppress(RuntimeError):  # numba found no folder to write to: compile in every process
            compiled._cache = StampedCache(function)
    return compiled
