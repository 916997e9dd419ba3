"""An agent played through in compiled code: decide, step, decide again, until the border must help or the run ends."""

from __future__ import annotations

import numpy as np

from llmqgym.kernel.act import Command, step
from llmqgym.kernel.hooks import call_chooser
from llmqgym.kernel.jit import entry_point
from llmqgym.kernel.memory import simulator_at
from llmqgym.kernel.tables import Outcome


@entry_point
def play(agents: np.ndarray, index: int, choose: int, model: int, max_decisions: int) -> int:
    """Let the chooser at an address decide for server `index` of AGENT[n], at most so often; returns an Outcome.

    `choose` is called with the addresses of the observation, of the mask and of whatever it knows (`model`). What an
    Outcome asks for is done by the border, after which this goes on where it was. A run begins with Command.GO_ON.
    """
    agent = agents[index]
    sim = simulator_at(agent.simulator, 0)
    for _ in range(max_decisions):
        over = step(sim, agent)
        if not over or agent.outcome <= Outcome.HORIZON:
            agent.command = Command.GO_ON
            return agent.outcome
        agent.command = call_chooser(choose, agent.observation, agent.mask, model)
    return Outcome.PAUSED.value
