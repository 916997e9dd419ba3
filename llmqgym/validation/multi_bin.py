"""Multi-bin batching against its throughput formula (arXiv 2412.04504): uniform lengths, batches of 128, a backlog."""

from __future__ import annotations

from functools import partial

import numpy as np

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.simulator import Simulator
from llmqgym.theory import multi_bin_uniform
from llmqgym.validation.check import Check, Measured
from llmqgym.workload.workload import make_requests

GROUP = "multi-bin"
SOURCE = "arXiv 2412.04504, reference/queueing.md 6.2"
#: Batch, shortest and longest request, and tokens of a unit of length.
BATCH, SHORT, LONG, UNIT = 128, 1.0, 20.0, 100
#: Requests per unit of length by number of bins, and gains over one bin, as printed.
PRINTED = {1: 6.4475, 2: 8.4342, 4: 9.970, 8: 10.969, 16: 11.548}
GAINS = {2: 1.308, 8: 1.701}
NUM_REQUESTS = 256_000


def spec(bins: int) -> str:
    """The policy whose bins cover the requests."""
    return f"multi-bin:bins={bins},low={SHORT * UNIT},high={LONG * UNIT}"


def throughput(policy: str, noise: float = 0.0, num: int = NUM_REQUESTS) -> float:
    """Requests per unit of length in full batches; predictions are off by a factor exp(noise N)."""
    rng = np.random.default_rng(4)
    size = rng.uniform(SHORT, LONG, num)
    requests = make_requests(
        arrival_ps=np.zeros(num, np.int64),
        prompt_tokens=np.ones(num, np.int64),
        output_tokens=np.rint(size * UNIT).astype(np.int64),
        predicted_output_tokens=size * UNIT * np.exp(noise * rng.standard_normal(num)),
    )
    server = ServerConfig(num_kv_blocks=2**40, max_running=BATCH, max_batched_tokens=2**40)
    sim = Simulator(server, load_profile("iterations").to_integers(16), make_policy(policy))
    sim.run(iter([requests]))
    return num / sim.totals().num_iterations * UNIT


def formula(bins: int, quick: bool) -> Measured:
    """The closed form."""
    return Measured(multi_bin_uniform(BATCH, bins, SHORT, LONG))


def simulated(bins: int, quick: bool) -> Measured:
    """The policy on the server."""
    return Measured(throughput(spec(bins)))


def gain(bins: int, quick: bool) -> Measured:
    """Over one bin."""
    return Measured(throughput(spec(bins)) / throughput(spec(1)))


def _check(name: str, expected: float, tolerance: float, measure: partial[Measured]) -> Check:
    allowed = tolerance * expected
    return Check(GROUP, name, SOURCE, expected, allowed, measure, quick_tolerance=allowed, cost_s=3)


CHECKS = (
    *(_check(f"throughput, {k} bins: formula", value, 1e-4, partial(formula, k)) for k, value in PRINTED.items()),
    *(_check(f"throughput, {k} bins: simulated", value, 0.01, partial(simulated, k)) for k, value in PRINTED.items()),
    *(_check(f"gain of {k} bins: simulated", value, 0.01, partial(gain, k)) for k, value in GAINS.items()),
)
