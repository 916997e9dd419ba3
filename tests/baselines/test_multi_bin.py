"""Multi-bin batching against its throughput formula (arXiv 2412.04504): uniform lengths, batches of 128, a backlog."""

from __future__ import annotations

import numpy as np
import pytest

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel.jit import COMPILED
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests

#: Batch, shortest and longest request, and tokens of a unit of length.
BATCH, SHORT, LONG, UNIT = 128, 1.0, 20.0, 100


def throughput(policy: str, noise: float = 0.0, num: int = 256_000) -> float:
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
    assert len(sim.departures()) == num
    return num / sim.totals().num_iterations * UNIT


def formula(bins: int) -> float:
    """B / E[longest of a batch]."""
    return BATCH / ((SHORT + LONG) / 2 + (BATCH - 1) / (BATCH + 1) * (LONG - SHORT) / 2 / bins)


def spec(bins: int) -> str:
    """The policy whose bins cover the requests."""
    return f"multi-bin:bins={bins},low={SHORT * UNIT},high={LONG * UNIT}"


@pytest.mark.skipif(not COMPILED, reason="a quarter of a million requests take hours in plain Python")
@pytest.mark.parametrize(("bins", "printed"), [(1, 6.4475), (2, 8.4342), (4, 9.970), (8, 10.969), (16, 11.548)])
def test_throughput(bins: int, printed: float) -> None:
    assert formula(bins) == pytest.approx(printed, rel=1e-4)
    assert throughput(spec(bins)) == pytest.approx(printed, rel=0.01)


@pytest.mark.skipif(not COMPILED, reason="a quarter of a million requests take hours in plain Python")
def test_gains() -> None:
    """x 1.308 with two bins and x 1.701 with eight; one bin is static batching; noise costs."""
    one, two, eight = (throughput(spec(bins)) for bins in (1, 2, 8))
    assert two / one == pytest.approx(1.308, rel=0.01)
    assert eight / one == pytest.approx(1.701, rel=0.01)
    assert throughput("static") == one
    assert one < throughput(spec(8), noise=1.0) < throughput(spec(8), noise=0.3) < eight
