"""The kernel's border: what it refuses, how it grows, how it can be driven piece by piece."""

from __future__ import annotations

import numpy as np
import pytest

from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel.tables import Outcome
from llmqgym.policy import Policy
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests


def simulator(server: ServerConfig | None = None, profile: str = "a100-llama-3-8b", capacity: int = 4) -> Simulator:
    server = ServerConfig() if server is None else server
    return Simulator(server, load_profile(profile).to_integers(server.block_size), Policy("fcfs"), capacity=capacity)


def burst(num: int, arrival_s: float = 0.0) -> np.ndarray:
    return make_requests(
        arrival_s=np.full(num, arrival_s), prompt_tokens=np.full(num, 50), output_tokens=np.full(num, 20)
    )


def test_chunks_must_come_in_order() -> None:
    with pytest.raises(InputError, match=r"request 3 arrives at 4\.0 s, before the one before it at 5\.0 s"):
        simulator().run(iter([burst(3, 5.0), burst(3, 4.0)]))


def test_an_iteration_beyond_the_clock_is_refused() -> None:
    sim = simulator(ServerConfig(max_batched_tokens=2**40, num_kv_blocks=2**40))
    far = make_requests(arrival_s=[0.0], prompt_tokens=[10**9], output_tokens=[1])
    with pytest.raises(InputError, match="lower max_batched_tokens"):
        sim.run(iter([far]))


def test_usual_requests_are_far_from_that_limit() -> None:
    textbook = ServerConfig(max_running=1, max_batched_tokens=2**40)
    assert simulator().record.longest_tokens > 10**8
    assert simulator(textbook, "constant:iteration_ms=1").record.longest_tokens > 10**9


def test_requests_of_another_dtype_are_refused() -> None:
    with pytest.raises(TypeError, match="ARRIVAL"):
        simulator().feed(np.zeros(3))


def test_one_event_at_a_time_ends_like_a_whole_run() -> None:
    whole, pieces = simulator(), simulator()
    whole.run(iter([burst(40)]))
    pieces.feed(burst(40))
    while pieces.advance(max_events=1) not in (Outcome.FINISHED, Outcome.STALLED):
        pass
    assert pieces.totals() == whole.totals()
    assert pieces.departures().tobytes() == whole.departures().tobytes()


def test_a_stalled_run_reports_who_is_left() -> None:
    sim = simulator(ServerConfig(chunked_prefill=False, max_batched_tokens=40))
    assert sim.run(iter([burst(5)])) == Outcome.STALLED
    rows = sim.departures()
    assert len(rows) == 5
    assert (rows["finish_ps"] == -1).all()


def test_a_limit_ends_the_run_with_everybody_accounted_for() -> None:
    server = ServerConfig()
    profile = load_profile("a100-llama-3-8b").to_integers(16)
    sim = Simulator(server, profile, Policy("fcfs"), until_ps=10**11, capacity=4)
    assert sim.run(iter([burst(60)])) == Outcome.HORIZON
    rows, totals = sim.departures(), sim.totals()
    assert len(rows) == 60
    ages = np.where(rows["finish_ps"] >= 0, rows["finish_ps"], totals.clock_ps) - rows["arrival_ps"]
    assert totals.integral_requests == int(ages.sum())


def test_nothing_to_do() -> None:
    sim = simulator()
    assert sim.run(iter([])) == Outcome.FINISHED
    assert len(sim.departures()) == 0


def test_a_profile_for_other_blocks_is_refused() -> None:
    with pytest.raises(InputError, match="call to_integers\\(4\\)"):
        Simulator(ServerConfig(block_size=4), load_profile("iterations").to_integers(16), Policy("fcfs"))


def test_priorities_that_a_float_cannot_tell_apart_are_refused() -> None:
    with pytest.raises(InputError, match="priority"):
        make_requests(arrival_s=[0.0], prompt_tokens=[1], output_tokens=[1], priority=[2**53 + 1])
