"""Who decides, by spec: a baseline, or a trained agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmqgym.errors import InputError

if TYPE_CHECKING:
    from llmqgym.env.play import Player
    from llmqgym.leaderboard.contestant import Contestant
    from llmqgym.leaderboard.submission.policy_file import PolicyFile
    from llmqgym.leaderboard.submission.submitted import Submission
    from llmqgym.policy import Policy
    from llmqgym.scenario import ScenarioConfig

_AGENT = "ppo:"
_ENDINGS = (".safetensors", ".json")


def make_contestant(spec: str, folder: str = "") -> Contestant:
    """The contestant that a spec names: NAME:k=v,... a policy of `llmqgym list policies`; ppo:NAME an agent of `llmqgym
    list agents`, ppo:FILE one of your own; or file:PATH a policy in a Python file, which is run
    (docs/leaderboard_submission.md). Files are looked for in `folder` first. Raises InputError.

    >>> make_contestant("srpt").oracle
    True
    """
    from baselines.registry import POLICIES, make_policy, real_name
    from llmqgym.leaderboard.contestant import PolicyContestant
    from llmqgym.leaderboard.submission.policy_file import PREFIX, find_file
    from llmqgym.specs import parse_spec

    if spec.startswith(_AGENT):
        from agents.contestant import AgentContestant

        return AgentContestant(spec, folder)
    if spec.startswith(PREFIX):
        return load_file(str(find_file(spec, folder))).contestant(spec)
    policy = make_policy(spec)
    entry = POLICIES[real_name(parse_spec(spec)[0]).partition(":")[0]]
    needs = tuple(each.strip() for each in entry.needs.split(","))
    return PolicyContestant(spec, policy, family=entry.family, summary=entry.summary, needs=needs)


def make_policy(spec: str) -> Policy:
    """The policy that a spec names, of an agent the engine at which it sits. Raises InputError."""
    if spec.startswith(_AGENT):
        from agents.contestant import ENGINE

        return ENGINE
    from baselines.registry import make_policy

    return make_policy(spec)


def make_decider(scenario: ScenarioConfig) -> Player | None:
    """The agent that a scenario's policy names, at its seat; None for a policy. Raises InputError."""
    if not scenario.policy.startswith(_AGENT):
        return None
    from agents.contestant import AgentContestant

    return AgentContestant(scenario.policy).decider(scenario)


def load_file(path: str) -> PolicyFile:
    """A policy in a Python file, which is run. Raises InputError."""
    from baselines.registry import NEEDS
    from llmqgym.leaderboard.submission.policy_file import load_policy_file

    return load_policy_file(path, NEEDS)


def names_agent(file: str) -> bool:
    """Whether what is to be entered is an agent: ppo:FILE, ppo:NAME, or one of its files. All else is code."""
    return file.startswith(_AGENT) or file.endswith(_ENDINGS)


def load_submission(file: str, about: str | None) -> Submission:
    """What is to be entered: an agent, of which the file `about` tells, or a policy in a Python file, which is run.
    Raises InputError."""
    if names_agent(file):
        from agents.submission import submission_of
        from baselines.registry import NEEDS

        return submission_of(_AGENT + file.removeprefix(_AGENT), about, NEEDS)
    if about is not None:
        raise InputError(f"--about {about} is for agents; {file} defines about itself: leave it out.")
    return load_file(file).submission()
