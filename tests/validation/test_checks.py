"""What makes a check ok, that the measurements notice what is wrong, and how the runs of checks are put together."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.metrics.decision_log import steps
from llmqgym.validation import GROUPS, Check, Measured, NotRun, Verdict, beside, bounds, checks_of, report, vllm_logs
from llmqgym.validation.check import Sense
from llmqgym.validation.run import make, run_checks

OK, OUTSIDE = Verdict.OK, Verdict.OUTSIDE


def a_check(**changes: object) -> Check:
    return replace(Check("group", "name", "source", 2.0, 0.1, lambda quick: Measured(2.05)), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sense", "value", "verdict"),
    [
        (Sense.EQUAL, 2.1, OK),
        (Sense.EQUAL, 2.11, OUTSIDE),
        (Sense.EQUAL, 1.89, OUTSIDE),
        (Sense.AT_MOST, 0.0, OK),
        (Sense.AT_MOST, 2.11, OUTSIDE),
        (Sense.AT_LEAST, 9.0, OK),
        (Sense.AT_LEAST, 1.89, OUTSIDE),
        (Sense.EQUAL, float("nan"), OUTSIDE),
    ],
)
def test_a_value_is_held_against_what_is_expected(sense: Sense, value: float, verdict: Verdict) -> None:
    outcome = a_check(sense=sense).judge(Measured(value), quick=False, wall_s=0.0)
    assert outcome.verdict is verdict
    assert bool(outcome.explanation) == (verdict is OUTSIDE)


def test_an_interval_wider_than_the_tolerance_is_outside() -> None:
    assert a_check().judge(Measured(2.0, 0.09), quick=False, wall_s=0.0).verdict is OK
    outcome = a_check().judge(Measured(2.0, 0.11), quick=False, wall_s=0.0)
    assert outcome.verdict is OUTSIDE
    assert "half-width 5.50%" in outcome.explanation


def test_the_quick_run_has_its_own_tolerance() -> None:
    check = a_check(quick_tolerance=0.01)
    assert [make(check, quick).verdict for quick in (False, True)] == [OK, OUTSIDE]


def test_what_is_missing_is_said_and_what_breaks_is_outside() -> None:
    def missing(quick: bool) -> Measured:
        raise NotRun("no trace")

    outcome = make(a_check(measure=missing), quick=False)
    assert (outcome.verdict, outcome.explanation) == (Verdict.NOT_RUN, "not run: no trace")
    outcome = make(a_check(measure=lambda quick: Measured(1 / 0)), quick=False)
    assert outcome.verdict is OUTSIDE
    assert outcome.explanation.startswith("ZeroDivisionError")
    with pytest.raises(NotRun, match=r"no \.\./shared/nowhere/x"):
        beside.beside("nowhere", "x")


def test_names_are_unique_and_every_group_has_quick_checks() -> None:
    for name in GROUPS:
        checks = checks_of([name])
        assert {check.group for check in checks} == {name}
        assert max(Counter(check.name for check in checks).values()) == 1
        assert checks_of([name], quick=True)
    assert len(vllm_logs.names_in(vllm_logs.GOLDEN)) == 37
    with pytest.raises(InputError, match="did you mean 'formulas'"):
        checks_of(["formula"])


def test_a_log_that_was_changed_is_noticed() -> None:
    log = vllm_logs.read_log("t02_preempt_fcfs")
    assert vllm_logs.mismatches(log) == []
    steps = [*log.steps[:3], {**log.steps[3], "b": log.steps[3]["b"] + 1}, *log.steps[4:]]
    (found,) = vllm_logs.mismatches(replace(log, steps=steps))
    assert "step 3" in found
    assert len(vllm_logs.mismatches(replace(log, footer={**log.footer, "steps": 0}))) == 2
    assert vllm_logs.mismatches(replace(log, steps=log.steps[:-1]))


def test_a_log_with_a_clock_is_replayed_by_its_clock() -> None:
    """Iterations of 20 ticks and one for each token: the kernel's own log stands in for one of vLLM's."""
    log = vllm_logs.read_log("t01_chunk_order")
    log = replace(log, header={**log.header, "params": {**log.params, "step_base": 20, "step_per_token": 1}})
    assert log.unit_ps is None
    lines = list(steps(vllm_logs.replay(log, log=True).log_triples(), None))
    assert lines[1]["t"] == 20 + sum(tokens for _, tokens in lines[0]["s"])
    assert not list(vllm_logs.differing_steps(replace(log, steps=lines), lines))
    assert any("step 1:" in line for line in vllm_logs.mismatches(log))


def test_a_bound_that_is_none_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bounds.num_violations(5, 5, (2, 4), 1, quick=False).value == 0
    monkeypatch.setattr(bounds, "bounds_of", lambda instance: {"wrong": 10.0 * instance.trivial()})
    assert bounds.num_violations(5, 5, (2, 4), 1, quick=False).value == 5


@pytest.mark.skipif(not COMPILED, reason="each process would compile nothing for long")
def test_processes_change_nothing_and_order_is_kept() -> None:
    checks = [*checks_of(["formulas"])[:5], *checks_of(["unit-rounds"])[:5]]
    seen = []
    alone, two = (run_checks(checks, quick=True, processes=num, on_outcome=seen.append) for num in (1, 2))
    assert [outcome.measured for outcome in alone] == [outcome.measured for outcome in two]
    assert [outcome.check.name for outcome in alone] == [check.name for check in checks]
    assert len(seen) == 20
    with pytest.raises(InputError, match="processes is 0"):
        run_checks(checks, quick=True, processes=0)


def test_the_page_shows_what_is_outside() -> None:
    outcomes = [
        a_check(group="bounds", name="in | order").judge(Measured(2.0, 0.01), quick=False, wall_s=0.0),
        a_check(group="bounds", name="far off").judge(Measured(3.0), quick=False, wall_s=0.0),
    ]
    made = report.document(outcomes, "llmqgym validate --only bounds", quick=False, wall_s=60.0)
    assert made["counts"] == {"ok": 1, "outside": 1, "not run": 0}
    page = report.markdown(made)
    assert "Generated by `llmqgym validate --only bounds`" in page
    assert "* **outside** bounds: far off: 50.00% from what is expected, allowed 5.00%" in page
    assert "| in \\| order | source | 2 | 0.1 | 2 ± 0.01 | ok |" in page
    assert page.count("**outside**") == 2


def test_random_instances_are_those_of_the_reference() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        instance = bounds.large_instance(rng)
        assert 12 <= instance.capacity_tokens <= 20
        assert 9 <= len(instance.arrival) <= 12
        assert not instance.arrival.any()
        assert set(instance.prompt_tokens) <= {1, 2, 3}
        assert (instance.prompt_tokens + instance.output_tokens <= instance.capacity_tokens).all()
