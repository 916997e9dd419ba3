"""Laws of sizes and of predictions: densities and moments agree, and with the workload's predictors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import k0

from llmqgym.errors import InputError
from llmqgym.theory import (
    Density,
    Lognormal,
    Weibull,
    exponential,
    fcfs,
    las,
    make_law,
    make_prediction,
    mean_response,
    one_bit,
    pspjf,
    spjf,
    sprpt,
    srpt,
)
from llmqgym.theory.density import Thinned
from llmqgym.theory.joint import joint_of
from llmqgym.theory.quadrature import log_edges, log_nodes
from llmqgym.workload.predictors import Draws, make_predictor

LAWS = [
    exponential(),
    Weibull(0.5),
    Weibull(2.0),
    Lognormal(1.0),
    Density(lambda x: np.where((x > 1) & (x < 20), 1 / 19, 0.0), jumps=(1.0, 20.0)),
    Density(lambda x: 4 * x * np.exp(-2 * x)),
    Thinned(exponential(), make_prediction("exponential"), 1.0),
    Thinned(Weibull(0.5), make_prediction("uniform:a=0.5"), 0.7),
]


@pytest.mark.parametrize("law", LAWS)
def test_moments_are_integrals_of_the_density(law) -> None:  # type: ignore[no-untyped-def]
    for x, order in itertools.product((0.3, 1.7), range(3)):
        points = [np.log(point) for point in law.breaks if point < x]
        expected, _ = quad(
            lambda u, order=order: np.exp(u) ** (order + 1) * law.pdf(np.exp(np.array([u])))[0],
            np.log(law.support[0]),
            np.log(x),
            points=points or None,
            limit=500,
        )
        assert law.partial_moment(order, np.array([x]))[0] == pytest.approx(expected, rel=1e-6, abs=1e-9)
        ends = law.tail_moment(order, np.array([law.support[0], np.inf]))
        assert ends == pytest.approx([law.moment(order), 0], abs=1e-9)
    assert law.sf(np.array([0.5]))[0] == pytest.approx(law.tail_moment(0, np.array([0.5]))[0])


@pytest.mark.parametrize("law", LAWS[:6])
def test_mean_is_one(law) -> None:  # type: ignore[no-untyped-def]
    x, dx = log_nodes(log_edges(*law.support, 0.1, law.breaks))
    assert [(law.pdf(x) * x**k * dx).sum() for k in range(3)] == pytest.approx([1, 1, law.second_moment], rel=1e-7)


@pytest.mark.parametrize(
    ("density", "law"),
    [
        (lambda x: 3 * np.exp(-3 * x), exponential()),
        (lambda x: np.exp(-np.sqrt(2 * x)) / np.sqrt(2 * x), Weibull(0.5)),
    ],
)
def test_a_law_by_its_density(density, law) -> None:  # type: ignore[no-untyped-def]
    """The density alone gives what the closed forms give, whatever its unit."""
    prediction = make_prediction("exponential")
    own = Density(density)
    for formula in (fcfs, las, spjf, pspjf, sprpt, srpt, one_bit):
        assert formula(own, 0.8, prediction) == pytest.approx(formula(law, 0.8, prediction), rel=1e-8)


def test_a_bounded_density() -> None:
    """Uniform on (0, 2), load 0.5, SJF: 1 + load E[X^2] / 2 E[(1 - load X^2 / 4)^-2], by adaptive quadrature."""
    law = Density(lambda x: np.where(x < 2, 0.5, 0.0), jumps=(2.0,))
    wait, _ = quad(lambda x: 0.5 / (1 - 0.5 * x * x / 4) ** 2, 0, 2)
    assert spjf(law, 0.5) == pytest.approx(1 + 0.5 * (4 / 3) / 2 * wait, rel=1e-9)


@pytest.mark.parametrize(
    "spec", ["perfect", "bias:k=0.5", "exponential", "uniform:a=0.3", "uniform:a=1", "lognormal:sigma=0.7"]
)
def test_the_workload_predicts_alike(spec: str) -> None:
    """The workload's predictor, the sampler, the cdf and the nodes of the ratio follow one law."""
    prediction, num = make_prediction(spec), 40_000
    tokens = np.full(num, 1000, np.int64)
    theirs = make_predictor(spec).predict(tokens, Draws(5)).point / 1000
    ours = prediction.sample(np.ones(num), np.random.default_rng(5))
    ratio, weight = prediction.nodes()
    for point in (0.25, 0.6, 0.95, 1.2, 2.5):
        chance = float(prediction.cdf(np.array(1000 * point), np.array(1000.0)))
        for sample in (theirs, ours):
            assert (sample <= point).mean() == pytest.approx(chance, abs=0.012)
        low, high = prediction.support
        if low < min(high, point):
            inside, width = log_nodes(log_edges(low, min(high, point), 0.1))
            assert (prediction.ratio_pdf(inside) * width).sum() == pytest.approx(chance, abs=1e-9)
    assert (ratio * weight).sum() == pytest.approx(theirs.mean(), rel=0.02)


def test_the_prediction_has_a_density() -> None:
    """f_p of exponential sizes and predictions is 2 K0(2 sqrt(y)); it sums to 1 for every pair."""
    joint = joint_of(exponential(), make_prediction("exponential"))
    np.testing.assert_allclose(joint.chance, 2 * k0(2 * np.sqrt(joint.y)) * joint.dy, atol=1e-12)
    for law, spec in itertools.product(LAWS[:6], ("perfect", "uniform:a=0.5", "lognormal:sigma=2")):
        assert joint_of(law, make_prediction(spec)).chance.sum() == pytest.approx(1, abs=1e-7)


@pytest.mark.parametrize(
    "spec", ["gamma", "weibull:shape=0", "weibull:k=2", "lognormal:sigma=9", "weibull:shape=nan", "weibull:shape=x"]
)
def test_bad_laws(spec: str) -> None:
    with pytest.raises(InputError):
        make_law(spec)


@pytest.mark.parametrize("spec", ["one_bit", "bias:k=0", "uniform:a=2", "lognormal:sigma=-1", "lognormal:sigma=nan"])
def test_bad_predictions(spec: str) -> None:
    with pytest.raises(InputError):
        make_prediction(spec)


@pytest.mark.parametrize("load", [0, 1, 1.2, -0.1, float("nan"), "0.5", True])
def test_bad_load(load: object) -> None:
    for policy in ("fcfs", "las", "sprpt", "spjf", "pspjf", "one-bit", "skip-predict"):
        with pytest.raises(InputError, match="between 0 and 1"):
            mean_response(policy, exponential(), load)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "policy",
    [
        "srtp",
        "trail:cutoff=1.5",
        "trail:c=1",
        "one-bit:variant=back",
        "one-bit:error_long=2",
        "skip-predict:threshold=0",
    ],
)
def test_bad_policy(policy: str) -> None:
    with pytest.raises(InputError):
        mean_response(policy, exponential(), 0.5)


def test_a_density_that_is_none() -> None:
    with pytest.raises(InputError, match="integrates to 2"):
        Density(lambda x: 2 * np.exp(-x))
    with pytest.raises(InputError, match="second moment"):
        Density(lambda x: np.where(x > 1, 1.5 * x**-2.5, 0.0), jumps=(1.0,))
