"""How tight the certified bounds are, on each shipped scenario against the best of some policies; and what they cost.

python benchmarks/bounds.py [--requests 20000] [--markdown docs/results.md]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from results_page import put_section, table

from baselines.registry import make_policy
from llmqgym.bounds import LatencyBounds, ideal_hits, latency_bounds
from llmqgym.hardware import load_profile
from llmqgym.run import simulate
from llmqgym.scenario import ScenarioConfig, load_scenario, with_traffic
from llmqgym.shipped import shipped_names
from llmqgym.traffic import at_load, build_workload
from llmqgym.workload.workload import Workload, as_table

TITLE = "Bounds"
#: All that know the true lengths, and two that do not.
POLICIES = ("vllm", "prefill-first", "sjf", "srpt", "srpt:mode=hold", "psjf", "mc-sf-true", "volume-sf")
COLUMNS = ("scenario", "E2E bound", "by", "best policy", "ratio", "TTFT bound", "by", "best policy", "ratio")
COSTS = ("of 100,000 requests", "drawing them, s", "bounds, s", "peak MB")
MEASURED = ("chat", "kv-bound", "reasoning", "long-context")


def scenario_of(name: str, num_requests: int) -> tuple[ScenarioConfig, Workload]:
    """A shipped scenario at its own load, and its requests."""
    chosen, _ = at_load(with_traffic(load_scenario(name), None, None, num_requests=num_requests))
    return chosen, as_table(build_workload(chosen))


def bounds_of(chosen: ScenarioConfig, requests: Workload) -> LatencyBounds:
    """With the hits that the server's prefix caching may have."""
    server, profile = chosen.server, load_profile(chosen.profile).to_integers(chosen.server.block_size)
    hits = ideal_hits(requests.requests, requests.hashes, server.block_size) if server.prefix_caching else None
    return latency_bounds(requests.requests, profile, server, hits)


def best_policies(chosen: ScenarioConfig, requests: Workload) -> dict[str, tuple[float, str]]:
    """The least mean E2E time and TTFT in s, and whose it is; predictions are true."""
    best: dict[str, tuple[float, str]] = {}
    for name in POLICIES:
        summary = simulate(
            requests,
            policy=make_policy(name),
            server=chosen.server,
            profile=chosen.profile,
            predictor="perfect",
            seed=chosen.seed,
            keep_departures=False,
        ).summary
        if summary["num_unfinished"] == 0:
            for metric in ("e2e_s", "ttft_s"):
                best[metric] = min(best.get(metric, (float("inf"), "")), (summary[metric]["mean"], name))
    return best


def row_of(name: str, num_requests: int) -> tuple[str, ...]:
    """A line of the table."""
    chosen, requests = scenario_of(name, num_requests)
    bounds, policies = bounds_of(chosen, requests), best_policies(chosen, requests)
    cells = [name]
    for metric, found in (("e2e_s", bounds.e2e_s), ("ttft_s", bounds.ttft_s)):
        of = max(found, key=lambda each: found[each])
        mean, policy = policies[metric]
        cells += [f"{found[of]:.4g} s", of.replace("_", " "), f"{policy} {mean:.4g} s", f"{found[of] / mean:.2f}"]
    print(" | ".join(cells), flush=True)
    return tuple(cells)


def cost_of(name: str) -> tuple[str, ...]:
    """Time and peak memory of 100,000 requests, in a process of its own."""
    out = subprocess.run([sys.executable, __file__, "--cost", name], capture_output=True, text=True, check=True)
    print(out.stdout.strip(), flush=True)
    return tuple(out.stdout.strip().split("|"))


def measure_cost(name: str) -> str:
    """What `cost_of` prints."""
    began = time.perf_counter()
    chosen, requests = scenario_of(name, 100_000)
    drawn = time.perf_counter()
    bounds_of(chosen, requests)
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"{name}|{drawn - began:.1f}|{done - drawn:.1f}|{peak:.0f}"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--markdown", type=Path, help="Write the table into this page.")
    parser.add_argument("--cost", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.cost is not None:
        print(measure_cost(given.cost))
        return
    rows: list[Any] = [row_of(name, given.requests) for name in shipped_names()]
    costs = [cost_of(name) for name in MEASURED]
    if given.markdown is not None:
        put_section(given.markdown, TITLE, page(rows, costs, given.requests))


def page(rows: list[tuple[str, ...]], costs: list[tuple[str, ...]], num_requests: int) -> str:
    """The section."""
    text = [
        f"`python benchmarks/bounds.py --requests {num_requests} --markdown docs/results.md`: the largest bound on the",
        f"mean of {num_requests:,} requests of each scenario at its own load ([bounds.md](bounds.md)), and the least",
        f"mean among {', '.join(POLICIES)}, with true lengths. No policy can be below; a ratio of 1 would be optimal.",
        "",
        *table(COLUMNS, rows),
        "",
        *table(COSTS, costs),
    ]
    return "\n".join(text)


if __name__ == "__main__":
    main()
