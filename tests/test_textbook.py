"""The textbook queue where no table says what comes out: honest intervals, whole tokens, policies that are one.

The printed tables are in llmqgym/validation/theory_tables.py, and their checks run in tests/validation/test_quick.py.
"""

from __future__ import annotations

import numpy as np
import pytest

from baselines.registry import make_policy
from llmqgym.kernel.jit import COMPILED
from llmqgym.textbook import TWINS, Queue, Run, ask, estimate, simulate
from llmqgym.textbook import queue as queue_module
from llmqgym.textbook.compare import Agreement, compare
from llmqgym.textbook.estimate import jobs_wanted
from llmqgym.theory import Density, Law, exponential, make_law, make_prediction
from llmqgym.theory.predictions import PERFECT

if not COMPILED:
    pytest.skip("so many jobs take hours in plain Python", allow_module_level=True)

EXP_8 = Queue(exponential(), 0.8, make_prediction("exponential"))
WEIB_8 = Queue(make_law("weibull"), 0.8, make_prediction("exponential"))


def run(queue: Queue, policy: str, num: int, seed: int = 0, **how: int) -> Run:
    asked = ask(policy, queue)
    tokens = how.pop("tokens_per_job", asked.twin.tokens_per_job or queue.tokens_per_job(num))
    return simulate(queue, make_policy(asked.spec(tokens)), num, seed, tokens_per_job=tokens, **how)


def response(queue: Queue, policy: str, num: int = 100_000) -> float:
    return estimate(run(queue, policy, num)).mean


@pytest.mark.parametrize("policy", ["fcfs", "srpt", "sprpt", "one-bit"])
def test_19_of_20_intervals_hold_the_formula(policy: str) -> None:
    """Of 60: 51 and fewer have a chance of 0.3 %; 60 would be no wonder."""
    queue = Queue(exponential(), 0.6, make_prediction("exponential"))
    asked = ask(policy, queue)
    formula = asked.formula()
    assert formula is not None
    found = [estimate(run(queue, policy, 20_000, seed), in_order=policy == "fcfs") for seed in range(60)]
    away = np.array([(each.mean - formula) / each.half_width_95 for each in found])
    assert (abs(away) <= 1).sum() >= 52
    assert abs(away.mean()) < 0.25
    # Nor are they wider than they need to be.
    assert 0.7 < np.std([each.mean for each in found]) * 2 / np.mean([each.half_width_95 for each in found]) < 1.4


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("law", ["lognormal:sigma=0.8", "weibull:shape=2"])
def test_every_policy_meets_its_formula_for_other_laws(name: str, law: str) -> None:
    queue = Queue(make_law(law), 0.65, make_prediction("uniform:a=0.7"))
    found = compare(ask(name, queue), make_policy, 150_000, seed=4, within=0.03)
    assert found.agreement is (Agreement.NOTHING if TWINS[name].formula is None else Agreement.AGREE), found


@pytest.mark.parametrize("variant", ["front", "in-order", "no-preemption"])
@pytest.mark.parametrize("name", ["one-bit", "one-bit-true"])
def test_variants_of_one_bit(name: str, variant: str) -> None:
    for threshold in (0.7, 1.7):
        asked = ask(f"{name}:threshold={threshold},variant={variant}", EXP_8)
        assert compare(asked, make_policy, 150_000, within=0.03).agreement is Agreement.AGREE


def test_predictions_are_paid_for() -> None:
    free, paid = (
        compare(ask(f"skip-predict:threshold=1{cost}", EXP_8), make_policy, 100_000)
        for cost in ("", ",cheap_cost=0.1,expensive_cost=2")
    )
    assert free.formula is not None and paid.formula is not None  # noqa: PT018
    assert free.simulated is not None and paid.simulated is not None  # noqa: PT018
    cost = paid.formula - free.formula
    assert cost == pytest.approx(0.1 + 2 * 0.280, abs=1e-3)
    assert paid.simulated.mean - free.simulated.mean == pytest.approx(cost, rel=0.02)


