"""One slot, no memory limit: the simulator is a textbook queue and meets its closed forms (reference: arXiv
2503.07545).

Mean job 1,000 tokens of 1 ms; load 0.8, exponential sizes. The numbers are those of M/M/1 (FCFS) and of the SOAP
formulas for SJF, SRPT and, with exponential predictions, SPRPT; tolerances for 3 x 10^5 jobs.
"""

from __future__ import annotations

import numpy as np
import pytest

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel.jit import COMPILED
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests

NUM_JOBS = 300_000


def mean_response(policy: str) -> float:
    """Mean response time in units of the mean job."""
    rng = np.random.default_rng(11)
    size = np.maximum(np.rint(rng.exponential(1000, NUM_JOBS)), 1)
    requests = make_requests(
        arrival_s=np.cumsum(rng.exponential(1 / 0.8, NUM_JOBS)),
        prompt_tokens=np.ones(NUM_JOBS, np.int64),
        output_tokens=size.astype(np.int64),
        predicted_output_tokens=rng.exponential(size),
    )
    server = ServerConfig(max_running=1, max_batched_tokens=2**40)
    sim = Simulator(server, load_profile("constant:iteration_ms=1").to_integers(16), make_policy(policy))
    sim.run(iter([requests]))
    rows = sim.departures()
    assert len(rows) == NUM_JOBS
    return float((rows["finish_ps"] - rows["arrival_ps"]).mean() / 1e12)


@pytest.mark.skipif(not COMPILED, reason="three hundred thousand jobs take hours in plain Python")
@pytest.mark.parametrize(
    ("policy", "expected"),
    [("vllm", 5.0), ("sjf", 2.8822), ("srpt:mode=hold", 2.3529), ("sprpt:mode=hold", 3.1376), ("spjf", 3.3757)],
)
def test_mean_response_time(policy: str, expected: float) -> None:
    assert mean_response(policy) == pytest.approx(expected, rel=0.03)
