"""An action in words, said before it is carried out: afterwards the window shows other requests."""

from __future__ import annotations

from typing import Any

import numpy as np

from llmqgym.env.servers import Servers
from llmqgym.kernel.memory import peek


def say(servers: Servers, place: int, action: Any) -> str:
    """What the agent of a server is about to do, with the id of the request that it does it to."""
    if servers.config.action == "priority":
        return f"scores, {int((np.asarray(action) >= 0).sum())} of them 0 or more"
    command, agent = int(action), servers.agents[place]
    if command == 0:
        return "run"
    window, running = int(agent.window_waiting), int(agent.window_running)
    if not 0 < command <= window + running:
        return f"{command}, which is no command"
    verb, row = ("admit", _waiting(agent, command - 1)) if command <= window else ("preempt", -1)
    if command > window and command - 1 - window < agent.num_shown_running:
        row = peek(agent.running, command - 1 - window)
    who = "nobody" if row < 0 else str(servers.simulators[place].request(row).id)
    return f"{verb} {who}" + ("" if servers.masks[place, command] else " (masked)")


def _waiting(agent: Any, place: int) -> int:
    """The row in a place of the window, -1: nobody is there."""
    oldest, shortest = int(agent.num_oldest), int(agent.num_shortest)
    if place < oldest:
        return int(peek(agent.window, place))
    place -= oldest
    return int(peek(agent.window, int(agent.window_oldest) + place)) if place < shortest else -1
