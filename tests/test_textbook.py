"""One slot, no memory limit: the simulator is a textbook queue and meets its closed forms.

Jobs of one prompt token and exponential or Weibull length, Poisson arrivals, preemption that costs nothing; times are
in mean jobs. The numbers are of the SOAP formulas for Mitzenmacher and Shahout's policies (arXiv 2503.07545), and for
SPRPT with bounce, of which there is no formula, of another simulator's 2 x 10^7 jobs. All policies of a queue meet the
same jobs. `make test-all` runs every number with a million jobs.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import pytest
from scipy.special import kv

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel.jit import COMPILED
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests

#: Tokens of the mean job, and for how long one is served.
MEAN = 2000
TOKEN_MS = 1.0
SERVER = ServerConfig(max_running=1, max_batched_tokens=2**40)


class Queue(NamedTuple):
    """A law of sizes ("exp" or "weib", both of mean 1), a load, and how predictions come about."""

    law: str
    load: float
    predictor: str = "expo"


def draw_sizes(law: str, rng: np.random.Generator, num: int) -> np.ndarray:
    """Sizes of mean 1; "weib" has P(X > x) = exp(-sqrt(2 x)) and a second moment of 6."""
    exponential = rng.exponential(1.0, num)
    return exponential if law == "exp" else exponential**2 / 2


def draw_predictions(predictor: str, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`expo`: exponential of mean x; `logn S`: x exp(S N); `unif A`: x U[1 - A, 1 + A]; `times K`: K x."""
    kind, _, value = predictor.partition(" ")
    if kind == "expo":
        return rng.exponential(sizes)
    if kind == "logn":
        return sizes * np.exp(float(value) * rng.standard_normal(len(sizes)))
    if kind == "unif":
        return sizes * rng.uniform(1 - float(value), 1 + float(value), len(sizes))
    return sizes * float(value)


@lru_cache(maxsize=2)
def jobs(queue: Queue, num: int) -> np.ndarray:
    """The workload that every policy meets. Gaps and sizes are scaled to the means they should have: what is left of
    chance is a third."""
    rng = np.random.default_rng(11)
    gaps, sizes = rng.exponential(1.0, num), draw_sizes(queue.law, rng, num)
    gaps, sizes = gaps / gaps.mean() / queue.load, sizes / sizes.mean()
    return make_requests(
        arrival_s=np.cumsum(gaps) * MEAN * TOKEN_MS / 1e3,
        prompt_tokens=np.ones(num, np.int64),
        output_tokens=np.maximum(np.rint(sizes * MEAN), 1).astype(np.int64),
        predicted_output_tokens=draw_predictions(queue.predictor, sizes, rng) * MEAN,
    )


def run(queue: Queue, policy: str, num: int) -> np.ndarray:
    """The DEPARTURE rows of a run, in the order of leaving."""
    profile = load_profile(f"constant:iteration_ms={TOKEN_MS}").to_integers(16)
    sim = Simulator(SERVER, profile, make_policy(policy))
    sim.run(iter([jobs(queue, num)]))
    rows = sim.departures()
    assert len(rows) == num
    return rows


def mean_response(queue: Queue, policy: str, num: int) -> float:
    """Mean response time, in mean jobs."""
    rows = run(queue, policy, num)
    return float((rows["finish_ps"] - rows["arrival_ps"]).mean() / (MEAN * TOKEN_MS * 1e9))


class Cell(NamedTuple):
    """A policy in a queue, and its mean response time in mean jobs."""

    queue: Queue
    policy: str
    expected: float


def _spec(name: str, *settings: str) -> str:
    return f"{name}:{','.join([*settings, 'mode=hold'])}"


def _one_bit(name: str, threshold: float, *settings: str) -> str:
    return _spec(name, f"threshold={threshold * MEAN}", *settings)


