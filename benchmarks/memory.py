"""Time and memory of runs of any length: requests drawn as they are needed, departures measured as they leave.

    python benchmarks/memory.py 100000 1000000 10000000

One line a run: seconds, microseconds a request, and the peak memory of the process so far, which is not to grow.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from baselines.registry import make_policy
from llmqgym.kernel.tables import ARRIVAL, PS_PER_S
from llmqgym.run import simulate
from llmqgym.workload.source import CHUNK_REQUESTS


@dataclass(frozen=True)
class ChatStream:
    """A RequestSource: Poisson arrivals and the lengths of the chat scenario, `chunk_requests` at a time."""

    num_requests: int
    rate_per_s: float = 7.6
    seed: int = 1
    chunk_requests: int = CHUNK_REQUESTS
    name: str = "chat_stream"
    source: dict[str, object] = field(default_factory=dict)
    corrections: dict[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.num_requests

    def chunks(self) -> Iterator[NDArray[Any]]:
        rng, clock_ps = np.random.default_rng(self.seed), 0
        for first in range(0, self.num_requests, self.chunk_requests):
            requests = self._draw(rng, min(self.chunk_requests, self.num_requests - first))
            requests["arrival_ps"] += clock_ps
            clock_ps = int(requests["arrival_ps"][-1])
            yield requests

    def _draw(self, rng: np.random.Generator, num: int) -> NDArray[Any]:
        requests = np.zeros(num, ARRIVAL)
        gaps_s = rng.exponential(1 / self.rate_per_s, num)
        requests["arrival_ps"] = np.cumsum(np.rint(gaps_s * PS_PER_S).astype(np.int64))
        for name, median, sigma, most in (("prompt", 600, 1.0, 32_768), ("output", 160, 0.8, 8_192)):
            tokens = np.rint(median * np.exp(sigma * rng.standard_normal(num)))
            requests[f"{name}_tokens"] = np.clip(tokens, 1, most)
        requests["max_output_tokens"] = 8_192
        for name in ("predicted_output_tokens", "predicted_lower_tokens", "predicted_upper_tokens"):
            requests[name] = np.nan
        for name in ("ttft_limit_ps", "tpot_limit_ps", "e2e_limit_ps", "prefix_group", "program"):
            requests[name] = -1
        return requests


def main() -> None:
    for num in map(int, sys.argv[1:]):
        began = time.perf_counter()
        result = simulate(ChatStream(num), policy=make_policy("vllm"), keep_departures=False)
        spent_s = time.perf_counter() - began
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{num:>11,} requests  {spent_s:7.2f} s  {spent_s / num * 1e6:.3f} us a request, of which "
            f"{result.wall_s / num * 1e6:.3f} drawing and simulating  peak {peak_mb:.1f} MB  little_residual "
            f"{result.summary['little_residual']}"
        )


if __name__ == "__main__":
    main()
