"""Draw docs/learning_curves.svg: what the shipped agents were worth while they learnt, from their files.

python docs/make_learning_curves.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.contestant import load_agent
from agents.shipped import shipped_agents
from agents.trained_agent import TrainedAgent
from llmqgym.files import atomic_text
from llmqgym.svg import COLOURS, Panel, Point, legend, page, spanning

_WIDTH, _HEIGHT, _ACROSS = 300.0, 170.0, 2
_LEFT, _TOP, _BETWEEN, _BELOW = 60.0, 40.0, 150.0, 75.0


def curves_of(agent: TrainedAgent) -> dict[str, list[Point]]:
    """By scenario: (minutes of training, mean E2E over the best baseline's beside it, less 1, in per cent)."""
    found: dict[str, list[Point]] = {}
    for scenario, measured in agent.evaluation.items():
        others = [each["mean_e2e_s"] for name, each in measured.items() if isinstance(each, dict) and name != "agent"]
        best = min(others)
        found[scenario] = [
            (point["wall_s"] / 60.0, 100.0 * (point["mean_e2e_s"][scenario] / best - 1.0)) for point in agent.curve
        ]
    return found


def panel_of(agent: TrainedAgent, place: int) -> list[str]:
    """An agent's chart."""
    curves = curves_of(agent)
    points = [point for curve in curves.values() for point in curve]
    left = _LEFT + (place % _ACROSS) * (_WIDTH + _BETWEEN)
    top = _TOP + (place // _ACROSS) * (_HEIGHT + _BELOW)
    scales = spanning([x for x, _ in points]), spanning([0.0, *(min(y, 30.0) for _, y in points)])
    panel = Panel(left, top, _WIDTH, _HEIGHT, *scales)
    parts = panel.frame(agent.name, "minutes of training", "mean E2E against the best baseline, %")
    parts += panel.line([(panel.x.low, 0.0), (panel.x.high, 0.0)], "#888888", "3 3")
    entries = []
    for number, (scenario, curve) in enumerate(curves.items()):
        colour = COLOURS[1 + number % (len(COLOURS) - 1)]
        parts += panel.line(curve, colour)
        kept = agent.evaluation[scenario].get("num_decisions")
        for look, point in zip(agent.curve, curve, strict=True):
            if look["num_decisions"] == kept:
                parts += panel.cross(point, colour)
        entries.append((scenario, colour, ""))
    return parts + legend(left + _WIDTH + 8, top + 8, entries)


def picture(agents: Sequence[TrainedAgent]) -> str:
    """The file."""
    rows = -(-len(agents) // _ACROSS)
    parts = [part for place, agent in enumerate(agents) for part in panel_of(agent, place)]
    return page(_LEFT + _ACROSS * (_WIDTH + _BETWEEN), _TOP + rows * (_HEIGHT + _BELOW), parts)


def main() -> None:
    with atomic_text(Path(__file__).with_name("learning_curves.svg")) as file:
        file.write(picture([load_agent(f"ppo:{name}") for name in shipped_agents()]))


if __name__ == "__main__":
    main()
