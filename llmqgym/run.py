"""A run from Python: a workload on a server under a policy, and everything that is known about it afterwards."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym import __version__
from llmqgym.config import ServerConfig
from llmqgym.hardware import UNLIMITED_BLOCKS, HardwareProfile, load_profile
from llmqgym.kernel.tables import HORIZON_PS, PS_PER_S
from llmqgym.metrics import decision_log
from llmqgym.metrics.summary import summarise
from llmqgym.policy import Policy
from llmqgym.scenario import DEFAULT_PROFILE
from llmqgym.simulator import Simulator, Totals, load_kernel
from llmqgym.workload.predictors import apply_predictor
from llmqgym.workload.workload import Workload


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run was given, and what came of it."""

    summary: dict[str, Any]  # metrics.summary
    config: dict[str, Any]  # everything resolved
    departures: NDArray[Any]  # DEPARTURE[R], in the order of leaving
    totals: Totals
    simulator: Simulator
    workload: Workload
    server: ServerConfig
    policy: str
    time_unit_ps: int | None  # length of an iteration where time counts in iterations
    wall_s: float

    def document(self) -> dict[str, Any]:
        """The run's JSON: the summary, the resolved config, the wall time and the version that made it."""
        return {**self.summary, "wall_s": self.wall_s, "version": __version__, "config": self.config}

    def log_lines(self) -> Any:
        """The lines of the decision log (metrics.decision_log) of a run with `log=True`."""
        head = decision_log.params(
            self.server, self.totals.num_kv_blocks, self.policy, self.workload.requests, self.time_unit_ps
        )
        return decision_log.lines(self.simulator.log_triples(), self.workload.requests, head, self.time_unit_ps)


def simulate(
    workload: Workload,
    *,
    policy: Policy,
    server: ServerConfig | None = None,
    profile: HardwareProfile | str = DEFAULT_PROFILE,
    predictor: str | None = None,
    seed: int = 0,
    step_by_step: bool = False,
    log: bool = False,
    until_s: float | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> RunResult:
    """Replay `workload` to its end (or to `until_s`).

    `predictor` None keeps the predictions that the workload has; `seed` is of its random stream. `step_by_step`
    advances iteration by iteration, with the same result. `on_progress` is called now and then with the number of
    requests that have left. `wall_s` is the time of the simulation alone. Raises InputError.
    """
    server = ServerConfig() if server is None else server
    profile = load_profile(profile) if isinstance(profile, str) else profile
    integers = profile.to_integers(server.block_size)
    if predictor is not None:
        workload = apply_predictor(workload, predictor, seed)
    load_kernel()
    began = time.perf_counter()
    until_ps = HORIZON_PS if until_s is None else round(until_s * PS_PER_S)
    simulator = Simulator(server, integers, policy, step_by_step=step_by_step, log=log, until_ps=until_ps)
    simulator.run(iter([workload.requests]), None if on_progress is None else lambda sim: on_progress(_num_left(sim)))
    departures, totals = simulator.departures(), simulator.totals()
    wall_s = time.perf_counter() - began
    return RunResult(
        summary=summarise(
            departures,
            totals,
            num_requests=len(workload),
            profile=integers,
            budget_tokens=server.max_batched_tokens,
            max_context_tokens=profile.max_context_tokens,
        ),
        config=_resolved(workload, server, simulator, profile, policy, predictor, seed),
        departures=departures,
        totals=totals,
        simulator=simulator,
        workload=workload,
        server=server,
        policy=policy.name,
        time_unit_ps=PS_PER_S if profile.kind == "iterations" else None,
        wall_s=wall_s,
    )


def _num_left(simulator: Simulator) -> int:
    return int(simulator.record.num_finished + simulator.record.num_rejected)


def _resolved(
    workload: Workload,
    server: ServerConfig,
    simulator: Simulator,
    profile: HardwareProfile,
    policy: Policy,
    predictor: str | None,
    seed: int,
) -> dict[str, Any]:
    record = simulator.record
    predicted = not np.isnan(workload.requests["predicted_output_tokens"]).all()
    return {
        "workload": {
            "name": workload.name,
            "num_requests": len(workload),
            "source": dict(workload.source),
            "corrections": dict(workload.corrections),
        },
        "server": {
            **dataclasses.asdict(server),
            "num_kv_blocks": _blocks(record.num_kv_blocks),
            "host_kv_blocks": _blocks(record.host_kv_blocks),
            "watermark_blocks": int(record.watermark_blocks),
        },
        "profile": _provenance(profile),
        "policy": policy.settings(),
        "predictor": predictor if predictor is not None else "trace" if predicted else "none",
        "seed": seed,
    }


def _provenance(profile: HardwareProfile) -> dict[str, Any]:
    names = ("name", "kind", "origin", "source", "known_error", "gpu", "model", "tensor_parallel", "max_context_tokens")
    return {name: getattr(profile, name) for name in names}


def _blocks(blocks: int) -> int | str:
    return "unlimited" if blocks >= UNLIMITED_BLOCKS else int(blocks)
