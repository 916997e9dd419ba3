"""Reaching tables by their address: `row_of(address, i)` is a record, `peek`/`poke` read and write arrays of numbers.

The simulator's record holds addresses, so that one pointer is all that kernel functions and hooks hand to each other:
array arguments cost several times as much, because each is seven words and a reference count (docs/design.md). In plain
Python, and with NUMBA_DISABLE_JIT=1, addresses are looked up in a table of the arrays that `address_of` has seen.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, overload

from llmqgym.kernel import tables

_ARRAYS: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def address_of(array: np.ndarray) -> int:
    """The address by which kernel and hooks reach `array`; the caller keeps the array alive."""
    address = int(array.ctypes.data)
    _ARRAYS[address] = array
    return address


class Rows(list[Any]):
    """Stand-ins for the rows of a table, for hooks that are called in plain Python."""


def address_of_rows(rows: Rows) -> int:
    """An address by which plain Python reaches `rows`, as `address_of` gives one for an array: below 0, where no array
    lies; the caller keeps them alive."""
    _ARRAYS[-id(rows)] = rows
    return -id(rows)


def zeros(rows: int, dtype: np.dtype) -> np.ndarray:
    """A table of zeros that begins with a cache line."""
    size = rows * dtype.itemsize
    memory = np.zeros(size + tables.CACHE_LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % tables.CACHE_LINE_BYTES
    return memory[start : start + size].view(dtype)


def row_reader(dtype: np.dtype) -> Callable[[int, int], Any]:
    """A function (address, row) -> record of `dtype`, the same compiled and in Python."""
    record = numba.from_dtype(dtype)
    size = ir.Constant(ir.IntType(64), record.size)

    @intrinsic
    def at(_context: Any, address: Any, row: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.inttoptr(builder.add(args[0], builder.mul(args[1], size)), context.get_value_type(record))

        return record(types.int64, types.int64), generate

    def row_of(address: int, row: int) -> Any:
        if row < 0:
            raise IndexError(f"row {row} of a table")
        return _ARRAYS[address][row]

    @overload(row_of, strict=False)
    def _(address: Any, row: Any) -> Any:
        return lambda address, row: at(address, row)

    return row_of


def _element(builder: Any, args: Any, kind: Any) -> Any:
    return builder.gep(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])


def _element_access(number: types.Type, kind: Any) -> tuple[Callable[[int, int], Any], Callable[[int, int, Any], None]]:
    """(peek, poke) of arrays of one type: read, and write, element `index` of the array at `address`."""

    @intrinsic
    def load(_context: Any, address: Any, index: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(_element(builder, args, kind))

        return number(types.int64, types.int64), generate

    @intrinsic
    def store(_context: Any, address: Any, index: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.store(args[2], _element(builder, args, kind))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, number), generate

    def peek(address: int, index: int) -> Any:
        if index < 0:
            raise IndexError(f"element {index} of an array")
        return _ARRAYS[address][index].item()

    def poke(address: int, index: int, value: Any) -> None:
        if index < 0:
            raise IndexError(f"element {index} of an array")
        _ARRAYS[address][index] = value

    @overload(peek, strict=False)
    def _(address: Any, index: Any) -> Any:
        return lambda address, index: load(address, index)

    @overload(poke, strict=False)
    def _(address: Any, index: Any, value: Any) -> Any:
        return lambda address, index, value: store(address, index, number(value))

    return peek, poke


peek, poke = _element_access(types.int64, ir.IntType(64))
peek_byte, poke_byte = _element_access(types.int8, ir.IntType(8))
peek_single, poke_single = _element_access(types.float32, ir.FloatType())
peek_double, poke_double = _element_access(types.float64, ir.DoubleType())


def _array_access(number: types.Type, kind: Any) -> tuple[Callable[[int, int], Any], Callable[[int, int, int], Any]]:
    """(vector_at, matrix_at): the numbers at an address, seen as an array."""

    @intrinsic
    def pointer(_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], kind.as_pointer())

        return numba.types.CPointer(number)(types.int64), generate

    def vector_at(address: int, num: int) -> Any:
        return _ARRAYS[address].reshape(-1)[:num]

    def matrix_at(address: int, rows: int, columns: int) -> Any:
        return _ARRAYS[address].reshape(-1)[: rows * columns].reshape(rows, columns)

    @overload(vector_at, strict=False)
    def _(address: Any, num: Any) -> Any:
        return lambda address, num: numba.carray(pointer(address), (num,))

    @overload(matrix_at, strict=False)
    def _(address: Any, rows: Any, columns: Any) -> Any:
        return lambda address, rows, columns: numba.carray(pointer(address), (rows, columns))

    return vector_at, matrix_at


singles_at, single_matrix_at = _array_access(types.float32, ir.FloatType())
bytes_at, _ = _array_access(types.int8, ir.IntType(8))

request_at = row_reader(tables.REQUEST)
hidden_at = row_reader(tables.HIDDEN)
entry_at = row_reader(tables.ENTRY)
chunk_at = row_reader(tables.CHUNK)
arrival_at = row_reader(tables.ARRIVAL)
departure_at = row_reader(tables.DEPARTURE)
profile_at = row_reader(tables.PROFILE)
refreshing_at = row_reader(tables.REFRESHING)
estimate_at = row_reader(tables.ESTIMATE)
block_at = row_reader(tables.BLOCK)
node_at = row_reader(tables.NODE)
agent_at = row_reader(tables.AGENT)
simulator_at = row_reader(tables.SIMULATOR)


def prefetch(address: int) -> None:
    """Ask the memory for the cache line at an address, without waiting; any address will do."""


@intrinsic
def _prefetch(_context: Any, address: Any) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        word, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
        options = [ir.Constant(word, each) for each in (0, 3, 1)]  # to read, to stay near, data
        builder.call(function, [builder.inttoptr(args[0], pointer), *options])
        return context.get_dummy_value()

    return types.void(types.int64), generate


@overload(prefetch, strict=False)
def _compiled_prefetch(address: Any) -> Any:
    return lambda address: _prefetch(address)


def visible(sim: Any) -> Any:
    """The part of a simulator that a policy may see: the same record, seen as a SERVER."""
    return sim


@intrinsic
def _as_server(_context: Any, sim: Any) -> Any:
    server = numba.from_dtype(tables.SERVER)

    def generate(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(server))

    return server(sim), generate


@overload(visible, strict=False)
def _visible(sim: Any) -> Any:
    return lambda sim: _as_server(sim)
