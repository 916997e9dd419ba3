"""Hooks: the same through addresses, inlined, and called from Python; clear errors for those that cannot be."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from cases import NOTING, by_prediction, moody_fit, note_beginning, note_finish, shorter_prediction, youngest

from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware.registry import load_profile
from llmqgym.kernel import tables
from llmqgym.kernel.compile import HookError, address_of_hook
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.tables import Status
from llmqgym.policy import Policy
from llmqgym.simulator import Simulator
from llmqgym.workload.workload import make_requests

POLICY = Policy("all", order=by_prediction, fit=moody_fit, victim=youngest, preempt=shorter_prediction, miss="skip")


def workload(num: int = 300) -> np.ndarray:
    rng = np.random.default_rng(5)
    output = rng.integers(1, 200, num)
    return make_requests(
        arrival_s=np.cumsum(rng.exponential(0.05, num)),
        prompt_tokens=rng.integers(1, 400, num),
        output_tokens=output,
        predicted_output_tokens=output * rng.lognormal(0, 1, num),
    )


def simulator(policy: Policy = POLICY, **how: Any) -> Simulator:
    server = ServerConfig(num_kv_blocks=120, max_running=12)
    return Simulator(server, load_profile("a100-llama-3-8b").to_integers(16), policy, **how)


@pytest.mark.skipif(not COMPILED, reason="inlining is a matter of compilation")
def test_inlined_hooks_decide_as_those_called_by_address() -> None:
    """All of them, those that are told of something included."""
    ways = []
    for inline in (False, True):
        sim = simulator(replace(POLICY, **NOTING), inline=inline)
        sim.run(iter([workload()]))
        ways.append((sim.totals(), sim.departures().tobytes()))
    assert ways[0] == ways[1]
    assert ways[0][0].num_preemptions[0] > 0


def test_a_hook_called_from_python_sees_the_state_that_the_kernel_sees() -> None:
    sim = simulator()
    sim.feed(workload())
    sim.advance(max_events=400)
    entries = sim._arrays["waiting"][: sim.record.num_queued]
    assert len(entries) > 10
    for entry in entries:
        request = sim.request(entry["row"])
        assert request.status == Status.WAITING
        assert by_prediction(request, sim.record) == entry["key"]


def test_a_new_parameter_needs_no_compilation() -> None:
    def above(request: Any, server: Any) -> float:
        return server.params[0] * request.prompt_tokens

    orders = []
    for sign in (1.0, -1.0):
        sim = simulator(Policy("p", order=above, params=(sign,)))
        sim.run(iter([workload()]))
        rows = sim.departures()
        orders.append(float(np.corrcoef(rows["prompt_tokens"], rows["first_scheduled_ps"] - rows["arrival_ps"])[0, 1]))
    assert orders[0] > 0.1
    assert orders[1] < -0.1


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(HookError, match="takes 1 arguments: it is called with 2"):
        address_of_hook("order", lambda request: 0.0)
    with pytest.raises(InputError, match="did you mean 'mixed'"):
        Policy("p", mix="mixd")
    with pytest.raises(InputError, match="hold"):
        Policy("p", victim_mode="hold")
    with pytest.raises(InputError, match="wake = inf"):
        Policy("p", order=by_prediction, rekey=True, wake=math.inf)
    with pytest.raises(InputError, match="give 1 or more"):
        Policy("p", wake=0.5)


def test_who_is_asked_every_iteration() -> None:
    """The safe default: a policy that might drift is asked each time unless it says otherwise."""
    assert Policy("p", order=by_prediction, victim=youngest).wake_passes() == math.inf
    assert Policy("p", fit=moody_fit).wake_passes() == 1
    assert Policy("p", preempt=shorter_prediction).wake_passes() == 1
    assert Policy("p", preempt=shorter_prediction, wake=math.inf).wake_passes() == math.inf
    assert Policy("p", order=by_prediction, rekey=True).wake_passes() == 1
    assert Policy("p", begin=note_beginning).wake_passes() == 1
    assert Policy("p", finished=note_finish).wake_passes() == math.inf


@pytest.mark.skipif(not COMPILED, reason="in plain Python the error comes when the hook is called")
def test_a_hook_that_does_not_compile_says_so() -> None:
    def wrong(request: Any, server: Any) -> float:
        return request.no_such_field

    with pytest.raises(HookError, match="does not compile"):
        address_of_hook("order", wrong)


def test_server_is_the_head_of_simulator() -> None:
    """A hook's SERVER record is the simulator's record seen through a shorter dtype: same names, same places."""
    for name in tables.SERVER.names or ():
        assert tables.SERVER.fields[name] == tables.SIMULATOR.fields[name]  # type: ignore[index]


def test_notes_are_the_policy_s_own() -> None:
    """Three events of each of two requests, one after the other in the same row, with what is true at each."""

    def note(request: Any, server: Any) -> None:
        place = int(server.notes[0])
        server.notes[0] += 1.0
        server.notes[10 + place] = 100.0 * server.num_running + 10.0 * server.num_waiting + request.generated_tokens
        request.notes[request.generated_tokens] += 1.0

    policy = Policy("noting", arrive=note, admitted=note, finished=note)
    sim = Simulator(ServerConfig(), load_profile("iterations").to_integers(16), policy, capacity=1)
    sim.run(iter([make_requests(arrival_s=[0.0, 10.0], prompt_tokens=[5, 5], output_tokens=[2, 2])]))
    assert sim.record.notes[10:17].tolist() == [0.0, 100.0, 2.0, 0.0, 100.0, 2.0, 0.0]
    assert sim.request(0).notes.tolist() == [2.0, 0.0, 1.0, 0.0]
