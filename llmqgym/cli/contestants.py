"""Who runs on a leaderboard, by spec: a baseline, or what a prefix stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmqgym.leaderboard.contestant import Contestant


def make_contestant(spec: str) -> Contestant:
    """The contestant that a spec names: NAME:k=v,... a policy of `llmqgym list policies`. Raises InputError.

    >>> make_contestant("srpt").oracle
    True
    """
    from baselines.registry import POLICIES, make_policy, real_name
    from llmqgym.errors import InputError
    from llmqgym.leaderboard.contestant import PolicyContestant
    from llmqgym.specs import parse_spec

    if spec.startswith("ppo:"):
        raise InputError(f"{spec!r}: trained agents cannot enter a leaderboard yet: name a policy.")
    policy = make_policy(spec)
    entry = POLICIES[real_name(parse_spec(spec)[0]).partition(":")[0]]
    needs = tuple(each.strip() for each in entry.needs.split(","))
    return PolicyContestant(spec, policy, family=entry.family, summary=entry.summary, needs=needs)
