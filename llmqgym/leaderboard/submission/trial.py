"""Trial: a contestant on a few small servers, to find what would make its results no results."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.kernel.compile import HookError
from llmqgym.leaderboard.contestant import Contestant
from llmqgym.leaderboard.measured import digest
from llmqgym.leaderboard.submission.submitted import Submission
from llmqgym.run import RunResult
from llmqgym.scenario import DEFAULT_SCENARIO, load_scenario
from llmqgym.workload.generate import poisson_lognormal
from llmqgym.workload.workload import Workload

_NUM_REQUESTS = 150
_PREDICTOR = "interval:low=0.5,high=2"
#: Quiet, crowded, and short of memory.
_SERVERS = (
    ServerConfig(),
    ServerConfig(max_running=8),
    ServerConfig(max_running=32, num_kv_blocks=700, host_kv_blocks=700),
)
_UNTIL_S = 3_600.0


def try_out(submission: Submission) -> None:
    """Run the contestant both ways: as the kernel jumps, and step by step.

    Raises InputError where a hook does not compile, where `wake` promises too much (jumping is not stepping),
    and where nothing is ever served.
    """
    contestant, name = submission.contestant, submission.name
    for place, server in enumerate(_SERVERS):
        workload = _workload(place)
        try:
            jumped, stepped = (_run(workload, contestant, server, step_by_step=step) for step in (False, True))
        except HookError as error:
            raise InputError(f"{name!r}: {error}") from error
        if digest(jumped.departures) != digest(stepped.departures):
            raise InputError(
                f"{name!r} decides otherwise where the kernel jumps than where it steps through all "
                "iterations: its wake promises too much, or a hook writes where it may not (docs/write_a_policy.md)."
            )
        if jumped.summary["num_finished"] == 0:
            raise InputError(f"{name!r} has finished none of {_NUM_REQUESTS} requests in an hour: it admits nobody.")


def _workload(seed: int) -> Workload:
    """Small requests with two tenants, two priorities and limits, so that every hook has something to read."""
    made = poisson_lognormal(_NUM_REQUESTS, 6.0, seed, prompt_median=200.0, output_median=60.0, output_max=512)
    requests: Any = made.requests.copy()
    number = np.arange(len(requests))
    requests["tenant"], requests["priority"] = number % 2, number % 2
    requests["ttft_limit_ps"] = 2 * 10**12
    return replace(made, requests=requests)


def _run(workload: Workload, contestant: Contestant, server: ServerConfig, *, step_by_step: bool) -> RunResult:
    scenario = replace(load_scenario(DEFAULT_SCENARIO), server=server, predictor=_PREDICTOR)
    return contestant.run(workload, scenario, step_by_step=step_by_step, until_s=_UNTIL_S)
