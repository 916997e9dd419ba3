"""Logs of the real vLLM scheduler, those in golden/ and others: reading them, replaying them, the first difference."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.metrics.decision_log import steps
from llmqgym.simulator import Simulator
from llmqgym.workload.traces.open import read_trace

#: Logs that are part of the project.
GOLDEN = Path(__file__).parent / "golden"
#: The logs count iterations: one lasts a second of simulated time.
UNIT_PS = 10**12
#: Figures of the footer that count iterations, which only where an iteration lasts a unit are times.
_TIMES = ("first_token_iter", "finish_iter")
#: vLLM's scheduling policies under our names.
POLICIES = {"fcfs": "vllm", "priority": "vllm-priority"}
_ENDING = ".jsonl.gz"
#: The settings of the server under our names.
_SETTINGS = {
    "max_running": "max_num_seqs",
    "max_batched_tokens": "max_num_batched_tokens",
    "block_size": "block_size",
    "chunked_prefill": "chunked_prefill",
    "long_prefill_token_threshold": "long_prefill_token_threshold",
    "watermark": "watermark",
    "reserve_full_isl": "reserve_full_isl",
    "prefix_caching": "prefix_caching",
}


@dataclass(frozen=True)
class VllmLog:
    """One log: what was set, what was decided step by step, what came of it."""

    path: Path
    header: dict[str, Any]
    steps: list[dict[str, Any]]
    footer: dict[str, Any]

    @property
    def name(self) -> str:
        """Of the file, without its ending."""
        return self.path.name.removesuffix(_ENDING)

    @property
    def trace(self) -> Path:
        """The requests."""
        return self.path.with_name(f"{self.name}.csv")

    @property
    def params(self) -> dict[str, Any]:
        """Settings under vLLM's names."""
        params: dict[str, Any] = self.header["params"]
        return params

    @property
    def unit_ps(self) -> int | None:
        """The length of an iteration where all last as long; None where time is a clock's, in units of UNIT_PS."""
        return UNIT_PS if self._step == (1, 0) else None

    @property
    def profile(self) -> str:
        """The hardware: an iteration takes `step_base` and `step_per_token` ticks."""
        base, per_token = self._step
        return "iterations" if self.unit_ps else f"linear:base_ms={1000 * base},token_ms={1000 * per_token}"

    @property
    def _step(self) -> tuple[int, int]:
        return self.params.get("step_base", 1), self.params.get("step_per_token", 0)

    @property
    def server(self) -> dict[str, Any]:
        """The settings of the server under our names."""
        return {
            "num_kv_blocks": self.header["usable_blocks"],
            **{ours: self.params[vllm] for ours, vllm in _SETTINGS.items() if vllm in self.params},
        }


def names_in(folder: Path) -> list[str]:
    """The logs of a folder."""
    return sorted(path.name.removesuffix(_ENDING) for path in folder.glob(f"*{_ENDING}"))


def read_log(name: str, folder: Path = GOLDEN) -> VllmLog:
    """Read FOLDER/NAME.jsonl.gz."""
    path = folder / f"{name}{_ENDING}"
    with gzip.open(path, "rt") as file:
        lines = [json.loads(line) for line in file]
    return VllmLog(path, lines[0], lines[1:-1], lines[-1])


def replay(of: VllmLog, **how: Any) -> Simulator:
    """The kernel on a log's trace and settings; `how` goes to the Simulator."""
    server = ServerConfig(**of.server)
    profile = load_profile(of.profile).to_integers(server.block_size)
    sim = Simulator(server, profile, make_policy(POLICIES[of.params["policy"]]), **how)
    sim.run(iter([read_trace(of.trace).requests]))
    return sim


def differing_steps(log: VllmLog, ours: Iterable[dict[str, Any]]) -> Iterator[str]:
    """A line for each step that differs, showing both side by side."""
    for number, (theirs, mine) in enumerate(zip_longest(log.steps, ours)):
        if theirs != mine:
            yield f"{log.name}, step {number}: vLLM {json.dumps(theirs)}, ours {json.dumps(mine)}"


def differing_figures(log: VllmLog, sim: Simulator) -> Iterator[str]:
    """A line for each figure of the footer that differs: iterations of first tokens and finishes, totals."""
    rows = sim.departures()
    rows = rows[rows["id"].argsort()]
    totals = sim.totals()
    ours: dict[str, Any] = {
        "first_token_iter": (rows["first_token_ps"] // UNIT_PS - 1).tolist(),
        "finish_iter": (rows["finish_ps"] // UNIT_PS - 1).tolist(),
        "n_preempt": rows["num_preemptions"].sum(axis=1).tolist(),
        "steps": totals.num_iterations,
        "scheduled_tokens": totals.processed_tokens,
        "preemptions": sum(totals.num_preemptions),
        "free_blocks": int(sim.record.free_kv_blocks),
    }
    if totals.outcome != "finished":
        yield f"{log.name}: the run ended {totals.outcome}"
    for name, value in ours.items():
        if log.footer[name] != value and (log.unit_ps or name not in _TIMES):
            yield f"{log.name}, {name}: vLLM {log.footer[name]}, ours {value}"


def mismatches(log: VllmLog) -> list[str]:
    """All differences: step by step, and in the figures of the run from event to event."""
    slow, fast = replay(log, log=True), replay(log)
    of_steps = differing_steps(log, steps(slow.log_triples(), log.unit_ps))
    return [*of_steps, *differing_figures(log, slow), *differing_figures(log, fast)]
