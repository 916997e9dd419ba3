"""The slow twin of agents.inference: both networks as they are written on paper, one Python number at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Vector = list[float]


def layer(weights: Any, bias: Any, values: Sequence[float]) -> Vector:
    """W x + b."""
    return [
        sum(float(w) * x for w, x in zip(row, values, strict=True)) + (0.0 if bias is None else float(bias[place]))
        for place, row in enumerate(weights)
    ]


def plus(a: Vector, b: Vector) -> Vector:
    return [x + y for x, y in zip(a, b, strict=True)]


def relu(values: Vector) -> Vector:
    return [max(value, 0.0) for value in values]


def rows_of(flat: Sequence[float], width: int) -> list[list[float]]:
    return [list(flat[at : at + width]) for at in range(0, len(flat), width)]


def scorer_logits(tensors: Mapping[str, Any], layout: Any, observation: Sequence[float]) -> Vector:
    """All logits: run, admit, preempt."""
    seen = [float(each) for each in observation]
    server = seen[: layout.num_server]
    parts = {
        "waiting": rows_of(seen[layout.num_server : layout.first_running], len(layout.waiting_fields)),
        "running": rows_of(seen[layout.first_running :], len(layout.running_fields)),
    }
    encoded: dict[str, list[Vector]] = {}
    pooled: list[float] = list(server)
    hidden = len(tensors["encoder.context.bias"])
    for part, rows in parts.items():
        name = f"encoder.{part}"
        shared = layer(tensors[f"{name}.server.weight"], tensors[f"{name}.server.bias"], server)
        there = [any(each != -1.0 for each in row) for row in rows]
        encoded[part] = [
            relu(plus(layer(tensors[f"{name}.row.weight"], None, row), shared)) if here else [0.0] * hidden
            for row, here in zip(rows, there, strict=True)
        ]
        for place in range(hidden):
            pooled.append(sum(each[place] for each in encoded[part]) / max(sum(there), 1))
    context = relu(layer(tensors["encoder.context.weight"], tensors["encoder.context.bias"], pooled))

    def head(name: str, row: Vector | None) -> float:
        found = layer(tensors[f"{name}.context.weight"], tensors[f"{name}.context.bias"], context)
        if row is not None:
            found = plus(found, layer(tensors[f"{name}.row.weight"], None, row))
        return layer(tensors[f"{name}.out.weight"], None, relu(found))[0]

    admit = [head("admit", row) for row in encoded["waiting"]]
    return [head("run", None), *admit, *(head("preempt", row) for row in encoded["running"])]


def mlp_logits(tensors: Mapping[str, Any], layout: Any, observation: Sequence[float]) -> Vector:
    """All logits."""
    found = [float(each) for each in observation]
    for place in (0, 2):
        found = layer(tensors[f"actor.{place}.weight"], tensors[f"actor.{place}.bias"], found)
        found = [math.tanh(each) for each in found]
    return layer(tensors["actor.4.weight"], tensors["actor.4.bias"], found)


NAIVE = {"scorer": scorer_logits, "mlp": mlp_logits}
