"""Time and memory of runs of any length: requests drawn as they are needed, departures measured as they leave.

    python benchmarks/scale.py [REQUESTS ...] [--markdown docs/results.md]

Each run is a process of its own, so that its peak memory is its own; the kernel is loaded before the clock starts.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from results_page import put_section, table

from baselines.registry import make_policy
from llmqgym.run import simulate
from llmqgym.simulator import load_kernel
from llmqgym.workload.generate import GeneratedWorkload
from llmqgym.workload.named import NAMED

SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
COLUMNS = (
    "requests",
    "us a request",
    "drawing and simulating",
    "metrics",
    "drawing alone",
    "peak MB",
    "Little's residual",
)
WORKLOAD = "chat_azure23"


def measure(num_requests: int) -> dict[str, Any]:
    """One run in this process: seconds of its parts, and the peak memory."""
    load_kernel()
    named = NAMED[WORKLOAD]
    workload = GeneratedWorkload(WORKLOAD, named.model, num_requests, named.rate_per_s, 0)
    simulate(GeneratedWorkload(WORKLOAD, named.model, 1000, named.rate_per_s, 0), policy=make_policy("vllm"))
    began = time.perf_counter()
    for _ in workload.chunks():
        pass
    drawn = time.perf_counter()
    result = simulate(workload, policy=make_policy("vllm"), keep_departures=False)
    done = time.perf_counter()
    return {
        "num_requests": num_requests,
        "draw_s": drawn - began,
        "all_s": done - drawn,
        "wall_s": result.wall_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "little_residual": result.summary["little_residual"],
    }


def rows(reports: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """The cells of the table."""
    found = []
    for report in reports:
        num = report["num_requests"]
        parts = (report["all_s"], report["wall_s"], report["all_s"] - report["wall_s"], report["draw_s"])
        times = (f"{part / num * 1e6:.3f}" for part in parts)
        found.append((f"{num:,}", *times, f"{report['peak_mb']:.0f}", f"{report['little_residual']:g}"))
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("requests", nargs="*", type=int, default=SIZES)
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="write the table there (docs/results.md)")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(measure(given.one)))
        return
    reports = []
    for num in given.requests:
        command = [sys.executable, __file__, "--one", str(num)]
        reports.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(*zip(COLUMNS, rows(reports)[-1], strict=True))
    if given.markdown is not None:
        text = (
            f"`python benchmarks/scale.py`, workload `{WORKLOAD}`, policy vllm: requests are drawn as they are needed "
            "and departures measured as they leave, with exact percentiles (sorted runs on disk). Wall time, one run "
            "each.\n\n"
        )
        put_section(given.markdown, "Scale", text + "\n".join(table(COLUMNS, rows(reports))))


if __name__ == "__main__":
    main()
