"""What each policy's decisions cost: requests a second of the same chat traffic under every baseline.

    python benchmarks/policies.py [--requests N] [--rounds N] [--markdown docs/results.md] [POLICY ...]

Chat at 90 % of what vLLM's defaults reach on one A100 with Llama-3-8B, with predictions off by a factor exp(0.5 N),
declared caps of the power of two beyond twice the output, four tenants and limits of 1 s and 100 ms. Processor time of
the simulation alone, least of some rounds. A policy may decide well or badly: what its schedule makes of the traffic,
and the queue that it lets grow, are part of the cost.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from results_page import put_section, table
from speed import CHAT, ENGINE, LOAD, PROFILE, SEED

from baselines.registry import POLICIES, make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware import load_profile
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.policy import Policy
from llmqgym.simulator import Simulator
from llmqgym.workload.generate import poisson_lognormal

COLUMNS = (
    "policy",
    "requests/s",
    "us a request",
    "x vllm",
    "compositions a request",
    "ns a composition",
    "mean E2E, s",
)
#: Those that search, and may be slower than the rest.
TARGET_PER_S = 100_000.0


def simulator(policy: Policy) -> Simulator:
    """A server with the defaults."""
    return Simulator(ServerConfig(), load_profile(PROFILE).to_integers(16), policy)


def chat(num_requests: int) -> np.ndarray:
    """The traffic."""
    saturated = simulator(ENGINE)
    saturated.run(iter([poisson_lognormal(20_000, 1e6, SEED, **CHAT).requests]))
    totals = saturated.totals()
    capacity = totals.num_finished / (totals.clock_ps / PS_PER_S)
    requests = poisson_lognormal(num_requests, LOAD * capacity, SEED, **CHAT).requests
    rng = np.random.default_rng(SEED)
    predicted = requests["output_tokens"] * rng.lognormal(0, 0.5, num_requests)
    requests["predicted_output_tokens"] = predicted
    requests["predicted_lower_tokens"] = requests["output_tokens"] * rng.uniform(0.3, 1.0, num_requests)
    requests["predicted_upper_tokens"] = requests["output_tokens"] * rng.uniform(1.0, 3.0, num_requests)
    requests["max_output_tokens"] = 2 ** np.ceil(np.log2(2 * requests["output_tokens"])).astype(np.int64)
    requests["tenant"] = rng.integers(0, 4, num_requests)
    requests["ttft_limit_ps"], requests["tpot_limit_ps"] = PS_PER_S, PS_PER_S // 10
    return requests


def measure(policy: Policy, requests: np.ndarray, rounds: int) -> dict[str, float]:
    """The figures of one policy."""
    best = float("inf")
    for _ in range(rounds + 1):  # the first one compiles
        sim = simulator(policy)
        chunks: Iterator[np.ndarray] = iter([requests])
        start = time.process_time_ns()
        sim.run(chunks)
        rows = sim.departures()
        best = min(best, (time.process_time_ns() - start) / 1e9)
    totals = sim.totals()
    done = rows[rows["finish_ps"] >= 0]
    return {
        "seconds": best,
        "per_s": len(requests) / best,
        "events": totals.num_events / len(requests),
        "ns_per_event": 1e9 * best / totals.num_events,
        "e2e_s": float((done["finish_ps"] - done["arrival_ps"]).mean()) / PS_PER_S,
        "unfinished": len(requests) - len(done),
    }


def row(name: str, figures: dict[str, Any], base: float) -> tuple[str, ...]:
    """A line of the table."""
    left = f" ({figures['unfinished']} unfinished)" if figures["unfinished"] else ""
    return (
        name,
        f"{figures['per_s']:,.0f}",
        f"{1e6 / figures['per_s']:.2f}",
        f"{base / figures['per_s']:.1f}",
        f"{figures['events']:.2f}",
        f"{figures['ns_per_event']:,.0f}",
        f"{figures['e2e_s']:.2f}{left}",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policies", nargs="*", metavar="POLICY", help="specs (default: every baseline)")
    parser.add_argument("--requests", type=int, default=20_000, metavar="N", help="default %(default)s")
    parser.add_argument("--rounds", type=int, default=2, metavar="N", help="default %(default)s")
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="write the table there (docs/results.md)")
    given = parser.parse_args()
    requests = chat(given.requests)
    base = measure(make_policy("vllm"), requests, given.rounds)["per_s"]
    rows = []
    for spec in given.policies or POLICIES:
        rows.append(row(spec, measure(make_policy(spec), requests, given.rounds), base))
        print(" | ".join(rows[-1]), flush=True)
    if given.markdown is not None:
        head = f"`python benchmarks/policies.py`: {given.requests:,} requests. Target: {TARGET_PER_S:,.0f} requests/s."
        put_section(given.markdown, "Policies", "\n".join([head, "", *table(COLUMNS, rows)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
