"""Brain: a network's weights, ready to decide in compiled code; any number of rows for a scorer."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.inference import CHOOSERS, MODELS, scratch_of, shapes_of, sizes_of
from agents.layout import Layout
from llmqgym.errors import InputError
from llmqgym.kernel.compile import address_of_hook
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.memory import address_of


class Brain:
    """A network by name, its layout and width, and the tensors that decide, float32 by their names in torch.

    It works in memory of its own: one for each thread. Raises InputError for tensors that do not fit.
    """

    def __init__(self, network: str, layout: Layout, hidden: int, tensors: Mapping[str, NDArray[Any]]) -> None:
        check_tensors(tensors, shapes_of(network, layout, hidden))
        self.network, self.layout, self.hidden = network, layout, hidden
        self.tensors = {name: np.ascontiguousarray(tensors[name]) for name in tensors}
        self.choose = CHOOSERS[network]
        self.model = np.zeros(1, MODELS[network]).view(np.recarray)
        sizes = sizes_of(layout, hidden)
        transposed = {
            name.replace(".", "_"): np.ascontiguousarray(tensor.T) for name, tensor in self.tensors.items()
        }  # fmt: skip
        self._room = scratch_of(network, sizes)
        self._arrays = {**transposed, **self._room}  # their addresses are in the record
        for name, size in sizes.items():
            self.model[name] = size
        for name, array in self._arrays.items():
            self.model[name] = address_of(array)
        self._called: Any = None

    def resized(self, window: int, running: int) -> Brain:
        """The same weights for another number of rows. Raises InputError for a network whose weights are of places."""
        layout = replace(self.layout, window=window, running=running)
        if layout != self.layout and self.network != "scorer":
            raise InputError(
                f"a network {self.network!r} reads the {self.layout.window} and {self.layout.running} places that it "
                f"was trained on, not {window} and {running}: leave window and running as they are, or train a scorer."
            )
        return Brain(self.network, layout, self.hidden, self.tensors)

    def logits(self, observations: NDArray[Any], masks: NDArray[Any] | None = None) -> NDArray[np.float32]:
        """Of observations [N, D] and masks [N, A] (none: everything is allowed), float32 [N, A]; -inf where a command
        is not allowed."""
        return self._decide(observations, masks)[0]

    def actions(self, observations: NDArray[Any], masks: NDArray[Any]) -> NDArray[np.int64]:
        """The commands with the largest logits, int64 [N]."""
        return self._decide(observations, masks)[1]

    @property
    def num_decisions(self) -> int:
        """So far."""
        return int(self.model[0].num_decisions)

    def worked_out(self) -> NDArray[np.float32]:
        """The logits that its last decision has left, float32 [A]; those of commands not allowed are older."""
        return self._room["logits"]

    def _decide(
        self, observations: NDArray[Any], masks: NDArray[Any] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        num, num_actions = len(observations), self.layout.num_actions
        masks = np.ones((num, num_actions), np.int8) if masks is None else np.asarray(masks) != 0
        if observations.shape != (num, self.layout.size) or masks.shape != (num, num_actions):
            raise InputError(
                f"observations are {observations.shape} and masks {masks.shape}: this agent reads [N, "
                f"{self.layout.size}] and [N, {num_actions}]."
            )
        seen, mask = np.zeros(self.layout.size, np.float32), np.zeros(num_actions, np.int8)
        addresses = address_of(seen), address_of(mask), address_of(self.model)
        call = self._callable()
        logits, actions = np.zeros((num, num_actions), np.float32), np.zeros(num, np.int64)
        for place in range(num):
            seen[:], mask[:] = observations[place], masks[place]
            actions[place] = call(*addresses)
            logits[place] = np.where(mask != 0, self._room["logits"][:num_actions], np.float32(-np.inf))
        return logits, actions

    def _callable(self) -> Any:
        """The chooser as the compiled loop calls it."""
        if not COMPILED:
            return self.choose
        if self._called is None:
            kind = ctypes.CFUNCTYPE(*[ctypes.c_int64] * 4)
            self._called = kind(address_of_hook("choose", self.choose))
        return self._called


def check_tensors(tensors: Mapping[str, NDArray[Any]], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises InputError for a tensor too many or too few, of another shape or dtype, or with a number that is none."""
    from llmqgym.errors import unknown

    for name in tensors:
        if name not in shapes:
            raise unknown("tensor", name, shapes)
    for name, shape in shapes.items():
        if name not in tensors:
            raise InputError(
                f"there is no tensor {name!r} {list(shape)}: the weights of another network, or half of them."
            )
        tensor = tensors[name]
        if tensor.dtype != np.float32 or tensor.shape != shape:
            raise InputError(
                f"tensor {name!r} is {tensor.dtype} {list(tensor.shape)}: the network has float32 {list(shape)} there."
            )
        if not np.isfinite(tensor).all():
            raise InputError(f"tensor {name!r} holds numbers that are not finite: the training has gone astray.")
