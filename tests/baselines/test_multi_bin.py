"""Multi-bin batching where no formula says how much: one bin is static batching, noise costs."""

from __future__ import annotations

import pytest

from llmqgym.kernel.jit import COMPILED
from llmqgym.validation.multi_bin import spec, throughput


@pytest.mark.skipif(not COMPILED, reason="a quarter of a million requests take hours in plain Python")
def test_noise_costs() -> None:
    one, eight = throughput(spec(1)), throughput(spec(8))
    assert throughput("static") == one
    assert one < throughput(spec(8), noise=1.0) < throughput(spec(8), noise=0.3) < eight
