"""Unit rounds: the examples request by request, and who is preempted in the eviction cycle."""

from __future__ import annotations

import pytest

from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.validation.eviction import SHARES
from llmqgym.validation.unit_rounds import E1, E2, E3
from llmqgym.validation.unit_server import Triples, completions, requests_of, simulator


@pytest.mark.parametrize(
    ("policy", "example", "expected"),
    [
        ("mc-sf", E1, [1, 3, 3, 3]),
        ("mc-sf-true", E1, [1, 3, 3, 3]),
        ("mc-benchmark", E1, [1, 3, 3, 3]),
        ("volume-sf", E1, [3, 2, 2, 2]),
        ("mc-benchmark", E2, [7, 8, 9]),
        ("mc-benchmark:miss=skip", E2, [7, 8, 1]),
        ("mc-sf", E2, [8, 1, 2]),
        ("mc-sf", E3, [4, 2, 1, 3]),
        ("mc-benchmark", E3, [4, 2, 1, 3]),
    ],
)
def test_examples_worked_by_hand(policy: str, example: tuple[int, Triples], expected: list[int]) -> None:
    assert completions(example[0], policy, example[1]) == expected


@pytest.mark.skipif(not COMPILED, reason="so many rounds take hours in plain Python")
@pytest.mark.parametrize("case", SHARES, ids=str)
def test_only_restarting_preempts(case: tuple[int, int, int]) -> None:
    s, o, memory = case
    for policy in SHARES[case]:
        sim = simulator(memory, policy, until_ps=5 * o * PS_PER_S)
        sim.run(iter([requests_of([(0, s, o)] * (10 * memory // s))]))
        assert (sum(sim.totals().num_preemptions) > 0) == (policy == "evict-restart")
