"""The registry: settings of policies are checked, and errors say what to write instead."""

from __future__ import annotations

import pytest

from baselines.page import page_of, parameters_of
from baselines.registry import ALIASES, NEEDS, POLICIES, make_policy
from llmqgym.errors import InputError


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_has_the_name_it_is_listed_under(name: str) -> None:
    assert make_policy(name).name == name


@pytest.mark.parametrize("name", POLICIES)
def test_a_page_says_what_a_policy_takes_needs_and_costs(name: str) -> None:
    entry = POLICIES[name]
    page = page_of(name)
    assert set(entry.needs.split(", ")) <= set(NEEDS)
    assert entry.oracle == (entry.needs == "truth")
    for text in (entry.summary, entry.cost, entry.source, entry.family):
        assert text
        assert text in page
    rule = entry.load().__doc__ or ""
    assert len(rule) > 40
    for parameter, default in parameters_of(name).items():
        assert f"`{parameter}`" in rule
        assert f"{parameter}={default}" in page


@pytest.mark.parametrize("alias", ALIASES)
def test_an_alias_is_the_policy_that_it_stands_for(alias: str) -> None:
    policy = make_policy(alias)
    assert policy.hooks() == make_policy(ALIASES[alias]).hooks()
    assert policy.params == make_policy(ALIASES[alias]).params
    assert make_policy(alias.replace("-", "_")).name == policy.name
    assert alias not in POLICIES


def test_the_references_disagree_about_two_engines() -> None:
    """Both readings of Orca and of FasterTransformer are there, apart."""
    names = {name: make_policy(name).name for name in ("orca_dai", "orca_vidur", "ft_dai", "ft_vidur")}
    assert names == {"orca_dai": "orca", "orca_vidur": "orca-vidur", "ft_dai": "ft-rounds", "ft_vidur": "ft-vidur"}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("trial", "trail"),
        ("trail:d=1", "Known: c, mode"),
        ("trail:c=much", "c of trail"),
        ("las:quantum=0", "quantum of las"),
        ("one-bit:threshold=-1", "threshold of one-bit"),
        ("reserve:by=decalred", "declared"),
        ("mc-sf:protect=2", "protect of mc-sf"),
        ("mc-sf:miss=wait", "miss"),
        ("paced:share=0", "share of paced"),
        ("flow-control:budget=0.5", "budget of flow-control"),
        ("multi-bin:low=9,high=9", "high must be the larger"),
        ("sprpt-bounce:mode=keep", "preempt_mode"),
        ("lcf:lift=true", "given twice"),
        ("sglang:conservative=2", "did you mean 'conservativeness'"),
        ("lightllm:mode=agressive", "did you mean 'aggressive'"),
        ("wait:rates=1/2", "one of each a type"),
        ("nested-wait:rates=1/x,decodes=1/2", "numbers separated by slashes"),
        ("slai:order=shortst", "did you mean 'shortest'"),
        ("vtc:admission=cap", "did you mean 'caps'"),
        ("gamma-boost:gamma=0", "gamma of gamma-boost"),
        ("mlfq:ratio=0.5", "ratio of mlfq"),
        ("ltr:starvation=0", "starvation of ltr"),
        ("andes:full=2", "full of andes"),
        ("gsa:first=0", "first of gsa"),
        ("past-future:reserve=2", "reserve of past-future"),
    ],
)
def test_bad_settings(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_policy(spec)
