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
    window = int(agent.window_waiting)
    if not 0 < command < servers.config.num_actions:
        return f"{command}, which is no command"
    if command <= window:
        verb, row, how = "admit", _waiting(agent, command - 1), ""
    else:
        mode, shown = divmod(command - 1 - window, int(agent.window_running))
        verb, row = "preempt", peek(agent.running, shown) if shown < agent.num_shown_running else -1
        how = f" by {servers.config.preempt_modes[mode]}" if agent.num_modes > 1 else ""
    who = "nobody" if row < 0 else str(servers.simulators[place].request(row).id)
    return f"{verb} {who}{how}" + ("" if servers.masks[place, command] else " (masked)")


def _waiting(agent: Any, place: int) -> int:
    """The row in a place of the window, -1: nobody is there."""
    oldest, shortest = int(agent.num_oldest), int(agent.num_shortest)
    if place < oldest:
        return int(peek(agent.window, place))
    place -= oldest
    return int(peek(agent.window, int(agent.window_oldest) + place)) if place < shortest else -1
