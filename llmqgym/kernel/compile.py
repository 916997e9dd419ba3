"""Turning a policy's Python functions into what the kernel can call: machine code at an address, cached on disk."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numba
from numba.core.ccallback import CFunc

from llmqgym.kernel.hooks import PYTHON_HOOKS, SIGNATURES
from llmqgym.kernel.jit import COMPILED, StampedCache

_ADDRESSES: dict[tuple[str, Callable[..., Any]], int] = {}
_KEEP_ALIVE: list[Any] = []


class HookError(TypeError):
    """A hook does not have the signature of its kind, or does not compile."""


def _compile(kind: str, function: Callable[..., Any]) -> Any:
    signature = SIGNATURES[kind]
    options = {"error_model": "numpy", "nopython": True}
    compiled = CFunc(function, (signature.args, signature.return_type), locals={}, options=options)
    if function.__closure__ is None:  # what a closure holds has no name by which another process could find it
        _keep_on_disk(compiled, function)
    compiled.compile()
    return compiled


def _keep_on_disk(compiled: Any, function: Callable[..., Any]) -> None:
    with suppress(RuntimeError):  # no file behind the function (typed at a prompt), or no folder to write to
        setattr(compiled, "_cache", StampedCache(function))  # noqa: B010 - numba's stub does not show it


def address_of_hook(kind: str, function: Callable[..., Any] | None) -> int:
    """The address under which the kernel calls `function` as its hook `kind`; 0 for no hook.

    Compiles on first use, about 0.3 s, and keeps the machine code on disk. Raises HookError."""
    if function is None:
        return 0
    key = (kind, function)
    if key not in _ADDRESSES:
        expected = len(SIGNATURES[kind].args)
        given = len(inspect.signature(function).parameters)
        if given != expected:
            raise HookError(
                f"hook {kind} of {function.__qualname__} takes {given} arguments: it is called with {expected}."
            )
        if COMPILED:
            try:
                compiled = _compile(kind, function)
            except (numba.core.errors.NumbaError, KeyError) as error:  # KeyError: no such field
                raise HookError(f"hook {kind}, {function.__qualname__}, does not compile: {error}") from error
            _KEEP_ALIVE.append(compiled)
            _ADDRESSES[key] = compiled.address
        else:
            _ADDRESSES[key] = id(function)
            PYTHON_HOOKS[id(function)] = function
            _KEEP_ALIVE.append(function)
    return _ADDRESSES[key]
