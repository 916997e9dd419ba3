"""An agent as an ONNX graph: observations and masks in; logits, -inf where a command is not allowed, and commands out."""

from __future__ import annotations

import io
import os
from typing import Any

import torch
from torch import Tensor, nn

from agents.networks import make_network
from agents.trained_agent import TrainedAgent
from llmqgym.errors import InputError
from llmqgym.files import atomic_bytes

_OPSET = 18


class Masked(nn.Module):
    """(logits float32 [N, A], commands int64 [N]) of observations float32 [N, D] and masks int8 [N, A]."""

    def __init__(self, agent: TrainedAgent) -> None:
        super().__init__()
        brain = agent.brain
        self.network: Any = make_network(brain.network, brain.layout, brain.hidden)
        weights = {name: torch.from_numpy(tensor.copy()) for name, tensor in brain.tensors.items()}
        self.network.load_state_dict(weights, strict=False)  # what only values need stays as it was drawn
        self.eval()

    def forward(self, observations: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """What the graph works out."""
        logits = self.network(observations).masked_fill(masks == 0, -torch.inf)
        return logits, logits.argmax(-1)


def write_onnx(path: str | os.PathLike[str], agent: TrainedAgent) -> None:
    """Write the graph, whole or not at all. Raises InputError without the packages that it needs, OutputError."""
    try:
        import onnx
        import onnxscript  # noqa: F401 - what torch exports with
    except ImportError as error:
        raise InputError(f"cannot export: {error}: pip install 'llmqgym[train,onnx]'.") from error
    layout = agent.layout
    example = torch.zeros(2, layout.size), torch.ones(2, layout.num_actions, dtype=torch.int8)
    batch = torch.export.Dim("n", min=1)
    made: Any = torch.onnx.export(
        Masked(agent),
        example,
        dynamo=True,
        verbose=False,
        opset_version=_OPSET,
        input_names=["observations", "masks"],
        output_names=["logits", "commands"],
        dynamic_shapes=({0: batch}, {0: batch}),
    )
    model = made.model_proto
    onnx.helper.set_model_props(model, {"name": agent.name, **{k: str(v) for k, v in agent.settings().items()}})
    onnx.checker.check_model(model)
    raw = io.BytesIO()
    onnx.save_model(model, raw)
    with atomic_bytes(path) as file:
        file.write(raw.getvalue())
