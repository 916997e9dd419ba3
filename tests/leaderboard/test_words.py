"""The recommendation says what the intervals support: on boards made by hand."""

from __future__ import annotations

import copy

import pytest
from boards import board, cell, large, policy, scenario

from llmqgym.leaderboard.report.words import recommend

PLAIN = [policy("vllm"), policy("spjf", needs="point prediction"), policy("srpt", oracle=True, needs="truth")]


def advice(cells, policies=PLAIN, **of_scenario):
    document = board(policies, [scenario("chat", **of_scenario)], cells)
    before = copy.deepcopy(document)
    found = recommend(document)["scenarios"][0]
    assert document == before
    return found


def test_a_clear_winner():
    found = advice(
        [
            cell("chat", "vllm", 20.0, 60.0, half=0.01),
            cell("chat", "spjf", 10.0, 90.0, half=0.04),
            cell("chat", "srpt", 5.0, 30.0, half=0.01),
        ]
    )
    assert (found["policy"], found["ties"], found["tail"]) == ("spjf", [], "vllm")
    assert found["text"] == (
        "spjf; mean E2E 10.0 s, 50 % below vllm's (95 %: 48 to 52 %); its p99 is 50 % above vllm's (95 %: 44 to 56 %); "
        "for the tail vllm, whose p99 of 60.0 s is 33 % below its own; needs to be told: point prediction; certified: "
        "no schedule's mean is lower by more than 80 %."
    )


def test_nothing_is_distinguishable_from_vllm():
    found = advice([cell("chat", "vllm", 10.0, 60.0, half=0.2), cell("chat", "spjf", 9.5, 60.0, half=0.2)])
    assert (found["policy"], found["ties"], found["tail"]) == ("vllm", ["spjf"], None)
    assert found["text"].startswith(
        "nothing is distinguishable from vllm: keep it; mean E2E 10.0 s; lower in the mean, "
    )
    assert "though not beyond doubt: spjf" in found["text"]


def test_ties_are_named_and_those_that_need_nothing():
    policies = [*PLAIN, policy("las")]
    found = advice(
        [
            cell("chat", "vllm", 30.0, 60.0, half=0.01),
            cell("chat", "spjf", 10.0, 20.0),
            cell("chat", "las", 10.4, 20.0),
        ],
        policies,
    )
    assert (found["policy"], found["ties"]) == ("spjf", ["las"])
    assert "not distinguishable from las" in found["text"]
    assert "needs to be told: point prediction (las: none)" in found["text"]


@pytest.mark.parametrize("flaw", [{"censored": True}, {"stability": "growing"}, {"skipped": "needs tenants"}])
def test_what_is_incomplete_is_never_recommended(flaw):
    found = advice([cell("chat", "vllm", 20.0, 60.0, half=0.01), cell("chat", "spjf", 10.0, 20.0, half=0.01, **flaw)])
    assert found["policy"] == "vllm"
    assert found["text"].startswith("vllm, the only one that keeps up")


def test_what_is_surely_better_by_a_hair_is_no_reason_to_change():
    found = advice([cell("chat", "vllm", 10.0, 60.0, half=1e-4), cell("chat", "spjf", 9.95, 60.0, half=1e-4)])
    assert (found["policy"], found["ties"]) == ("vllm", ["spjf"])
    assert found["text"].startswith(
        "keep vllm; mean E2E 10.0 s; the best, spjf, is 0.5 % below it (95 %: 0.5 to 0.5 %), too little to change for; "
    )


def test_oracles_are_never_recommended():
    found = advice([cell("chat", "vllm", 20.0, 60.0, censored=True), cell("chat", "srpt", 5.0, 30.0)])
    assert found["policy"] is None
    assert found["text"].startswith("no recommendation")


def test_beside_a_vllm_that_does_not_keep_up():
    found = advice([cell("chat", "vllm", 20.0, 60.0, censored=True), cell("chat", "spjf", 10.0, 20.0)])
    assert "where vllm leaves requests unfinished" in found["text"]
    assert "below" not in found["text"]


def test_one_run_has_no_interval_and_claims_nothing():
    cells = [cell("chat", "vllm", 20.0, 60.0), cell("chat", "spjf", 10.0, 20.0)]
    document = board(PLAIN, [scenario("chat")], cells)
    for each in document["cells"]:
        for part in ("metrics", "difference_to_best", "difference_to_vllm", "ratio_to_vllm"):
            each[part] = {key: value | {"low": None, "high": None} for key, value in each[part].items()}
    found = recommend(document)["scenarios"][0]
    assert found["policy"] == "vllm"
    assert "not beyond doubt" in found["text"]


def test_several_scenarios_are_counted():
    found = recommend(large(6, 3))
    assert len(found["scenarios"]) == 3
    assert "of 3 scenarios" in found["text"]
    assert "srpt" not in {each["policy"] for each in found["scenarios"]}
