"""How fast the kernel is: requests per second and core against a hand-written C twin (twin.c) with the same results.

    python benchmarks/speed.py [--quick] [--requests N] [--rounds N] [--json OUT]

Candidates take turns in one process, their processor time is measured, and every one must give the same totals and the
same departures. Timed is the simulation alone, from the first call to the table of departures; not the workload, not
compilation. The traffic resembles the Azure conversation trace (prompts of 1150 tokens, outputs of 210 in the mean) at
90 % of capacity. The kernel runs with the engine's defaults (no hook), and with the same policy spelled out in hooks:
its order only, or order, fit and victim; through function pointers and inlined.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numba
import numpy as np
from c_twin import FLAGS, BenchmarkError, CTwin, Facts, facts_of_c, facts_of_kernel, same_departures
from results_page import put_section
from rich.console import Console
from speed_report import markdown, show

from llmqgym.config import ServerConfig
from llmqgym.hardware import IntegerProfile, load_profile
from llmqgym.kernel import tables
from llmqgym.policy import Policy
from llmqgym.simulator import Simulator
from llmqgym.workload.generate import poisson_lognormal

ROOT = Path(__file__).resolve().parents[1]
PROFILE = "a100-llama-3-8b"
LOAD = 0.9
SEED = 7
#: What must be reached: requests/s per core, and times of C with the hooks inlined and through function pointers.
TARGETS = {"requests_per_s": 500_000.0, "inline_to_c": 1.3, "pointers_to_c": 1.8}


# Policy vllm again, through hooks. The engine's own gate, order and victim, spelled out for the server's fields.


def order_of_arrival(request: Any, server: Any) -> float:
    """First come first served: one key for all."""
    return 0.0


def engine_gate(request: Any, server: Any) -> bool:
    """The admission gate of docs/model.md."""
    sequence = request.prompt_tokens + request.generated_tokens
    stored = sequence
    if not server.reserve_full_isl:
        tokens = sequence - request.computed_tokens
        threshold = server.long_prefill_token_threshold
        if 0 < threshold < tokens and server.num_running + server.num_waiting > 1:
            tokens = threshold
        stored = request.computed_tokens + min(tokens, server.budget_tokens)
    needed = (stored + server.block_size - 1) // server.block_size - request.kv_blocks
    if server.num_running > 0:
        needed += server.watermark_blocks
    return bool(needed <= server.free_kv_blocks - server.reserved_kv_blocks)


def last_admitted(running: Any, requester: Any, server: Any) -> float:
    """The engine's victim."""
    return float(running.admit_seq)


ENGINE = Policy("vllm")
ORDER_ONLY = Policy("vllm-by-order", order=order_of_arrival)
ALL_HOOKS = Policy(
    "vllm-by-hooks", order=order_of_arrival, fit=engine_gate, victim=last_admitted, wake=math.inf, reads_running=False
)


# Loads and candidates.


@dataclass(frozen=True)
class Load:
    """Requests for one server, at a share of its capacity."""

    name: str
    server: ServerConfig
    profile: IntegerProfile
    requests: np.ndarray
    rate_per_s: float
    capacity_per_s: float


@dataclass
class Candidate:
    """A way to simulate a load. `prepare` is not timed; it returns what is, and that returns facts and departures."""

    name: str
    prepare: Callable[[Load], Callable[[], tuple[Any, np.ndarray]]]
    facts: Callable[[Any], Facts]
    cpu_s: list[float] = field(default_factory=list)


def c_candidate(twin: CTwin, name: str = "C") -> Candidate:
    def prepare(load: Load) -> Callable[[], tuple[Any, np.ndarray]]:
        settings = twin.settings(load.server, load.profile)
        return lambda: twin.run(settings, load.requests)

    return Candidate(name, prepare, facts_of_c)


def kernel_candidate(name: str, policy: Policy, **how: Any) -> Candidate:
    def prepare(load: Load) -> Callable[[], tuple[Any, np.ndarray]]:
        simulator = Simulator(load.server, load.profile, policy, **how)
        chunks: Iterator[np.ndarray] = iter([load.requests])

        def run() -> tuple[Any, np.ndarray]:
            simulator.run(chunks)
            departures = simulator.departures()
            return simulator.totals(), departures

        return run

    return Candidate(name, prepare, facts_of_kernel)


