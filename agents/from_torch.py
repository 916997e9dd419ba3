"""From a torch network to a brain that decides without torch."""

from __future__ import annotations

from agents.brain import Brain
from agents.inference import shapes_of
from agents.networks import FlatMLP, Scorer


def brain_of(network: Scorer | FlatMLP) -> Brain:
    """The network's weights as they are now, copied; what only values need stays behind."""
    name = "scorer" if isinstance(network, Scorer) else "mlp"
    state = network.state_dict()
    shapes = shapes_of(name, network.layout, network.hidden)
    return Brain(
        name, network.layout, network.hidden, {each: state[each].detach().cpu().numpy().copy() for each in shapes}
    )
