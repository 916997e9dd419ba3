"""Who runs on a leaderboard, by spec: a baseline, or what a prefix stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmqgym.leaderboard.contestant import Contestant
    from llmqgym.leaderboard.submission.policy_file import PolicyFile


def make_contestant(spec: str, folder: str = "") -> Contestant:
    """The contestant that a spec names: NAME:k=v,... a policy of `llmqgym list policies`, or file:PATH a policy in a
    Python file, which is run (docs/leaderboard_submission.md); `folder` is where such a file is looked for first.
    Raises InputError.

    >>> make_contestant("srpt").oracle
    True
    """
    from baselines.registry import POLICIES, make_policy, real_name
    from llmqgym.errors import InputError
    from llmqgym.leaderboard.contestant import PolicyContestant
    from llmqgym.leaderboard.submission.policy_file import PREFIX, find_file
    from llmqgym.specs import parse_spec

    if spec.startswith("ppo:"):
        raise InputError(f"{spec!r}: trained agents cannot enter a leaderboard yet: name a policy.")
    if spec.startswith(PREFIX):
        return load_file(str(find_file(spec, folder))).contestant(spec)
    policy = make_policy(spec)
    entry = POLICIES[real_name(parse_spec(spec)[0]).partition(":")[0]]
    needs = tuple(each.strip() for each in entry.needs.split(","))
    return PolicyContestant(spec, policy, family=entry.family, summary=entry.summary, needs=needs)


def load_file(path: str) -> PolicyFile:
    """A policy in a Python file, which is run. Raises InputError."""
    from baselines.registry import NEEDS
    from llmqgym.leaderboard.submission.policy_file import load_policy_file

    return load_policy_file(path, NEEDS)
