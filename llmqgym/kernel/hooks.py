"""Calling a policy's hooks from the kernel: through an address, or inlined when a tuple of jitted functions is passed.

`hooks` is None for addresses (the kernel compiles once, for every policy) or a tuple (order, fit, mix, victim,
preempt, wake, arrive, admitted, preempted, finished, begin) of jitted functions or None (the kernel compiles for this
policy). A missing hook is the engine's default, or nothing, decided by the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from llmqgym.kernel import tables
from llmqgym.kernel.memory import visible

#: Without JIT there is no machine code to point at: the border registers Python functions under made-up addresses.
PYTHON_HOOKS: dict[int, Callable[..., Any]] = {}

_REQUEST = numba.from_dtype(tables.REQUEST)
_SERVER = numba.from_dtype(tables.SERVER)
SIGNATURES = {
    "order": types.float64(_REQUEST, _SERVER),
    "fit": types.float64(_REQUEST, _SERVER),
    "mix": types.float64(_REQUEST, _SERVER),
    "victim": types.float64(_REQUEST, _REQUEST, _SERVER),
    "preempt": types.float64(_REQUEST, _REQUEST, _SERVER),
    "wake": types.float64(_SERVER),
    "arrive": types.void(_REQUEST, _SERVER),
    "admitted": types.void(_REQUEST, _SERVER),
    "preempted": types.void(_REQUEST, _SERVER),
    "finished": types.void(_REQUEST, _SERVER),
    "begin": types.void(_SERVER),
    "service": types.int64(numba.from_dtype(tables.SIMULATOR), types.int64, types.int64),
    "choose": types.int64(types.int64, types.int64, types.int64),
}


def _pointer_call(num_records: int) -> Callable[..., Any]:
    """An intrinsic that calls machine code at an address with `num_records` record pointers and returns its float64."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointers = [context.get_value_type(t) for t in signature.args[1:]]
        function = ir.FunctionType(ir.DoubleType(), pointers)
        return builder.call(builder.inttoptr(args[0], function.as_pointer()), args[1:])

    if num_records == 1:
        return intrinsic(lambda context, address, a: (types.float64(address, a), generate))
    if num_records == 2:
        return intrinsic(lambda context, address, a, b: (types.float64(address, a, b), generate))
    return intrinsic(lambda context, address, a, b, c: (types.float64(address, a, b, c), generate))


@intrinsic
def _call_service(_context: Any, address: Any, sim: Any, row: Any, number: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arguments = [context.get_value_type(t) for t in signature.args[1:]]
        function = ir.FunctionType(ir.IntType(64), arguments)
        return builder.call(builder.inttoptr(args[0], function.as_pointer()), args[1:])

    return types.int64(address, sim, types.int64, types.int64), generate


@intrinsic
def _tell1(_context: Any, address: Any, a: Any) -> Any:
    return types.void(address, a), _tell


@intrinsic
def _tell2(_context: Any, address: Any, a: Any, b: Any) -> Any:
    return types.void(address, a, b), _tell


def _tell(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    pointers = [context.get_value_type(t) for t in signature.args[1:]]
    function = ir.FunctionType(ir.VoidType(), pointers)
    builder.call(builder.inttoptr(args[0], function.as_pointer()), args[1:])
    return context.get_dummy_value()


_call1, _call2, _call3 = _pointer_call(1), _pointer_call(2), _pointer_call(3)


def call_on_request(sim: Any, hooks: Any, which: int, address: int, request: Any) -> float:
    """ORDER, FIT or MIX of one request; `which` is the hook's place in the tuple."""
    return PYTHON_HOOKS[address](request, visible(sim))


def call_on_pair(sim: Any, hooks: Any, which: int, address: int, running: Any, other: Any) -> float:
    """VICTIM or PREEMPT: how gladly `running` would be sent away for `other`."""
    return PYTHON_HOOKS[address](running, other, visible(sim))


def call_on_server(sim: Any, hooks: Any, which: int, address: int) -> float:
    """WAKE."""
    return PYTHON_HOOKS[address](visible(sim))


def tell_of_request(sim: Any, hooks: Any, which: int, address: int, request: Any) -> None:
    """ARRIVE, ADMITTED, PREEMPTED or FINISHED: what has happened to a request."""
    PYTHON_HOOKS[address](request, visible(sim))


def tell_server(sim: Any, hooks: Any, which: int, address: int) -> None:
    """BEGIN."""
    PYTHON_HOOKS[address](visible(sim))


def call_service(address: int, sim: Any, row: int, number: int) -> int:
    """A part of the kernel that few runs need, behind an address of its own: inlined it would be compiled again at
    every level of the kernel above it."""
    return int(PYTHON_HOOKS[address](sim, row, number))


def call_chooser(address: int, observation: int, mask: int, model: int) -> int:
    """What an agent does, seeing float32[D] and int8[A], each at an address, by what its model holds."""
    return int(PYTHON_HOOKS[address](observation, mask, model))


@overload(call_chooser, strict=False)
def _chooser(address: Any, observation: Any, mask: Any, model: Any) -> Any:
    return lambda address, observation, mask, model: _call_service(address, observation, mask, model)


@overload(call_service, strict=False)
def _service(address: Any, sim: Any, row: Any, number: Any) -> Any:
    return lambda address, sim, row, number: _call_service(address, sim, row, number)


def _inlined(hooks: Any, which: Any) -> bool:
    return hooks != types.none and hooks[which.literal_value] != types.none


@overload(call_on_request, prefer_literal=True, strict=False)
def _on_request(sim: Any, hooks: Any, which: Any, address: Any, request: Any) -> Any:
    if hooks == types.none:
        return lambda sim, hooks, which, address, request: _call2(address, request, visible(sim))
    if _inlined(hooks, which):
        return lambda sim, hooks, which, address, request: hooks[which](request, visible(sim))
    return lambda sim, hooks, which, address, request: 0.0


@overload(call_on_pair, prefer_literal=True, strict=False)
def _on_pair(sim: Any, hooks: Any, which: Any, address: Any, running: Any, other: Any) -> Any:
    if hooks == types.none:
        return lambda sim, hooks, which, address, running, other: _call3(address, running, other, visible(sim))
    if _inlined(hooks, which):
        return lambda sim, hooks, which, address, running, other: hooks[which](running, other, visible(sim))
    return lambda sim, hooks, which, address, running, other: 0.0


@overload(call_on_server, prefer_literal=True, strict=False)
def _on_server(sim: Any, hooks: Any, which: Any, address: Any) -> Any:
    if hooks == types.none:
        return lambda sim, hooks, which, address: _call1(address, visible(sim))
    if _inlined(hooks, which):
        return lambda sim, hooks, which, address: hooks[which](visible(sim))
    return lambda sim, hooks, which, address: 0.0


@overload(tell_of_request, prefer_literal=True, strict=False)
def _of_request(sim: Any, hooks: Any, which: Any, address: Any, request: Any) -> Any:
    if hooks == types.none:
        return lambda sim, hooks, which, address, request: _tell2(address, request, visible(sim))
    if _inlined(hooks, which):
        return lambda sim, hooks, which, address, request: hooks[which](request, visible(sim))
    return lambda sim, hooks, which, address, request: None


@overload(tell_server, prefer_literal=True, strict=False)
def _server(sim: Any, hooks: Any, which: Any, address: Any) -> Any:
    if hooks == types.none:
        return lambda sim, hooks, which, address: _tell1(address, visible(sim))
    if _inlined(hooks, which):
        return lambda sim, hooks, which, address: hooks[which](visible(sim))
    return lambda sim, hooks, which, address: None
