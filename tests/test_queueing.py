"""One slot is a single-server queue, whatever the arrivals: exact waits, Kingman's formula, and the laws of streams.

A job is an output of 2,000 tokens of 0.1 ms on average behind a prompt of one token; waits are in units of the mean
job. Formulas are taken at the load that a run really had, whose chance deviation the wait at load 0.9 magnifies
tenfold. What is left of three million jobs is an error of 1 % with Poisson arrivals and of 2 % with bursty ones.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from scipy.optimize import brentq

from baselines.registry import make_policy
from llmqgym import scenario as sc
from llmqgym.config import ServerConfig
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.run import simulate
from llmqgym.traffic import at_load, build_workload
from llmqgym.workload.arrivals import make_arrivals
from llmqgym.workload.compare import index_of_dispersion
from llmqgym.workload.generate import GeneratedWorkload
from llmqgym.workload.model import TrafficModel

MEAN_S = 0.2
#: Sizes with their squared coefficient of variation, all with the same mean.
SIZES = {
    "constant": ("constant:tokens=2000", 0.0),
    "lognormal": (f"lognormal:median={2000 * math.exp(-0.125)},sigma=0.5", math.exp(0.25) - 1),
    "exponential": ("weibull:shape=1,scale=2000", 1.0),
}
simulated = pytest.mark.skipif(not COMPILED, reason="millions of jobs take days in plain Python")


class Queue(NamedTuple):
    """What a queue was like."""

    wait: float  # mean, in mean jobs
    rho: float  # share of the time in which the server was busy


@cache
def queue(arrivals: str, sizes: str, rho: float = 0.9, modulation: str = "", num: int = 3_000_000) -> Queue:
    """A run of `num` jobs; Little's law holds exactly in each."""
    model = TrafficModel(
        prompt="constant:tokens=1",
        output=SIZES[sizes][0],
        arrivals=arrivals,
        modulation=(modulation,) if modulation else (),
    )
    run = simulate(
        GeneratedWorkload("queue", model, num, rho / MEAN_S, 1),
        policy=make_policy("vllm"),
        server=ServerConfig(max_running=1),
        profile="constant:iteration_ms=0.1",
        keep_departures=False,
    )
    assert run.summary["num_finished"] == num
    assert run.summary["little_residual"] == 0
    return Queue(run.summary["queue_s"]["mean"] / MEAN_S, run.summary["output_tokens_per_s"] * 1e-4)


def kingman(rho: float, ca: float, cs2: float) -> float:
    """Kingman's approximation; for Poisson arrivals (ca = 1) it is Pollaczek and Khinchine's exact mean."""
    return rho / (1 - rho) * (ca * ca + cs2) / 2


def exponential_server(transform: Callable[[float], float]) -> float:
    """Mean wait of GI/M/1, from the Laplace transform of the gaps with time in mean jobs: sigma / (1 - sigma), where
    sigma = transform(1 - sigma) is the chance to find the server busy."""
    busy = brentq(lambda share: transform(1 - share) - share, 1e-9, 1 - 1e-6)
    return float(busy / (1 - busy))


# Renewal arrivals


@simulated
@pytest.mark.parametrize("sizes", SIZES)
def test_poisson_arrivals_wait_as_pollaczek_and_khinchine_say(sizes: str) -> None:
    found = queue("poisson", sizes)
    assert found.rho == pytest.approx(0.9, rel=0.005)
    assert found.wait == pytest.approx(kingman(found.rho, 1.0, SIZES[sizes][1]), rel=0.03)


BURSTY = [
    ("gamma:cv=1.5", 1.5, "exponential"),
    ("gamma:cv=2", 2.0, "exponential"),
    ("gamma:cv=3", 3.0, "exponential"),
    ("weibull:cv=2", 2.0, "exponential"),
    ("gamma:cv=2", 2.0, "lognormal"),
]


@simulated
@pytest.mark.parametrize(("arrivals", "cv", "sizes"), BURSTY)
def test_bursty_arrivals_wait_as_kingman_says(arrivals: str, cv: float, sizes: str) -> None:
    found = queue(arrivals, sizes)
    assert found.rho == pytest.approx(0.9, rel=0.005)
    assert found.wait == pytest.approx(kingman(found.rho, cv, SIZES[sizes][1]), rel=0.1)


@simulated
@pytest.mark.parametrize("cv", [1.5, 2.0, 3.0])
def test_gamma_gaps_before_an_exponential_server_meet_the_exact_wait(cv: float) -> None:
    found = queue(f"gamma:cv={cv:g}", "exponential")
    exact = exponential_server(lambda s: (1 + s * cv * cv / found.rho) ** (-1 / (cv * cv)))
    assert found.wait == pytest.approx(exact, rel=0.04)