#: Lengths of the loads: keyword arguments of the generator.
CHAT = {"prompt_median": 700.0, "prompt_sigma": 1.0, "output_median": 152.0, "output_sigma": 0.8}
LONG_OUTPUTS = {
    "prompt_median": 300.0,
    "prompt_sigma": 1.0,
    "output_median": 1700.0,
    "output_sigma": 1.0,
    "output_max": 16_384,
}


def make_load(name: str, num_requests: int, lengths: dict[str, Any], server: ServerConfig) -> Load:
    """Poisson traffic at 90 % of the throughput that the server reaches with everybody there from the start."""
    profile = load_profile(PROFILE).to_integers(server.block_size)
    saturated = poisson_lognormal(min(num_requests, 20_000), 1e6, SEED, **lengths).requests
    simulator = Simulator(server, profile, ENGINE)
    simulator.run(iter([saturated]))
    totals = simulator.totals()
    capacity = totals.num_finished / (totals.clock_ps / tables.PS_PER_S)
    requests = poisson_lognormal(num_requests, LOAD * capacity, SEED, **lengths).requests
    return Load(name, server, profile, requests, LOAD * capacity, capacity)


def measure(load: Load, candidates: list[Candidate], rounds: int) -> dict[str, Any]:
    """Let the candidates take turns; times, ratios to the first, and the run's facts. Raises if they do not agree."""
    reference: tuple[Facts, np.ndarray] | None = None
    for candidate in candidates:  # warm up, compile, compare
        candidate.cpu_s = []
        facts, departures = candidate.prepare(load)()
        result = candidate.facts(facts), departures
        if reference is None:
            reference = result
        elif not same_departures(reference[1], departures):
            raise BenchmarkError(f"{load.name}: departures of {candidate.name} differ from {candidates[0].name}.")
        wrong = [k for k in reference[0] if k != "num_events" and reference[0][k] != result[0][k]]
        if wrong:
            told = ", ".join(f"{k} {result[0][k]} instead of {reference[0][k]}" for k in wrong)
            raise BenchmarkError(f"{load.name}: {candidate.name} differs from {candidates[0].name}: {told}.")
    assert reference is not None
    for turn in range(rounds):
        for place in range(len(candidates)):
            candidate = candidates[(place + turn) % len(candidates)]
            run = candidate.prepare(load)
            start = time.process_time_ns()
            run()
            candidate.cpu_s.append((time.process_time_ns() - start) / 1e9)
    return {
        "requests": len(load.requests),
        "rate_per_s": load.rate_per_s,
        "capacity_per_s": load.capacity_per_s,
        "mean_prompt_tokens": float(load.requests["prompt_tokens"].mean()),
        "mean_output_tokens": float(load.requests["output_tokens"].mean()),
        "facts": reference[0],
        "candidates": {c.name: _figures(c, candidates[0], load, reference[0]["num_events"]) for c in candidates},
    }


def _figures(candidate: Candidate, first: Candidate, load: Load, num_events: int) -> dict[str, float]:
    best, median, num = min(candidate.cpu_s), statistics.median(candidate.cpu_s), len(load.requests)
    return {
        "min_s": best,
        "median_s": median,
        "requests_per_s": num / best,
        "requests_per_s_median": num / median,
        "ns_per_request": 1e9 * best / num,
        "ns_per_event": 1e9 * best / num_events,
        "to_c": best / min(first.cpu_s),
        "to_c_median": median / statistics.median(first.cpu_s),
    }


def naive_seconds(load: Load, num_requests: int) -> float:
    """Processor time of tests/naive.py on the first requests of a load."""
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        import naive  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    server, p = load.server, load.profile
    blocks = p.num_kv_blocks if server.num_kv_blocks is None else server.num_kv_blocks
    twin = naive.Simulator(
        [
            naive.Request(i, int(r["arrival_ps"]), int(r["prompt_tokens"]), int(r["output_tokens"]))
            for i, r in enumerate(load.requests[:num_requests])
        ],
        naive.Server(blocks, server.block_size, server.max_running, server.max_batched_tokens),
        naive.Profile(
            p.base,
            p.token,
            p.decode_base,
            p.decode,
            p.kv,
            p.prefill_base,
            float(p.root),
            p.square,
            p.tile,
            list(p.table),
            p.tail,
        ),
        naive.Policy(),
    )
    start = time.process_time()
    twin.run()
    return time.process_time() - start


