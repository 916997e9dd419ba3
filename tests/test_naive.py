"""The naive twin makes the very decisions of the real vLLM scheduler, step by step, and the hand-checkable example."""

from __future__ import annotations

import naive_cache
import pytest
from naive import Policy, Profile, Request, Server, Simulator

from llmqgym.validation.vllm_logs import GOLDEN, UNIT_PS, VllmLog, differing_steps, names_in, read_log

POLICIES = {
    "fcfs": Policy(),
    "priority": Policy(order=lambda r, sim: r.priority, victim=lambda r, requester, sim: r.priority),
}


def simulate(log: VllmLog) -> Simulator:
    """The twin run on the trace and the settings of a log's header."""
    params = log.params
    settings = {name: value for name, value in log.server.items() if name != "prefix_caching"}
    requests = [
        naive_cache.Request(i, arrival * UNIT_PS, prompt, output, priority=priority)
        for i, (arrival, prompt, output, priority, *_) in enumerate(log.header["trace"])
    ]
    for request, (*_, group, tokens) in zip(requests, log.header["trace"], strict=True):
        if params["prefix_caching"] and len(log.header["trace"][request.id]) == 6:
            request.prefix_group, request.prefix_tokens = group, min(tokens, request.prompt_tokens)
    kind = naive_cache.Simulator if params["prefix_caching"] else Simulator
    return kind(requests, Server(**settings), Profile(base=UNIT_PS), POLICIES[params["policy"]], log=True).run()


@pytest.mark.parametrize("name", names_in(GOLDEN))
def test_golden_log(name: str) -> None:
    log = read_log(name)
    footer = log.footer
    sim = simulate(log)
    assert not list(differing_steps(log, sim.steps))
    assert sim.status == "finished"
    assert [r.first_token_ps // UNIT_PS - 1 for r in sim.requests] == footer["first_token_iter"]
    assert [r.finish_ps // UNIT_PS - 1 for r in sim.requests] == footer["finish_iter"]
    assert [sum(r.num_preemptions) for r in sim.requests] == footer["n_preempt"]
    assert (sim.num_iterations, sim.processed_tokens) == (footer["steps"], footer["scheduled_tokens"])
    assert sum(sim.preemptions) == footer["preemptions"]
    assert sim.free_blocks == footer["free_blocks"]


def test_two_requests_in_five_blocks() -> None:
    """The vLLM half of "vLLM vs NO_EVICT" (policies.md, section 10): done at 6 and 10, 24 of 32 tokens useful."""
    requests = [Request(i, 0, prompt_tokens=7, output_tokens=6) for i in range(2)]
    server = Server(num_kv_blocks=5, block_size=4)
    sim = Simulator(requests, server, Profile(base=UNIT_PS), Policy()).run()
    assert [r.finish_ps // UNIT_PS for r in sim.requests] == [6, 10]
    assert sim.preemptions == [1, 0, 0, 0]
    assert (sim.processed_tokens, sim.processed_tokens - sim.lost_tokens) == (32, 24)
