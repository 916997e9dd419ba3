"""Limits and orders that hold whatever the numbers: where two policies are one, and which is better."""

from __future__ import annotations

import itertools

import pytest

from llmqgym.theory import (
    POLICIES,
    fcfs,
    las,
    make_law,
    make_prediction,
    mean_response,
    one_bit,
    pspjf,
    skip_predict,
    spjf,
    sprpt,
    srpt,
    trail,
)
from llmqgym.theory.skip_predict import short_jobs

LAWS = [make_law(spec) for spec in ("exponential", "weibull:shape=0.5", "weibull:shape=3", "lognormal:sigma=1.2")]
PREDICTIONS = [
    make_prediction(spec) for spec in ("perfect", "exponential", "lognormal:sigma=1", "uniform:a=0.5", "bias:k=0.5")
]
PAIRS = list(itertools.product(LAWS, PREDICTIONS))


@pytest.mark.parametrize(("law", "prediction"), PAIRS)
def test_cutoff_joins_spjf_to_sprpt(law, prediction) -> None:  # type: ignore[no-untyped-def]
    for load in (0.5, 0.9):
        assert trail(law, load, prediction, cutoff=1.0) == sprpt(law, load, prediction)
        assert trail(law, load, prediction, cutoff=0.0) == pytest.approx(spjf(law, load, prediction), rel=1e-9)
        assert trail(law, load, prediction, cutoff=1e-5) == pytest.approx(spjf(law, load, prediction), rel=1e-3)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("formula", [spjf, pspjf, sprpt, one_bit])
def test_no_noise_is_the_truth(law, formula) -> None:  # type: ignore[no-untyped-def]
    exact = formula(law, 0.8)
    for spec in ("lognormal:sigma=0.001", "uniform:a=0.001"):
        assert formula(law, 0.8, make_prediction(spec)) == pytest.approx(exact, rel=1e-4)
    for spec in ("bias:k=1", "lognormal:sigma=0", "uniform:a=0"):
        assert formula(law, 0.8, make_prediction(spec)) == exact


@pytest.mark.parametrize("law", LAWS)
def test_bias_keeps_the_order(law) -> None:  # type: ignore[no-untyped-def]
    """A factor changes neither SPJF nor PSPJF, and large factors make SPRPT and PSPJF meet."""
    for formula in (spjf, pspjf):
        for k in (0.1, 3.0):
            assert formula(law, 0.8, make_prediction(f"bias:k={k}")) == pytest.approx(formula(law, 0.8), rel=1e-9)
    far = sprpt(law, 0.8, make_prediction("bias:k=100000"))
    assert far == pytest.approx(pspjf(law, 0.8), rel=1e-3)


@pytest.mark.parametrize(("law", "prediction"), PAIRS)
def test_srpt_is_the_optimum(law, prediction) -> None:  # type: ignore[no-untyped-def]
    for load in (0.5, 0.95):
        least = srpt(law, load)
        for policy in POLICIES:
            assert mean_response(policy, law, load, prediction) >= least * (1 - 1e-12), policy
        assert spjf(law, load) <= spjf(law, load, prediction) * (1 + 1e-12)
        assert spjf(law, load, prediction) <= fcfs(law, load) * (1 + 1e-12)
        bit = one_bit(law, load, prediction, variant="no-preemption")
        assert spjf(law, load, prediction) <= bit * (1 + 1e-12) <= fcfs(law, load) * (1 + 2e-12)


@pytest.mark.parametrize(("law", "prediction"), PAIRS[::5])
def test_an_idle_server_takes_the_mean_job(law, prediction) -> None:  # type: ignore[no-untyped-def]
    for policy in POLICIES:
        assert mean_response(policy, law, 1e-9, prediction) == pytest.approx(1, abs=1e-6), policy


def test_noise_hurts_in_order() -> None:
    """weib, load 0.8: each step of noise costs; PSPJF overtakes SPRPT near 0.5; blind LAS does between 1.5 and 2."""
    law = make_law("weibull:shape=0.5")
    predictions = {sigma: make_prediction(f"lognormal:sigma={sigma}") for sigma in (0, 0.25, 0.5, 1, 1.5, 2)}
    for formula in (spjf, pspjf, sprpt):
        values = [formula(law, 0.8, prediction) for prediction in predictions.values()]
        assert values == sorted(values)
    assert sprpt(law, 0.8, predictions[0.25]) < pspjf(law, 0.8, predictions[0.25])
    assert sprpt(law, 0.8, predictions[1]) > pspjf(law, 0.8, predictions[1])
    assert sprpt(law, 0.8, predictions[1.5]) < las(law, 0.8) < sprpt(law, 0.8, predictions[2])


def test_blind_policies_on_memoryless_jobs() -> None:
    """M/M/1: what does not look at sizes responds in 1 / (1 - load); so does the bit in order at either end."""
    law, expo = LAWS[0], PREDICTIONS[1]
    for load in (0.1, 0.5, 0.9):
        expected = pytest.approx(1 / (1 - load), rel=1e-8)
        assert fcfs(law, load) == expected
        assert las(law, load) == expected
        for threshold in (1e-12, 1e6):
            assert one_bit(law, load, expo, threshold=threshold, variant="in-order") == expected
            assert one_bit(law, load, expo, threshold=threshold, variant="no-preemption") == expected


@pytest.mark.parametrize(("law", "prediction"), PAIRS[1::4])
def test_skip_predict_ends(law, prediction) -> None:  # type: ignore[no-untyped-def]
    """Nobody short: SPRPT with a prediction bought by all. All short: FCFS."""
    none = skip_predict(law, 0.8, prediction, threshold=1e-9, expensive_cost=2.0)
    assert none == pytest.approx(sprpt(law, 0.8, prediction) + 2, rel=2e-4)
    every = skip_predict(law, 0.8, prediction, threshold=1e9, expensive_cost=2.0)
    assert every == pytest.approx(fcfs(law, 0.8), rel=1e-6)


def test_predictions_that_say_nothing() -> None:
    """Noise so wide that the order is chance: every policy of predictions lies between its own truth and about FCFS."""
    law, prediction = make_law("lognormal:sigma=1"), make_prediction("lognormal:sigma=10")
    for formula in (spjf, one_bit):
        assert formula(law, 0.8) < formula(law, 0.8, prediction) < fcfs(law, 0.8)
    for formula in (pspjf, sprpt):
        assert formula(law, 0.8) < formula(law, 0.8, prediction) < 1.05 * fcfs(law, 0.8)


def test_narrow_laws_are_resolved() -> None:
    """Nearly equal jobs and a ratio that ends abruptly, near saturation: between SRPT and FCFS."""
    law, prediction = make_law("weibull:shape=5"), make_prediction("uniform:a=1")
    for formula in (spjf, sprpt, skip_predict):
        assert srpt(law, 0.999) <= formula(law, 0.999, prediction) <= fcfs(law, 0.999)


def test_predictions_cost_what_is_bought() -> None:
    law, prediction = LAWS[0], make_prediction("exponential")
    share_long = 1 - short_jobs(law, prediction, 1.0)[0]
    free = skip_predict(law, 0.8, prediction, threshold=1.0)
    paid = skip_predict(law, 0.8, prediction, threshold=1.0, cheap_cost=0.1, expensive_cost=0.5)
    assert paid == pytest.approx(free + 0.1 + 0.5 * share_long)
