"""An agent as an ONNX graph: observations and masks in; logits, -inf where a command is not allowed, and commands out.

The graph is written node by node from the weights, so that it needs neither torch nor an example to trace.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from agents.trained_agent import TrainedAgent
from llmqgym.files import atomic_bytes
from llmqgym.kernel.observe import ABSENT

_OPSET, _IR = 18, 8


class _Graph:
    """Nodes and constants so far; every method adds one node and returns the name of what it gives."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}

    def constant(self, value: NDArray[Any]) -> str:
        """By a name of its own."""
        name = f"constant_{len(self.constants)}"
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def add(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:
        """A node of an operator."""
        name = output or f"value_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def ints(self, *values: int) -> str:
        """A constant of whole numbers."""
        return self.constant(np.array(values, np.int64))

    def columns(self, matrix: str, start: int, end: int) -> str:
        """[n, end - start]."""
        return self.add("Slice", matrix, self.ints(start), self.ints(end), self.ints(1))

    def layer(self, values: str, weights: NDArray[Any], bias: NDArray[Any] | None = None) -> str:
        """values W^T + bias."""
        product = self.add("MatMul", values, self.constant(weights.T))
        return product if bias is None else self.add("Add", product, self.constant(bias))


def model_of(agent: TrainedAgent) -> Any:
    """An onnx.ModelProto: observations float32 [n, D] and masks int8 [n, A] to logits float32 [n, A] and commands
    int64 [n], the first of the largest."""
    layout, graph = agent.layout, _Graph()
    draw = _scorer if agent.brain.network == "scorer" else _mlp
    found = draw(graph, agent)
    forbidden = graph.add("Equal", "masks", graph.constant(np.zeros((), np.int8)))
    never = graph.constant(np.array(-np.inf, np.float32))
    graph.add("Where", forbidden, never, found, output="logits")
    graph.add("ArgMax", "logits", axis=1, keepdims=0, output="commands")
    inputs = [
        helper.make_tensor_value_info("observations", TensorProto.FLOAT, ["n", layout.size]),
        helper.make_tensor_value_info("masks", TensorProto.INT8, ["n", layout.num_actions]),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", layout.num_actions]),
        helper.make_tensor_value_info("commands", TensorProto.INT64, ["n"]),
    ]
    made = helper.make_graph(graph.nodes, "agent", inputs, outputs, list(graph.constants.values()))
    model = helper.make_model(
        made, producer_name="llmqgym", ir_version=_IR, opset_imports=[helper.make_opsetid("", _OPSET)]
    )
    helper.set_model_props(model, {"name": agent.name, **{key: str(value) for key, value in agent.settings().items()}})
    onnx.checker.check_model(model, full_check=True)
    return model


def write_onnx(path: str | os.PathLike[str], agent: TrainedAgent) -> None:
    """Write the graph, whole or not at all. Raises OutputError."""
    content = model_of(agent).SerializeToString()
    with atomic_bytes(path) as file:
        file.write(content)


def _mlp(graph: _Graph, agent: TrainedAgent) -> str:
    tensors, values = agent.brain.tensors, "observations"
    for place in (0, 2, 4):
        values = graph.layer(values, tensors[f"actor.{place}.weight"], tensors[f"actor.{place}.bias"])
        values = values if place == 4 else graph.add("Tanh", values)
    return values


def _scorer(graph: _Graph, agent: TrainedAgent) -> str:
    """As `agents.networks.Scorer` writes it down."""
    tensors, layout = agent.brain.tensors, agent.layout
    server = graph.columns("observations", 0, layout.num_server)
    rows, means = {}, []
    for part, num, fields, first in (
        ("waiting", layout.window, len(layout.waiting_fields), layout.num_server),
        ("running", layout.running, len(layout.running_fields), layout.first_running),
    ):
        if num == 0:  # nobody of whom to take a mean
            means.append(graph.layer(server, np.zeros((agent.brain.hidden, layout.num_server), np.float32)))
            continue
        flat = graph.columns("observations", first, first + num * fields)
        seen = graph.add("Reshape", flat, graph.ints(-1, num, fields))
        rows[part], mean = _encode(graph, tensors, f"encoder.{part}", seen, server)
        means.append(mean)
    pooled = graph.add("Concat", server, *means, axis=1)
    context = graph.layer(pooled, tensors["encoder.context.weight"], tensors["encoder.context.bias"])
    context = graph.add("Relu", context)
    run = graph.add("Relu", graph.layer(context, tensors["run.context.weight"], tensors["run.context.bias"]))
    found = [graph.layer(run, tensors["run.out.weight"])]
    for part, head in (("waiting", "admit"), ("running", "preempt")):
        if part in rows:
            found.append(_score(graph, tensors, head, rows[part], context))
    return graph.add("Concat", *found, axis=1)


def _encode(graph: _Graph, tensors: Any, name: str, rows: str, server: str) -> tuple[str, str]:
    """(e [n, K, H], their mean [n, H])."""
    absent = graph.add("Equal", rows, graph.constant(np.array(ABSENT, np.float32)))
    fields = graph.add("Cast", graph.add("Not", absent), to=TensorProto.FLOAT)
    present = graph.add("ReduceMax", fields, graph.ints(2), keepdims=1)
    shared = graph.layer(server, tensors[f"{name}.server.weight"], tensors[f"{name}.server.bias"])
    shared = graph.add("Unsqueeze", shared, graph.ints(1))
    encoded = graph.add("Relu", graph.add("Add", graph.layer(rows, tensors[f"{name}.row.weight"]), shared))
    encoded = graph.add("Mul", encoded, present)
    num = graph.add("ReduceSum", present, graph.ints(1), keepdims=0)
    num = graph.add("Max", num, graph.constant(np.array(1.0, np.float32)))
    return encoded, graph.add("Div", graph.add("ReduceSum", encoded, graph.ints(1), keepdims=0), num)


def _score(graph: _Graph, tensors: Any, head: str, encoded: str, context: str) -> str:
    """[n, K]."""
    shared = graph.layer(context, tensors[f"{head}.context.weight"], tensors[f"{head}.context.bias"])
    shared = graph.add("Unsqueeze", shared, graph.ints(1))
    layer = graph.add("Relu", graph.add("Add", graph.layer(encoded, tensors[f"{head}.row.weight"]), shared))
    return graph.add("Squeeze", graph.layer(layer, tensors[f"{head}.out.weight"]), graph.ints(2))