SIZE_BASED = ("fcfs", "sjf", "spjf", _spec("psjf"), _spec("pspjf"), _spec("srpt"), _spec("sprpt"))
SIZE_BASED_ROWS = {
    Queue("exp", 0.5): (2.0000, 1.7127, 1.7948, 1.5314, 1.6636, 1.4254, 1.6583),
    Queue("exp", 0.8): (5.0000, 2.8822, 3.3757, 2.6589, 3.1944, 2.3529, 3.1376),
    Queue("exp", 0.9): (10.0000, 4.1969, 5.3609, 4.0518, 5.2236, 3.5525, 5.0987),
    Queue("weib", 0.5): (4.0000, 2.7866, 2.9218, 1.4920, 1.6445, 1.4102, 1.9420),
    Queue("weib", 0.8): (13.0000, 4.6493, 5.3184, 2.4620, 3.0164, 2.2183, 3.5199),
}
#: spjf, pspjf, sprpt under lognormal noise at load 0.8.
NOISE_ROWS = {
    ("exp", 0.25): (2.9427, 2.7257, 2.4708),
    ("exp", 0.5): (3.0805, 2.8772, 2.7118),
    ("exp", 1): (3.3885, 3.2149, 3.1648),
    ("exp", 1.5): (3.6440, 3.4951, 3.4889),
    ("exp", 2): (3.8403, 3.7109, 3.7209),
    ("weib", 0.25): (4.6975, 2.5005, 2.3539),
    ("weib", 0.5): (4.8320, 2.6105, 2.6311),
    ("weib", 1): (5.2679, 2.9858, 3.2828),
    ("weib", 1.5): (5.7968, 3.4679, 3.9113),
    ("weib", 2): (6.3297, 3.9738, 4.4803),
}
BIASES = (0.25, 0.5, 0.8, 1, 1.25, 2, 4)
#: sprpt with predictions K times the truth at load 0.8.
BIAS_ROWS = {
    "exp": (2.651, 2.485, 2.374, 2.353, 2.371, 2.451, 2.549),
    "weib": (3.586, 2.826, 2.316, 2.218, 2.246, 2.322, 2.392),
}
#: sprpt with uniform noise of half the size.
UNIFORM_ROW = {0.5: 1.4755, 0.7: 1.9758, 0.8: 2.5089, 0.9: 3.8500}
#: trail by C; 0 stands for the limit, which is spjf.
TRAIL_ROWS = {
    Queue("exp", 0.8): {0: 3.3757, 0.2: 3.1942, 0.5: 3.1596, 0.8: 3.1429, 1: 3.1375},
    Queue("exp", 0.7, "logn 0.5"): {0: 2.4099, 0.5: 2.1265, 0.8: 2.1000, 1: 2.0950},
    Queue("exp", 0.9, "times 1"): {0: 4.1973, 0.2: 3.8921, 0.5: 3.6403, 0.8: 3.5588, 1: 3.5525},
}
BOUNCE_ROW = {
    Queue("exp", 0.8): 3.117,
    Queue("exp", 0.8, "logn 1"): 3.152,
    Queue("weib", 0.8): 2.986,
    Queue("weib", 0.8, "logn 1"): 2.987,
    Queue("weib", 0.8, "unif 0.5"): 2.371,
}
_FIFO = ("preemptive=false", "front=false")
EXP_5, EXP_8, EXP_9, WEIB_8 = Queue("exp", 0.5), Queue("exp", 0.8), Queue("exp", 0.9), Queue("weib", 0.8)
#: The best thresholds; shorts last come first unless said otherwise.
ONE_BIT_CELLS = [
    Cell(EXP_5, _one_bit("one-bit-true", 1.279, *_FIFO), 1.7822),
    Cell(EXP_5, _one_bit("one-bit-true", 1.279), 1.5644),
    Cell(EXP_5, _one_bit("one-bit", 0.920), 1.6971),
    Cell(EXP_8, _one_bit("one-bit-true", 1.717, *_FIFO), 3.3285),
    Cell(EXP_8, _one_bit("one-bit-true", 1.717), 2.9107),
    Cell(EXP_8, _one_bit("one-bit", 1.461), 3.4513),
    Cell(EXP_9, _one_bit("one-bit-true", 2.100, *_FIFO), 5.2837),
    Cell(EXP_9, _one_bit("one-bit-true", 2.100), 4.7596),
    Cell(EXP_9, _one_bit("one-bit", 2.035), 5.9630),
    Cell(WEIB_8, _one_bit("one-bit-true", 5.07), 2.9550),
    Cell(WEIB_8, _one_bit("one-bit", 5.41), 3.4851),
]
OTHER_CELLS = [
    Cell(EXP_8, _one_bit("skip-predict", 1), 3.1907),
    Cell(EXP_9, _one_bit("skip-predict", 2), 5.4270),
    Cell(Queue("exp", 0.9, "times 1"), _one_bit("skip-predict", 1), 3.6098),
    Cell(Queue("weib", 0.5), _spec("las", f"quantum={MEAN // 100}"), 1.8216),
    Cell(WEIB_8, _spec("las", f"quantum={MEAN // 100}"), 3.9531),
]


