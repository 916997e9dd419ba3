"""The formulas against their twin (twin.py), and against Bessel functions and adaptive quadrature.

Cells of the reference that its own grid misses, each settled here by an independent sum (printed -> value):
exp SRPT .8 2.3529 -> 2.35277, .9 3.5525 -> 3.55213; exp/expo .8 SPJF 3.3757 -> 3.37579, PSPJF 3.1944 -> 3.19448,
SPRPT 3.1376 -> 3.13752; .9 SPJF 5.3609 -> 5.36102, PSPJF 5.2236 -> 5.22378, SPRPT 5.0987 -> 5.09853; predicted bit,
front, .8 3.4513 -> 3.45168, .9 5.9630 -> 5.96459; exp/unif .9 3.8500 -> 3.84954; weib/unif .8 SPRPT 2.423 (printed
beside a simulation) -> 2.42993; SPRPT over SRPT at .99 1.640 -> 1.6419.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import kn
from theory.twin import Twin

from llmqgym.theory import exponential, make_law, make_prediction, one_bit, pspjf, spjf, sprpt, srpt, trail
from llmqgym.theory.joint import joint_of

EXPO = make_prediction("exponential")
exactly = partial(quad, epsabs=1e-12, epsrel=1e-12, limit=500)


@pytest.mark.parametrize(
    ("law", "prediction", "cutoff", "tolerance"),
    [
        ("exponential", "exponential", 1.0, 1e-7),
        ("weibull:shape=0.5", "exponential", 1.0, 1e-6),
        ("weibull:shape=0.5", "lognormal:sigma=1", 1.0, 1e-6),
        ("lognormal:sigma=1", "lognormal:sigma=0.25", 1.0, 1e-6),
        ("lognormal:sigma=1", "lognormal:sigma=2", 1.0, 1e-6),
        ("exponential", "exponential", 0.5, 1e-5),  # its integrand has corners, on which the twin is less exact
        ("weibull:shape=0.5", "uniform:a=0.5", 1.0, 1e-4),
        ("exponential", "uniform:a=0.5", 0.8, 2e-4),
    ],
)
def test_twin(law: str, prediction: str, cutoff: float, tolerance: float) -> None:
    size, predicted = make_law(law), make_prediction(prediction)
    twin = Twin(size, predicted, cutoff)
    for load in (0.3, 0.8, 0.95):
        assert spjf(size, load, predicted) == pytest.approx(twin.spjf(load, size.second_moment), rel=tolerance)
        assert pspjf(size, load, predicted) == pytest.approx(twin.pspjf(load), rel=tolerance)
        assert trail(size, load, predicted, cutoff=cutoff) == pytest.approx(twin.remaining(load), rel=tolerance)


def test_bessel_tables() -> None:
    """Exponential sizes and predictions (reference 2): share, work and second moment in closed form."""
    y = np.geomspace(1e-4, 40, 30)
    root = 2 * np.sqrt(y)
    expected = [1 - root * kn(1, root), 1 - 2 * y * kn(2, root), 2 - 2 * y**1.5 * kn(3, root)]
    joint = joint_of(exponential(), EXPO)
    np.testing.assert_allclose(joint.moments(y), expected, rtol=1e-9, atol=1e-11)
    recycled = (1 - 2 / math.e) * 2 * joint.y**1.5 * kn(3, 2 * np.sqrt(joint.y))
    np.testing.assert_allclose(joint.remaining(1.0).recycled, recycled, atol=1e-7)


def bessel(load: float) -> tuple[float, float, float]:
    """SPJF, PSPJF and SPRPT of exponential sizes and predictions, s = sqrt(y)."""

    def mean(values) -> float:  # type: ignore[no-untyped-def]
        return exactly(lambda s: 2 * s * values(s * s, 2 * s), 1e-9, 25)[0]

    def slack(y: float, k: float) -> float:
        return 1 - load * (1 - 2 * y * kn(2, k))

    def above(y: float, k: float) -> float:
        return 2 * y**1.5 * kn(3, k)

    nonpreemptive = 1 + mean(lambda y, k: 2 * kn(0, k) * load / slack(y, k) ** 2)
    preemptive = mean(lambda y, k: kn(0, k) * load * (2 - above(y, k)) / slack(y, k) ** 2) - math.log(1 - load) / load
    wait = mean(lambda y, k: kn(0, k) * load * (2 - 2 / math.e * above(y, k)) / slack(y, k) ** 2)
    served = mean(lambda y, k: (1 - 1 / math.e) * k * kn(1, k) * (1 / slack(y, k) - 1))
    return nonpreemptive, preemptive, 1 + wait + served


@pytest.mark.parametrize("load", [0.5, 0.8, 0.9, 0.99])
def test_bessel_means(load: float) -> None:
    values = [formula(exponential(), load, EXPO) for formula in (spjf, pspjf, sprpt)]
    assert values == pytest.approx(bessel(load), rel=1e-7)


@pytest.mark.parametrize("load", [0.5, 0.8, 0.9, 0.99])
def test_srpt_by_quadrature(load: float) -> None:
    def slack(x: float) -> float:
        return 1 - load * (1 - math.exp(-x) * (1 + x))

    def wait(x: float) -> float:
        second = 2 - math.exp(-x) * (x * x + 2 * x + 2) + x * x * math.exp(-x)
        return math.exp(-x) * load * second / 2 / slack(x) ** 2

    served = exactly(lambda x: math.exp(-x) / slack(x), 0, 60)[0]
    assert srpt(exponential(), load) == pytest.approx(exactly(wait, 0, 60)[0] + served, rel=1e-9)


@pytest.mark.parametrize(("load", "threshold"), [(0.5, 0.920), (0.8, 1.461), (0.9, 2.035)])
def test_predicted_bit_by_bessel(load: float, threshold: float) -> None:
    """At the thresholds printed in the reference the response is 1.69718, 3.45175 and 5.96506, above its cells."""
    root = 2 * math.sqrt(threshold)
    num_long, slack = root * kn(1, root), 1 - load * (1 - 2 * threshold * kn(2, root))
    expected = num_long * load / (slack * (1 - load)) + 1 / slack
    assert one_bit(exponential(), load, EXPO, threshold=threshold) == pytest.approx(expected, rel=1e-9)
