"""A trained agent as it is entered on a leaderboard: its two files, which hold no code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agents.contestant import PREFIX, AgentContestant
from agents.policy_file import contents_of
from llmqgym.errors import InputError
from llmqgym.leaderboard.submission.about import read_about
from llmqgym.leaderboard.submission.submitted import Submission
from llmqgym.toml import read_toml


def submission_of(spec: str, about: str | Path | None, known_needs: Sequence[str]) -> Submission:
    """The agent that a spec names, with what the TOML file `about` declares and what the agent's own files say: its
    summary, what it needs, and the scenarios of its training. Raises InputError."""
    contestant = AgentContestant(spec)
    agent = contestant.agent
    if about is None:
        raise InputError(
            f"nothing says who made {spec!r}, and how it was chosen: write author, parameters_tried, "
            "tuned_on_scenarios and tuned_on_seeds into a TOML file and give --about FILE, see "
            "docs/leaderboard_submission.md."
        )
    told = read_toml(
        about,
        lambda document: read_about(document, known_needs, summary=contestant.summary, needs=contestant.needs),
    )
    looked_at = dict.fromkeys((*agent.training.scenario.split(", "), *told.tuned_on_scenarios))
    told = replace(told, tuned_on_scenarios=tuple(looked_at))
    return Submission(agent.name, PREFIX, contents_of(agent), contestant, told)
