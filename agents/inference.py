"""A network's decision in compiled code, without torch: logits of the allowed commands, and the largest of them.

Sums are taken in one order, float32 after float32, so that plain Python makes the same bits. Weights lie transposed,
[inputs, outputs]: a layer adds up rows, which the compiler does eight numbers at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba.extending import overload
from numpy.typing import NDArray

from agents.layout import Layout
from llmqgym.errors import unknown
from llmqgym.kernel.jit import helper
from llmqgym.kernel.memory import bytes_at, row_reader, single_matrix_at, singles_at
from llmqgym.kernel.observe import ABSENT

NETWORKS = ("scorer", "mlp")
_HEADS = ("admit", "preempt")
_PARTS = ("waiting", "running")


def shapes_of(network: str, layout: Layout, hidden: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors that decide, by their names in `agents.networks`; a layer's weights are [outputs, inputs].

    Raises InputError for an unknown network.
    """
    if network not in NETWORKS:
        raise unknown("network", network, NETWORKS)
    size, num_server = (hidden,), layout.num_server
    if network == "mlp":
        return {
            "actor.0.weight": (hidden, layout.size), "actor.0.bias": size,
            "actor.2.weight": (hidden, hidden), "actor.2.bias": size,
            "actor.4.weight": (layout.num_actions, hidden), "actor.4.bias": (layout.num_actions,),
        }  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {}
    for part, fields in zip(_PARTS, (layout.waiting_fields, layout.running_fields), strict=True):
        shapes[f"encoder.{part}.row.weight"] = (hidden, len(fields))
        shapes[f"encoder.{part}.server.weight"] = (hidden, num_server)
        shapes[f"encoder.{part}.server.bias"] = size
    shapes |= {"encoder.context.weight": (hidden, num_server + 2 * hidden), "encoder.context.bias": size}
    for head in ("run", *_HEADS):
        shapes |= {f"{head}.context.weight": (hidden, hidden), f"{head}.context.bias": size}
        shapes[f"{head}.out.weight"] = (1, hidden)
    return shapes | {f"{head}.row.weight": (hidden, hidden) for head in _HEADS}


def _field(tensor: str) -> str:
    """The field of a model's record that holds a tensor's address."""
    return tensor.replace(".", "_")


_SIZES = ("num_server", "window", "num_waiting", "running", "num_running", "hidden")
#: What is worked out on the way, by name: which sizes, multiplied, it has numbers.
_SCRATCH: dict[str, dict[str, tuple[str, ...]]] = {
    "scorer": {
        "encoded_waiting": ("window", "hidden"), "encoded_running": ("running", "hidden"),
        "pooled": ("num_pooled",), "shared": ("hidden",), "context": ("hidden",), "layer": ("hidden",),
        "logits": ("num_actions",),
    },
    "mlp": {"first": ("hidden",), "second": ("hidden",), "logits": ("num_actions",)},
}  # fmt: skip


def model_dtype(network: str) -> np.dtype[Any]:
    """The record that a compiled network is handed: sizes, addresses of its tensors, and of room to work in; in it the
    network counts its decisions."""
    tensors = [_field(name) for name in shapes_of(network, Layout(1, 1), 1)]
    names = [*_SIZES, "num_actions", "num_pooled", "num_decisions", *tensors, *_SCRATCH[network]]
    return np.dtype((np.record, np.dtype([(name, np.int64) for name in names], align=True)))


MODELS = {network: model_dtype(network) for network in NETWORKS}
_scorer_at, _mlp_at = (row_reader(MODELS[network]) for network in NETWORKS)


def sizes_of(layout: Layout, hidden: int) -> dict[str, int]:
    """The sizes in a model's record."""
    fields = len(layout.waiting_fields), len(layout.running_fields)
    own = (layout.num_server, layout.window, fields[0], layout.running, fields[1], hidden)
    return dict(zip(_SIZES, own, strict=True)) | {
        "num_actions": layout.num_actions,
        "num_pooled": layout.num_server + 2 * hidden,
    }


def scratch_of(network: str, sizes: dict[str, int]) -> dict[str, NDArray[np.float32]]:
    """Room to work in, by name of the field that holds its address."""
    return {
        name: np.zeros(max(int(np.prod([sizes[each] for each in factors])), 1), np.float32)
        for name, factors in _SCRATCH[network].items()
    }