def all_cells() -> list[Cell]:
    """Every number, those of one queue together."""
    cells = [Cell(queue, *pair) for queue, row in SIZE_BASED_ROWS.items() for pair in zip(SIZE_BASED, row, strict=True)]
    for (law, sigma), row in NOISE_ROWS.items():
        policies = ("spjf", _spec("pspjf"), _spec("sprpt"))
        cells += [Cell(Queue(law, 0.8, f"logn {sigma}"), *pair) for pair in zip(policies, row, strict=True)]
    for law, row in BIAS_ROWS.items():
        pairs = zip(BIASES, row, strict=True)
        cells += [Cell(Queue(law, 0.8, f"times {factor}"), _spec("sprpt"), value) for factor, value in pairs]
    cells += [Cell(Queue("exp", load, "unif 0.5"), _spec("sprpt"), value) for load, value in UNIFORM_ROW.items()]
    for queue, by_c in TRAIL_ROWS.items():
        cells += [Cell(queue, _spec("trail", f"c={c}"), value) for c, value in by_c.items()]
    cells += [Cell(queue, _spec("sprpt-bounce"), value) for queue, value in BOUNCE_ROW.items()]
    return sorted(cells + ONE_BIT_CELLS + OTHER_CELLS, key=lambda cell: cell.queue)


CELLS = all_cells()
#: As stated for a million jobs.
TOLERANCE = {0.5: 0.005, 0.7: 0.02, 0.8: 0.02, 0.9: 0.05}


def name_of(cell: Cell) -> str:
    """For the list of tests."""
    return f"{cell.queue.law} {cell.queue.load} {cell.queue.predictor} {cell.policy.removesuffix(':mode=hold')}"


def is_representative(cell: Cell) -> bool:
    """Whether a number is among those of every run: each policy, law and load at least once."""
    law, load, predictor = cell.queue
    if cell.policy.startswith(("las", "sprpt-bounce")):
        return cell.queue == WEIB_8
    return predictor == "expo" or (law == "weib" and predictor in ("logn 1", "times 0.25")) or load == 0.7


simulated = pytest.mark.skipif(not COMPILED, reason="so many jobs take hours in plain Python")


@simulated
@pytest.mark.parametrize("cell", [*filter(is_representative, CELLS)], ids=name_of)
def test_mean_response_time(cell: Cell) -> None:
    slow = cell.policy.startswith(("las", "sprpt-bounce"))
    measured = mean_response(cell.queue, cell.policy, 100_000 if slow else 300_000)
    assert measured == pytest.approx(cell.expected, rel=0.03 if cell.queue.law == "exp" else 0.05)


@simulated
@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=name_of)
def test_mean_response_time_of_a_million_jobs(cell: Cell) -> None:
    tolerance = 0.05 if cell.queue.law == "weib" else TOLERANCE[cell.queue.load]
    assert mean_response(cell.queue, cell.policy, 1_000_000) == pytest.approx(cell.expected, rel=tolerance)


