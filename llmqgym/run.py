"""A run from Python: a workload on a server under a policy, and everything that is known about it afterwards."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from llmqgym import __version__
from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware import UNLIMITED_BLOCKS, HardwareProfile, load_profile
from llmqgym.kernel.tables import DEPARTURE, HORIZON_PS, PS_PER_S
from llmqgym.metrics import decision_log
from llmqgym.metrics.rows import copied, put
from llmqgym.metrics.summary import RunMetrics
from llmqgym.policy import Policy
from llmqgym.scenario import DEFAULT_PROFILE
from llmqgym.simulator import Simulator, load_kernel
from llmqgym.totals import Totals
from llmqgym.workload.predictors import apply_predictor, make_predictor
from llmqgym.workload.source import RequestSource
from llmqgym.workload.workload import as_table

#: The spec that stands for the predictions of the trace itself.
OF_THE_TRACE = "trace"


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a run was given, and what came of it."""

    summary: dict[str, Any]  # metrics.summary
    config: dict[str, Any]  # everything resolved
    kept: NDArray[Any] | None  # DEPARTURE[R], in the order of leaving; None of a run that kept none
    totals: Totals
    simulator: Simulator
    workload: RequestSource
    server: ServerConfig
    policy: str
    time_unit_ps: int | None  # length of an iteration where time counts in iterations
    wall_s: float

    @property
    def departures(self) -> NDArray[Any]:
        """DEPARTURE[R], in the order of leaving. Raises InputError if the run kept none."""
        if self.kept is None:
            raise InputError(
                "this run kept no departures: call simulate with keep_departures=True, or take them as they come with "
                "on_departures."
            )
        return self.kept

    def document(self) -> dict[str, Any]:
        """The run's JSON: the summary, the resolved config, the wall time and the version that made it."""
        return {**self.summary, "wall_s": self.wall_s, "version": __version__, "config": self.config}

    def log_lines(self) -> Any:
        """The lines of the decision log (metrics.decision_log) of a run with `log=True`."""
        requests = as_table(self.workload).requests
        head = decision_log.params(self.server, self.totals.num_kv_blocks, self.policy, requests, self.time_unit_ps)
        return decision_log.lines(self.simulator.log_triples(), requests, head, self.time_unit_ps)


class Decider(Protocol):
    """Somebody who decides at a server in place of its policy's ORDER, MISS and PREEMPT."""

    @property
    def name(self) -> str:
        """By which reports call it."""

    def settings(self) -> dict[str, Any]:
        """What reports say of it."""

    def sit_at(self, simulator: Simulator) -> None:
        """Take the seat, before the run begins."""


def simulate(
    workload: RequestSource,
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
    keep_departures: bool = True,
    on_departures: Callable[[NDArray[Any]], None] | None = None,
    decider: Decider | None = None,
) -> RunResult:
    """Replay `workload` to its end (or to `until_s`).

    `predictor` None keeps the predictions that the workload has, 'trace' insists that there are some; `seed` is of its
    random stream. `prediction_cost_s` in the summary is what predictions took outside the server, a request on average:
    it is in no latency. `step_by_step`
    advances iteration by iteration, with the same result. `on_progress` is called now and then with the number of
    requests that have left. `on_departures` is handed every request that leaves, as DEPARTURE[n] a few thousand at a
    time; without `keep_departures` the run's memory then does not grow with the number of requests. `wall_s` is the
    time of the simulation and of the source's chunks. A log keeps all requests in memory. A `decider` stands in the
    policy's place, which is then its engine (llmqgym.env.play). Raises InputError.
    """
    server = ServerConfig() if server is None else server
    profile = load_profile(profile) if isinstance(profile, str) else profile
    integers = profile.to_integers(server.block_size)
    looks, cost_s = None, 0.0
    if predictor == OF_THE_TRACE:
        _check_predictions(workload)
    elif predictor is not None:
        made = make_predictor(predictor)
        workload, looks, cost_s = apply_predictor(workload, predictor, seed), made.looks(seed), made.cost_s
    if log:
        workload = as_table(workload)
    load_kernel()
    metrics = RunMetrics(integers, server.max_batched_tokens, profile.max_context_tokens)
    leaving = _Leaving(metrics, len(workload), keep_departures, on_departures)
    arriving = _Arriving(workload)
    until_ps = HORIZON_PS if until_s is None else round(until_s * PS_PER_S)
    simulator = Simulator(
        server,
        integers,
        policy,
        step_by_step=step_by_step,
        log=log,
        until_ps=until_ps,
        looks=looks,
        hashes=workload.hashes,
    )
    if decider is not None:
        decider.sit_at(simulator)
    began = time.perf_counter()
    simulator.run(
        arriving.chunks(), None if on_progress is None else lambda sim: on_progress(_num_left(sim)), leaving.take
    )
    wall_s = time.perf_counter() - began - leaving.wall_s
    totals = simulator.totals()
    decides = policy.settings() if decider is None else {**decider.settings(), "engine": policy.settings()}
    return RunResult(
        summary={
            **metrics.summary(totals, len(workload)),
            "prediction_cost_s": arriving.num_predicted * cost_s / len(workload),
        },
        config=_resolved(workload, server, simulator, profile, decides, predictor or arriving.predictor(), seed),
        kept=leaving.kept(),
        totals=totals,
        simulator=simulator,
        workload=workload,
        server=server,
        policy=policy.name if decider is None else decider.name,
        time_unit_ps=PS_PER_S if profile.kind == "iterations" else None,
        wall_s=wall_s,
    )