def test_whole_tokens_are_fine_enough() -> None:
    """A hundred times as many tokens a job change the mean by less than a thousandth."""
    for policy in ("fcfs", "sprpt", "psjf"):
        coarse, fine = (run(EXP_8, policy, 20_000, tokens_per_job=tokens) for tokens in (1300, 130_000))
        assert coarse.response.mean() == pytest.approx(fine.response.mean(), rel=1e-3)
    assert EXP_8.tokens_per_job(10**7) > 100_000


def test_policies_meet_the_same_jobs_and_other_seeds_others() -> None:
    ours, theirs = run(EXP_8, "srpt", 20_000), run(EXP_8, "fcfs", 20_000)
    for name in ("gap", "size", "square", "wait"):
        assert np.array_equal(getattr(ours, name), getattr(theirs, name))
    assert not np.array_equal(run(EXP_8, "srpt", 20_000, seed=1).gap, ours.gap)


def test_the_wait_of_fcfs_is_lindleys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no size is cut off the control is the response itself, whatever the chunks."""
    monkeypatch.setattr(queue_module, "_exceeded_once_in", lambda law, num: 1e9)
    monkeypatch.setattr(queue_module, "CHUNK", 777)
    found = run(EXP_8, "fcfs", 20_000, tokens_per_job=100_000)
    assert np.allclose(found.response, found.wait + found.size, rtol=1e-4)


@pytest.mark.parametrize(
    ("law", "heavy", "least"), [("exp", True, 1e3), ("weibull", True, 4e5), ("weibull", False, 1e4)]
)
def test_heavy_tails_want_more_jobs(law: str, heavy: bool, least: float) -> None:
    queue = Queue(make_law("exponential" if law == "exp" else law), 0.5)
    assert least < jobs_wanted(queue, heavy) < 3 * 10**6
    assert jobs_wanted(Queue(queue.law, 0.99), heavy) > 10**6
    assert jobs_wanted(Queue(make_law("lognormal:sigma=2"), 0.5), heavy=True) > 10**9


def test_a_difference_is_found() -> None:
    """A formula for true sizes is not that of predictions."""
    found = compare(ask("sprpt", EXP_8), make_policy, 200_000)
    assert found.agreement is Agreement.AGREE
    wrong = ask("sprpt", EXP_8)
    object.__setattr__(wrong, "formula", lambda: ask("sprpt", Queue(EXP_8.law, 0.8, PERFECT)).formula())
    assert compare(wrong, make_policy, 200_000).agreement is Agreement.DIFFER


@pytest.mark.parametrize(
    "law", [make_law("weibull"), make_law("lognormal:sigma=1"), Density(lambda x: 4 * x * np.exp(-2 * x))]
)
def test_samples_are_of_the_law(law: Law) -> None:
    sizes = np.sort(law.sample(200_000, np.random.default_rng(3)))
    shares = 1 - law.sf(sizes)
    assert np.abs(shares - (np.arange(len(sizes)) + 0.5) / len(sizes)).max() < 1.95 / len(sizes) ** 0.5


def test_better_information_serves_better() -> None:
    responses = [response(EXP_8, policy) for policy in ("srpt", "sprpt", "pspjf", "spjf", "fcfs")]
    assert responses == sorted(responses)


def test_policies_that_are_one() -> None:
    """TRAIL at its two ends, and the first estimate where estimates stand."""
    for ours, theirs in (("trail:cutoff=0", "spjf"), ("trail:cutoff=1", "sprpt"), ("spt", "pspjf")):
        assert np.array_equal(run(EXP_8, ours, 50_000).response, run(EXP_8, theirs, 50_000).response)


def test_noise_makes_sprpt_worse_than_no_prediction() -> None:
    """On heavy tails blind LAS overtakes SPRPT between sigma 1.5 and 2, and PSPJF does near 0.5."""
    noisy = {sigma: Queue(WEIB_8.law, 0.8, make_prediction(f"lognormal:sigma={sigma}")) for sigma in (0.25, 1, 2)}
    assert response(noisy[1], "sprpt") < response(WEIB_8, "las") < response(noisy[2], "sprpt")
    for sigma, better in ((0.25, "sprpt"), (1, "pspjf")):
        assert min(("sprpt", "pspjf"), key=lambda name: response(noisy[sigma], name)) == better
