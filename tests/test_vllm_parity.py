"""The kernel makes the very decisions of the real vLLM scheduler: every golden log, step by step."""

from __future__ import annotations

from typing import Any

import pytest
from golden_logs import GOLDEN, NAMES, UNIT_PS, GoldenLog, assert_same_steps, read_log

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.metrics.decision_log import steps
from llmqgym.simulator import Simulator
from llmqgym.workload.traces.open import read_trace

POLICIES = {"fcfs": "vllm", "priority": "vllm-priority"}


def simulate(golden: GoldenLog, **how: Any) -> Simulator:
    """The kernel on a log's trace and settings."""
    params = golden.params
    server = ServerConfig(**golden.server)
    profile = load_profile("iterations").to_integers(server.block_size)
    sim = Simulator(server, profile, make_policy(POLICIES[params["policy"]]), **how)
    sim.run(iter([read_trace(GOLDEN / f"{golden.name}.csv").requests]))
    return sim


@pytest.mark.parametrize("name", NAMES)
def test_step_by_step(name: str) -> None:
    log = read_log(name)
    sim = simulate(log, log=True)
    assert_same_steps(log, steps(sim.log_triples(), UNIT_PS))
    check_footer(log, sim)


@pytest.mark.parametrize("name", NAMES)
def test_event_to_event(name: str) -> None:
    log = read_log(name)
    sim = simulate(log)
    check_footer(log, sim)
    assert sim.totals().num_events <= sim.totals().num_iterations


def check_footer(log: GoldenLog, sim: Simulator) -> None:
    """Iterations of first tokens and finishes, preemptions, totals."""
    rows = sim.departures()
    rows = rows[rows["id"].argsort()]
    totals, footer = sim.totals(), log.footer
    assert totals.outcome == "finished"
    assert (rows["first_token_ps"] // UNIT_PS - 1).tolist() == footer["first_token_iter"]
    assert (rows["finish_ps"] // UNIT_PS - 1).tolist() == footer["finish_iter"]
    assert rows["num_preemptions"].sum(axis=1).tolist() == footer["n_preempt"]
    assert totals.num_iterations == footer["steps"]
    assert totals.processed_tokens == footer["scheduled_tokens"]
    assert sum(totals.num_preemptions) == footer["preemptions"]
    assert int(sim.record.free_kv_blocks) == footer["free_blocks"]


def test_all_logs_are_there() -> None:
    assert len(NAMES) == 37