# Arithmetic on float32 vectors; in plain Python by numpy, with the same bits.


def _add_scaled(out: Any, row: Any, factor: Any) -> None:
    """out += row x factor."""
    out += row * factor


def _add_four(out: Any, rows: Any, factors: Any, place: int) -> None:
    """`_add_scaled` of four rows from `place` on, one after the other."""
    for each in range(place, place + 4):
        out += rows[each] * factors[each]


def _rectify(out: Any) -> None:
    np.maximum(out, np.float32(0.0), out=out)


def _dot(a: Any, b: Any) -> Any:
    """One product after the other, from the first on."""
    return np.add.accumulate(a * b)[-1]


def _is_present(row: Any) -> bool:
    return bool((row != np.float32(ABSENT)).any())


@overload(_add_scaled, strict=False)
def _(out: Any, row: Any, factor: Any) -> Any:
    def add_scaled(out: Any, row: Any, factor: Any) -> None:
        for place in range(len(out)):
            out[place] += row[place] * factor

    return add_scaled


@overload(_add_four, strict=False)
def _(out: Any, rows: Any, factors: Any, place: Any) -> Any:
    def add_four(out: Any, rows: Any, factors: Any, place: int) -> None:
        a, b, c, d = factors[place], factors[place + 1], factors[place + 2], factors[place + 3]
        first, second, third, fourth = rows[place], rows[place + 1], rows[place + 2], rows[place + 3]
        for at in range(len(out)):
            out[at] = (((out[at] + first[at] * a) + second[at] * b) + third[at] * c) + fourth[at] * d

    return add_four


@overload(_rectify, strict=False)
def _(out: Any) -> Any:
    def rectify(out: Any) -> None:
        for place in range(len(out)):
            out[place] = max(out[place], np.float32(0.0))

    return rectify


@overload(_dot, strict=False)
def _(a: Any, b: Any) -> Any:
    def dot(a: Any, b: Any) -> Any:
        total = a[0] * b[0]
        for place in range(1, len(a)):
            total += a[place] * b[place]
        return total

    return dot


@overload(_is_present, strict=False)
def _(row: Any) -> Any:
    def is_present(row: Any) -> bool:
        for place in range(len(row)):  # noqa: SIM110 - compiled
            if row[place] != np.float32(ABSENT):
                return True
        return False

    return is_present


@helper
def _add_product(out: Any, weights: Any, values: Any) -> None:
    """out += values x weights, of [inputs, outputs]; by four rows, so that `out` is fetched a quarter as often."""
    whole = len(values) - len(values) % 4
    for place in range(0, whole, 4):
        _add_four(out, weights, values, place)
    for place in range(whole, len(values)):
        _add_scaled(out, weights[place], values[place])


@helper
def _largest(logits: Any, mask: Any) -> int:
    """The allowed command with the largest logit; ties: the first."""
    best = -1
    for action in range(len(mask)):
        if mask[action] != 0 and (best < 0 or logits[action] > logits[best]):
            best = action
    return max(best, 0)


# The scorer


@helper
def _encode(rows: Any, row_weights: Any, shared: Any, encoded: Any, mean: Any) -> None:
    """e_k = relu(W x_k + `shared`) of every row that is there, 0 of the others, and the mean of those there."""
    mean[:] = np.float32(0.0)
    num = 0
    for place in range(len(rows)):
        each = encoded[place]
        if not _is_present(rows[place]):
            each[:] = np.float32(0.0)
            continue
        each[:] = shared
        _add_product(each, row_weights, rows[place])
        _rectify(each)
        _add_scaled(mean, each, np.float32(1.0))
        num += 1
    if num > 1:
        for place in range(len(mean)):
            mean[place] /= np.float32(num)


@helper
def _score(encoded: Any, row_weights: Any, shared: Any, out: Any, layer: Any, mask: Any, logits: Any) -> None:
    """v . relu(A e_k + `shared`) of every row whose command is allowed."""
    for place in range(len(mask)):
        if mask[place] != 0:
            layer[:] = shared
            _add_product(layer, row_weights, encoded[place])
            _rectify(layer)
            logits[place] = _dot(out, layer)


@helper
def _set_layer(out: Any, bias: Any, weights: Any, values: Any) -> None:
    """out = bias + values x weights."""
    out[:] = bias
    _add_product(out, weights, values)