def _check_predictions(workload: RequestSource) -> None:
    if np.isnan(next(workload.chunks())["predicted_output_tokens"]).all():
        raise InputError(
            f"predictor 'trace' stands for the predictions that {workload.name!r} brings, and it has none: give it a "
            "column predicted_output_tokens, or name another predictor (`llmqgym list predictors`)."
        )


class _Arriving:
    """The chunks of a source on their way in, and how many requests had a prediction."""

    def __init__(self, workload: RequestSource) -> None:
        self._workload = workload
        self.num_predicted = 0

    def chunks(self) -> Iterator[NDArray[Any]]:
        for requests in self._workload.chunks():
            self.num_predicted += int(np.count_nonzero(~np.isnan(requests["predicted_output_tokens"])))
            yield requests

    def predictor(self) -> str:
        return OF_THE_TRACE if self.num_predicted else "none"


class _Leaving:
    """The departures of a run on their way out: to the metrics, to a table if they are kept, to the caller."""

    def __init__(
        self, metrics: RunMetrics, num_requests: int, keep: bool, on_departures: Callable[[NDArray[Any]], None] | None
    ) -> None:
        self._metrics = metrics
        self._on_departures = on_departures
        # Memory that is not touched costs nothing.
        self._table = np.empty(num_requests, DEPARTURE) if keep else None
        self._num = 0
        self.wall_s = 0.0

    def take(self, rows: NDArray[Any]) -> None:
        began = time.perf_counter()
        self._metrics.add(rows)
        if self._table is not None:
            put(self._table, self._num, rows)
        self._num += len(rows)
        if self._on_departures is not None:
            self._on_departures(copied(rows))
        self.wall_s += time.perf_counter() - began

    def kept(self) -> NDArray[Any] | None:
        return None if self._table is None else self._table[: self._num]


def _num_left(simulator: Simulator) -> int:
    return int(simulator.record.num_finished + simulator.record.num_rejected)


def _resolved(
    workload: RequestSource,
    server: ServerConfig,
    simulator: Simulator,
    profile: HardwareProfile,
    policy: dict[str, Any],
    predictor: str,
    seed: int,
) -> dict[str, Any]:
    record = simulator.record
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
        "policy": policy,
        "predictor": predictor,
        "seed": seed,
    }


def _provenance(profile: HardwareProfile) -> dict[str, Any]:
    names = ("name", "kind", "origin", "source", "known_error", "gpu", "model", "tensor_parallel", "max_context_tokens")
    return {name: getattr(profile, name) for name in names}


def _blocks(blocks: int) -> int | str:
    return "unlimited" if blocks >= UNLIMITED_BLOCKS else int(blocks)