@simulated
def test_a_metronome_waits_less_than_kingman_says() -> None:
    found = queue("regular", "exponential")
    assert found.wait < kingman(found.rho, 0.0, 1.0)
    assert found.wait == pytest.approx(exponential_server(lambda s: math.exp(-s / found.rho)), rel=0.03)
    assert queue("regular", "constant", num=10_000).wait == 0


# A modulated rate


def switched_poisson(rho: float, on_s: float, off_s: float) -> Callable[[float], float]:
    """Transform of the gaps, with time in mean jobs, of Poisson arrivals switched on and off: a renewal process with
    gaps of two phases (Kuczura, Bell System Technical Journal 52, 1973)."""
    rate = rho * (on_s + off_s) / on_s  # while on
    off, on = MEAN_S / on_s, MEAN_S / off_s  # rates of switching
    return lambda s: rate * (s + on) / (s * s + (rate + off + on) * s + rate * on)


@simulated
def test_bursts_wait_longer_the_longer_they_last_and_exactly_as_long_as_they_must() -> None:
    steady = queue("poisson", "exponential", 0.8, num=1_500_000)
    assert steady.wait == pytest.approx(kingman(steady.rho, 1.0, 1.0), rel=0.03)
    waits = [steady.wait]
    for mean_s in (0.8, 3.2):
        found = queue("poisson", "exponential", 0.8, f"on_off:on_s={mean_s},off_s={mean_s}", 1_500_000)
        assert found.wait == pytest.approx(exponential_server(switched_poisson(found.rho, mean_s, mean_s)), rel=0.04)
        waits.append(found.wait)
    assert waits == sorted(waits)
    assert waits[-1] > 4 * waits[0]


# Many clients


@cache
def dispersion(num: int, cv: float, window_s: float) -> float:
    """Index of dispersion of `num` equal clients with one request a second together, once they are under way."""
    arrival_s = make_arrivals(f"clients:num={num},zipf=0,cvs={cv}", [])(1.0, 3).take(200_000)[0] / PS_PER_S
    arrival_s = arrival_s[arrival_s > 10 * num]  # all clients begin at once
    return index_of_dispersion(arrival_s - arrival_s[0], window_s)


@pytest.mark.parametrize("cv", [0.5, 1.0, 1.5])
def test_many_sparse_clients_together_are_nearly_poisson(cv: float) -> None:
    """Palm and Khinchin: what one client does within a window matters less and less."""
    far = [abs(dispersion(num, cv, 10.0) - 1) for num in (1, 10, 100, 1000)]
    assert far[0] == pytest.approx(abs(cv * cv - 1), abs=0.15)
    assert far[-1] < 0.16
    assert cv == 1.0 or all(later < sooner for sooner, later in pairwise(far))


@pytest.mark.parametrize("cv", [0.5, 1.5])
def test_the_dispersion_of_equal_clients_is_that_of_one_in_its_own_time(cv: float) -> None:
    """Variances and means of independent clients add alike."""
    assert dispersion(10, cv, 10.0) == pytest.approx(dispersion(1, cv, 1.0), rel=0.05)


# Separate streams


POLICIES = [
    ("vllm", None),
    ("vllm-priority", "none"),
    ("static", "perfect"),
    ("spjf", "lognormal:sigma=1"),
    ("sprpt:mode=recompute", "lognormal:sigma=2"),
    ("sprpt:mode=swap", "one_bit:threshold=400,error=0.1"),
    ("spjf", "refreshing"),
    ("spjf", "rank:tau=0.5"),
]


@pytest.mark.parametrize("name", ["chat-azure", "kv-bound", "reasoning", "multi-tenant"])
def test_every_policy_and_predictor_meets_the_same_requests(name: str) -> None:
    scenario, _ = at_load(sc.with_traffic(sc.load_scenario(name), None, num_requests=400 if COMPILED else 20))
    fields = ["id", "arrival_ps", "prompt_tokens", "output_tokens", "priority", "tenant"]
    met, waits = [], set()
    for policy, predictor in POLICIES:
        chosen = dataclasses.replace(scenario, policy=policy, predictor=predictor)
        run = simulate(
            build_workload(chosen),
            policy=make_policy(chosen.policy),
            server=chosen.server,
            profile=chosen.profile,
            predictor=chosen.predictor,
            seed=chosen.seed,
        )
        rows = np.sort(run.departures, order="id")
        assert run.summary["little_residual"] == 0
        met.append([rows[field].tobytes() for field in fields])
        waits.add(run.summary["e2e_s"]["mean"])
    assert all(each == met[0] for each in met)
    assert len(waits) > 1
