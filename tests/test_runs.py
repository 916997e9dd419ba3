"""Whole runs at full size: real traces to the end, every baseline both ways, memory that does not grow with the run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from baselines.registry import POLICIES, make_policy
from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel.jit import COMPILED
from llmqgym.run import simulate
from llmqgym.simulator import Simulator
from llmqgym.workload.generate import poisson_lognormal
from llmqgym.workload.predictors import apply_predictor
from llmqgym.workload.traces.open import read_trace
from llmqgym.workload.workload import Workload

TRACES = Path(__file__).parents[2] / "shared" / "traces" / "dev"
SIZE = 3000 if COMPILED else 60


def chat(num: int = SIZE, rate_per_s: float = 7.0) -> Workload:
    return apply_predictor(poisson_lognormal(num, rate_per_s, seed=4), "lognormal:sigma=1", seed=4)


@pytest.mark.skipif(not COMPILED, reason="an hour of traffic takes hours in plain Python")
@pytest.mark.skipif(not TRACES.exists(), reason="the traces are not part of the project")
@pytest.mark.parametrize(
    ("trace", "num"),
    [("azure23_conv", 19_366), ("mooncake_conversation", 12_031), ("servegen_deepseek_r1_1h", 72_191)],
)
def test_an_hour_of_real_traffic_runs_to_the_end(trace: str, num: int) -> None:
    result = simulate(read_trace(TRACES / f"{trace}.csv.gz"), policy=make_policy("vllm"), profile="a100-llama-3-8b")
    assert result.summary["num_finished"] == num
    assert result.summary["num_unfinished"] == result.summary["num_rejected"] == 0
    assert result.summary["little_residual"] == 0
    assert result.totals.outcome == "finished"


@pytest.mark.parametrize("policy", POLICIES)
def test_every_baseline_jumps_and_steps_to_the_same_end(policy: str) -> None:
    workload, server = chat(), ServerConfig(num_kv_blocks=2500, max_running=48)
    jumping = simulate(workload, policy=make_policy(policy), server=server)
    stepping = simulate(workload, policy=make_policy(policy), server=server, step_by_step=True)
    if make_policy(policy).mix_key is None:  # such a policy is asked for every batch
        assert jumping.totals.num_events < stepping.totals.num_events
    for name in jumping.totals.__dataclass_fields__:
        if name != "num_events":
            assert getattr(jumping.totals, name) == getattr(stepping.totals, name), name
    ids = [np.argsort(result.departures["id"]) for result in (jumping, stepping)]
    for name in jumping.departures.dtype.names or ():
        ours, theirs = jumping.departures[name][ids[0]], stepping.departures[name][ids[1]]
        assert np.array_equal(ours, theirs, equal_nan=name == "predicted_output_tokens"), name


@pytest.mark.parametrize("policy", POLICIES)
def test_laws(policy: str) -> None:
    """Section 9 of the model, on the figures of a whole run."""
    result = simulate(chat(), policy=make_policy(policy), server=ServerConfig(num_kv_blocks=2500, max_running=48))
    rows, totals = result.departures, result.totals
    times_ps = (rows["finish_ps"] - rows["arrival_ps"]).tolist()
    assert totals.integral_requests == sum(times_ps)  # MLFQ, swapping everybody round, leaves the 64 bits
    useful = int((rows["prompt_tokens"] + rows["output_tokens"] - 1).sum())
    assert totals.processed_tokens - totals.lost_tokens == useful
    assert np.all(rows["generated_tokens"] == rows["output_tokens"])
    for earlier, later in (("arrival_ps", "first_scheduled_ps"), ("first_scheduled_ps", "first_token_ps"),
                           ("first_token_ps", "finish_ps")):  # fmt: skip
        assert np.all(rows[earlier] <= rows[later])
    record = result.simulator.record
    assert record.free_kv_blocks == record.num_kv_blocks
    assert record.num_free_rows == record.capacity
    assert sum(totals.num_preemptions) == int(rows["num_preemptions"].sum())


@pytest.mark.skipif(not COMPILED, reason="two hundred thousand requests take hours in plain Python")
def test_memory_grows_with_the_requests_in_the_system_only() -> None:
    requests = chat(200_000, 5.0).requests
    sim = Simulator(ServerConfig(), load_profile("a100-llama-3-8b").to_integers(16), make_policy("vllm"), capacity=64)
    departed = 0

    def drain(running: Simulator) -> None:
        nonlocal departed
        departed += len(running.departures())

    sim.run((requests[i : i + 10_000] for i in range(0, len(requests), 10_000)), on_progress=drain)
    departed += len(sim.departures())
    assert departed == len(requests)
    assert sim.record.capacity <= 512


def test_predictions_of_the_trace_and_what_predictions_cost(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(
        "arrival_time_s,prompt_tokens,output_tokens,predicted_output_tokens,predicted_lower_tokens,"
        "predicted_upper_tokens\n0,8,4,9,3,11\n1,8,4,,,\n"
    )
    trace = read_trace(path)
    assert trace.requests["predicted_upper_tokens"][0] == 11
    result = simulate(trace, policy=make_policy("spjf"), predictor="trace")
    assert result.config["predictor"] == "trace"
    assert result.departures["predicted_output_tokens"][0] == 9
    with pytest.raises(InputError, match="it has none"):
        simulate(poisson_lognormal(5, 1.0, 0), policy=make_policy("spjf"), predictor="trace")
    half = simulate(
        poisson_lognormal(SIZE, 1.0, 0), policy=make_policy("spjf"), predictor="perfect:cost_s=2,missing=0.5"
    )
    assert half.summary["prediction_cost_s"] == pytest.approx(1.0, rel=0.3)
    free = simulate(poisson_lognormal(SIZE, 1.0, 0), policy=make_policy("spjf"), predictor="perfect:missing=0.5")
    assert half.departures.tobytes() == free.departures.tobytes()