def one_bit_response(load: float, short: tuple[float, float, float], preemptive: bool) -> float:
    """Mean response under one bit with shorts by arrival, for exponential jobs; `short`: P(short), and the first and
    second moment of a job's size counted only if it is short."""
    share, first, second = short
    rho, wait = load * first, load
    longs = (1 - share) * wait / ((1 - rho) * (1 - load))
    if preemptive:
        return longs + (1 - first) / (1 - rho) + first + share * load * second / (2 * (1 - rho))
    return longs + 1 + wait * share / (1 - rho)


def true_shorts(threshold: float) -> tuple[float, float, float]:
    """`short` for exponential jobs below the threshold."""
    t, tail = threshold, math.exp(-threshold)
    return 1 - tail, 1 - (1 + t) * tail, 2 - (t * t + 2 * t + 2) * tail


def predicted_shorts(threshold: float) -> tuple[float, float, float]:
    """`short` for exponential jobs whose exponential prediction is below the threshold."""
    t, root = threshold, 2 * math.sqrt(threshold)
    return 1 - root * kv(1, root), 1 - 2 * t * kv(2, root), 2 - 2 * t**1.5 * kv(3, root)


@simulated
@pytest.mark.parametrize("preemptive", [False, True])
@pytest.mark.parametrize("load", [0.5, 0.8])
def test_one_bit_with_shorts_by_arrival(load: float, preemptive: bool) -> None:
    for name, shorts in (("one-bit-true", true_shorts), ("one-bit", predicted_shorts)):
        for threshold in (0.7, 1.7):
            policy = _one_bit(name, threshold, f"preemptive={preemptive}", "front=false")
            expected = one_bit_response(load, shorts(threshold), preemptive)
            assert mean_response(Queue("exp", load), policy, 300_000) == pytest.approx(expected, rel=0.02)


@simulated
def test_better_information_serves_better() -> None:
    order = [_spec("srpt"), _spec("sprpt"), _spec("pspjf"), "spjf", "fcfs"]
    responses = [mean_response(EXP_8, policy, 100_000) for policy in order]
    assert responses == sorted(responses)


@simulated
def test_trail_preempts_as_often_as_its_limit_lets_it() -> None:
    """Preemptions a job; the two ends are SPJF and SPRPT, job by job."""
    for c, expected in {0.2: 0.130, 0.5: 0.267, 0.8: 0.325, 1: 0.337}.items():
        rows = run(EXP_8, _spec("trail", f"c={c}"), 300_000)
        assert rows["num_preemptions"].sum() / len(rows) == pytest.approx(expected, rel=0.02)
    for c, twin in ((0, "spjf"), (1, _spec("sprpt"))):
        ours, theirs = run(EXP_8, _spec("trail", f"c={c}"), 50_000), run(EXP_8, twin, 50_000)
        assert np.array_equal(ours["id"], theirs["id"])
        assert np.array_equal(ours["finish_ps"], theirs["finish_ps"])


@simulated
def test_a_first_estimate_that_stands_is_a_prediction() -> None:
    ours, theirs = run(WEIB_8, _spec("spt"), 50_000), run(WEIB_8, _spec("pspjf"), 50_000)
    assert np.array_equal(ours["finish_ps"], theirs["finish_ps"])


@simulated
def test_noise_makes_sprpt_worse_than_no_prediction() -> None:
    """On heavy tails blind LAS overtakes SPRPT between sigma 1.5 and 2, and PSPJF does near 0.5."""
    blind = mean_response(WEIB_8, _spec("las", f"quantum={MEAN // 50}"), 100_000)
    sprpt = {s: mean_response(Queue("weib", 0.8, f"logn {s}"), _spec("sprpt"), 100_000) for s in (1, 2)}
    assert sprpt[1] < blind < sprpt[2]
    for sigma, better in ((0.25, "sprpt"), (1, "pspjf")):
        queue = Queue("weib", 0.8, f"logn {sigma}")
        assert min(("sprpt", "pspjf"), key=lambda name: mean_response(queue, _spec(name), 100_000)) == better
