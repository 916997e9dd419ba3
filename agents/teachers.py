"""Teachers: simple policies as functions of the observation, for a network to imitate before it learns by itself.

A spec is NAME:k=v,...: an order of the waiting requests and limits on how much is let in. `share` of the KV cache and
`running` requests are gates: nobody enters while as much is held, or as many run. With `peak`, somebody enters if
everybody running and he will never hold more than this share of the KV cache, as predicted, or nobody runs (MC-SF's
test, arXiv 2502.07115); it reads the field `kv_peak`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from agents.layout import Layout
from llmqgym.errors import InputError
from llmqgym.kernel.observe import ABSENT, SERVER_FIELDS, fields_of
from llmqgym.specs import build

Floats = NDArray[np.float64]
#: (observations float32 [N, D], masks bool [N, A]) -> commands int64 [N].
Teacher = Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.int64]]
_Order = Callable[[dict[str, Floats]], Floats]


def unscaled(values: NDArray[np.float32], scale: float | None) -> Floats:
    """The amounts behind the numbers of an observation: y = x / (|x| + scale), so x = scale y / (1 - |y|).

    >>> unscaled(np.array([0.5, 0.75]), 256.0)
    array([256., 768.])
    """
    wide = values.astype(np.float64)
    return wide if scale is None else scale * wide / np.maximum(1.0 - np.abs(wide), 1e-9)


def read_waiting(layout: Layout, observations: NDArray[np.float32]) -> dict[str, Floats]:
    """The fields of the waiting requests by name, [N, K] each; nan where there is none."""
    return _read(observations[:, layout.num_server : layout.first_running], layout.waiting_fields)


def _read(part: NDArray[np.float32], fields: tuple[str, ...]) -> dict[str, Floats]:
    rows = part.reshape(len(part), -1, len(fields))
    absent = (rows == ABSENT).all(-1)
    return {
        field.name: np.where(absent, np.nan, unscaled(rows[..., place], field.scale))
        for place, field in enumerate(fields_of(fields))
    }


def read_server(observations: NDArray[np.float32], name: str) -> Floats:
    """A field of the server, [N]."""
    names = [field.name for field in SERVER_FIELDS]
    place = names.index(name)
    return unscaled(observations[:, place], SERVER_FIELDS[place].scale)


def _by_arrival(waiting: dict[str, Floats]) -> Floats:
    return -waiting["age_s"]


def _by_prediction(waiting: dict[str, Floats]) -> Floats:
    return waiting["predicted_remaining_tokens"]


def _by_volume(waiting: dict[str, Floats]) -> Floats:
    """Memory x time: the tokens held, of prompt and output so far at first, over the passes that are left."""
    left = np.maximum(waiting["predicted_remaining_tokens"], 1.0)
    return left * (waiting["prompt_tokens"] + waiting["generated_tokens"] + (left + 1.0) / 2.0)


def _made(order: _Order) -> Callable[..., Callable[[Layout], Teacher]]:
    """The maker of a teacher of an order; its settings are the gates."""

    def make(share: float = 1.0, running: float = np.inf, peak: float | None = None) -> Callable[[Layout], Teacher]:
        def on(layout: Layout) -> Teacher:
            if peak is not None and "kv_peak" not in layout.waiting_fields:
                raise InputError("a teacher with peak looks at kv_peak: add it to waiting_fields.")

            def teach(observations: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.int64]:
                waiting = read_waiting(layout, observations)
                chosen = np.where(masks[:, 1 : 1 + layout.window], order(waiting), np.inf).argmin(-1)
                enters = masks[:, 1 : 1 + layout.window].any(-1) & (read_server(observations, "kv_used") < share)
                num_running = np.round(read_server(observations, "num_running"))
                enters &= num_running < running
                if peak is not None:
                    rows = np.arange(len(chosen))
                    enters &= (waiting["kv_peak"][rows, chosen] <= peak) | (num_running == 0.0)
                return np.where(enters | ~masks[:, 0], 1 + chosen, 0)

            return teach

        return on

    return make


#: By name.
TEACHERS: dict[str, Callable[..., Callable[[Layout], Teacher]]] = {
    "fcfs": _made(_by_arrival),
    "spjf": _made(_by_prediction),
    "volume": _made(_by_volume),
}


def make_teacher(spec: str, layout: Layout) -> Teacher:
    """From a spec, e.g. "volume" or "fcfs:share=0.95". Raises InputError, for fields that are not in view too.

    >>> import numpy as np
    >>> layout = Layout(window=2, running=0)
    >>> teach = make_teacher("fcfs", layout)
    >>> observation = np.full((1, layout.size), 0.25, np.float32)
    >>> teach(observation, np.array([[True, False, True]])).tolist()
    [2]
    """
    needed = ("prompt_tokens", "generated_tokens", "predicted_remaining_tokens", "age_s")
    for name in needed:
        if name not in layout.waiting_fields:
            raise InputError(f"teachers look at {', '.join(needed)}: add {name} to waiting_fields.")
    on: Callable[[Layout], Teacher] = build("teacher", spec, TEACHERS)
    return on(layout)