def run(
    num_requests: int = 100_000, rounds: int = 9, quick: bool = False, say: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """All measurements; `quick` leaves out the compilation of the inlined hooks, the million and the naive twin."""
    twin = CTwin()
    candidates = [
        c_candidate(twin),
        kernel_candidate("kernel", ENGINE),
        kernel_candidate("kernel, order by pointer", ORDER_ONLY),
        kernel_candidate("kernel, 3 hooks by pointer", ALL_HOOKS),
    ]
    if not quick:
        say("compiling the kernel around the hooks (twice half a minute)")
        candidates += [
            kernel_candidate("kernel, order inlined", ORDER_ONLY, inline=True),
            kernel_candidate("kernel, 3 hooks inlined", ALL_HOOKS, inline=True),
        ]
    candidates.append(c_candidate(CTwin(("-O2", *FLAGS[2:])), "C, -O2"))
    report: dict[str, Any] = {
        "machine": {"processor": platform.processor() or platform.machine(), "python": platform.python_version()}
        | {"numba": numba.__version__, "compiler": twin.description},
        "targets": TARGETS,
        "loads": {},
    }
    loads = [
        ("chat at 90 %", num_requests, CHAT, ServerConfig()),
        ("long outputs at 90 %", num_requests // 5, LONG_OUTPUTS, ServerConfig()),
        ("chat at 90 %, short of KV blocks", num_requests // 2, CHAT, ServerConfig(num_kv_blocks=2000)),
    ]
    for name, num, lengths, server in loads:
        say(name)
        load = make_load(name, num, lengths, server)
        report["loads"][name] = measure(load, candidates, rounds)
    report["curve"] = _curve(twin, [10**4, 10**5] if quick else [10**4, 10**5, 10**6], rounds, say)
    if not quick:
        report["slow"] = _slow(num_requests, say)
    return report


def _curve(twin: CTwin, sizes: list[int], rounds: int, say: Callable[[str], None]) -> list[dict[str, float]]:
    """Cost per request by length of the run."""
    curve = []
    whole = make_load("curve", max(sizes), CHAT, ServerConfig())
    for num in sizes:
        say(f"{num} requests")
        load = Load(
            f"{num} requests", whole.server, whole.profile, whole.requests[:num], whole.rate_per_s, whole.capacity_per_s
        )
        pair = [c_candidate(twin), kernel_candidate("kernel", ENGINE)]
        figures = measure(load, pair, max(3, rounds) if num < 10**6 else 3)["candidates"]
        curve.append(
            {"requests": num, "kernel_ns": figures["kernel"]["ns_per_request"], "c_ns": figures["C"]["ns_per_request"]}
        )
    return curve


def _slow(num_requests: int, say: Callable[[str], None]) -> dict[str, float]:
    """Iteration by iteration, and in plain Python."""
    say("iteration by iteration; plain Python")
    load = make_load("slow", min(num_requests, 20_000), CHAT, ServerConfig())
    pair = [kernel_candidate("events", ENGINE), kernel_candidate("iterations", ENGINE, step_by_step=True)]
    reports = measure(load, pair, 3)
    stepwise = reports["candidates"]["iterations"]["ns_per_request"]
    num = 300
    naive_ns = 1e9 * naive_seconds(load, num) / num
    return {
        "kernel_ns": reports["candidates"]["events"]["ns_per_request"],
        "step_by_step_ns": stepwise,
        "iterations_per_request": reports["facts"]["num_iterations"] / len(load.requests),
        "naive_ns": naive_ns,
    }


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="a minute less: no inlined hooks, no run of a million requests"
    )
    parser.add_argument(
        "--requests", type=int, default=100_000, metavar="N", help="length of the main load (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=9, metavar="N", help="turns of each candidate (default %(default)s)"
    )
    parser.add_argument("--json", type=Path, metavar="OUT", help="write the figures there as well")
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="and the tables there (docs/results.md)")
    given = parser.parse_args(arguments)
    if given.requests < 100 or given.rounds < 1:
        parser.error("--requests needs 100 or more, --rounds 1 or more.")
    console, progress = Console(), Console(stderr=True)
    try:
        report = run(
            given.requests, given.rounds, given.quick, say=lambda text: progress.print(f"[dim]{text} ...[/dim]")
        )
    except BenchmarkError as error:
        progress.print(f"error: {error}", style="red", markup=False)
        return 1
    show(report, console)
    if given.json is not None:
        given.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if given.markdown is not None:
        put_section(given.markdown, "Speed", markdown(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