def scorer_chooses(observation: int, mask: int, address: int) -> int:
    """Chooser of the scorer whose record is at `address`; leaves the logits of the allowed commands in its room."""
    model = _scorer_at(address, 0)
    size, num_server, hidden = model.hidden, model.num_server, model.num_server + model.hidden
    first = num_server + model.window * model.num_waiting
    seen = singles_at(observation, first + model.running * model.num_running)
    allowed, logits = bytes_at(mask, model.num_actions), singles_at(model.logits, model.num_actions)
    pooled = singles_at(model.pooled, model.num_pooled)
    shared, context, layer = (
        singles_at(model.shared, size),
        singles_at(model.context, size),
        singles_at(model.layer, size),
    )
    waiting = single_matrix_at(model.encoded_waiting, model.window, size)
    running = single_matrix_at(model.encoded_running, model.running, size)
    server = seen[:num_server]
    pooled[:num_server] = server

    _set_layer(shared, singles_at(model.encoder_waiting_server_bias, size),
               single_matrix_at(model.encoder_waiting_server_weight, num_server, size), server)  # fmt: skip
    _encode(seen[num_server:first].reshape((model.window, model.num_waiting)),
            single_matrix_at(model.encoder_waiting_row_weight, model.num_waiting, size),
            shared, waiting, pooled[num_server:hidden])  # fmt: skip
    _set_layer(shared, singles_at(model.encoder_running_server_bias, size),
               single_matrix_at(model.encoder_running_server_weight, num_server, size), server)  # fmt: skip
    _encode(seen[first:].reshape((model.running, model.num_running)),
            single_matrix_at(model.encoder_running_row_weight, model.num_running, size),
            shared, running, pooled[hidden:])  # fmt: skip
    _set_layer(context, singles_at(model.encoder_context_bias, size),
               single_matrix_at(model.encoder_context_weight, model.num_pooled, size), pooled)  # fmt: skip
    _rectify(context)

    _set_layer(layer, singles_at(model.run_context_bias, size),
               single_matrix_at(model.run_context_weight, size, size), context)  # fmt: skip
    _rectify(layer)
    logits[0] = _dot(singles_at(model.run_out_weight, size), layer)
    last = 1 + model.window
    _set_layer(shared, singles_at(model.admit_context_bias, size),
               single_matrix_at(model.admit_context_weight, size, size), context)  # fmt: skip
    _score(waiting, single_matrix_at(model.admit_row_weight, size, size), shared,
           singles_at(model.admit_out_weight, size), layer, allowed[1:last], logits[1:last])  # fmt: skip
    _set_layer(shared, singles_at(model.preempt_context_bias, size),
               single_matrix_at(model.preempt_context_weight, size, size), context)  # fmt: skip
    _score(running, single_matrix_at(model.preempt_row_weight, size, size), shared,
           singles_at(model.preempt_out_weight, size), layer, allowed[last:], logits[last:])  # fmt: skip
    model.num_decisions += 1
    return _largest(logits, allowed)


# The flat network


@helper
def _bend(out: Any) -> None:
    for place in range(len(out)):
        out[place] = np.tanh(out[place])


def mlp_chooses(observation: int, mask: int, address: int) -> int:
    """Chooser of the flat network whose record is at `address`; leaves all logits in its room."""
    model = _mlp_at(address, 0)
    size, num_actions = model.hidden, model.num_actions
    num = model.num_server + model.window * model.num_waiting + model.running * model.num_running
    first, second = singles_at(model.first, size), singles_at(model.second, size)
    logits = singles_at(model.logits, num_actions)
    _set_layer(first, singles_at(model.actor_0_bias, size),
               single_matrix_at(model.actor_0_weight, num, size), singles_at(observation, num))  # fmt: skip
    _bend(first)
    _set_layer(second, singles_at(model.actor_2_bias, size), single_matrix_at(model.actor_2_weight, size, size), first)
    _bend(second)
    _set_layer(logits, singles_at(model.actor_4_bias, num_actions),
               single_matrix_at(model.actor_4_weight, size, num_actions), second)  # fmt: skip
    model.num_decisions += 1
    return _largest(logits, bytes_at(mask, num_actions))


CHOOSERS: dict[str, Callable[[int, int, int], int]] = {"scorer": scorer_chooses, "mlp": mlp_chooses}
