"""Prefix caching: what it saves, what it leaves as it is, and the hashes of traces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.run import RunResult, simulate
from llmqgym.workload.generate import poisson_lognormal
from llmqgym.workload.traces.open import open_trace, read_trace
from llmqgym.workload.workload import Workload, make_workload

CACHING = ServerConfig(prefix_caching=True)


def run(workload: Workload, **settings: object) -> RunResult:
    return simulate(workload, policy=make_policy("vllm"), server=ServerConfig(**settings), seed=1)  # type: ignore[arg-type]


def conversation(turns: int, **fields: object) -> Workload:
    """One prompt after the other, long apart, each of 100 tokens and 20 of an answer."""
    return make_workload(
        "conversation", {}, arrival_s=np.arange(turns) * 100.0, prompt_tokens=[100] * turns,
        output_tokens=[20] * turns, **fields,
    )  # fmt: skip


def test_without_anything_to_be_found_the_run_is_the_same() -> None:
    workload = poisson_lognormal(3000 if COMPILED else 60, 7.0, 2)
    plain, caching = run(workload), run(workload, prefix_caching=True)
    assert plain.totals.num_preemptions == (0, 0, 0, 0)
    assert plain.departures.tobytes() == caching.departures.tobytes()
    same = {key: value for key, value in plain.summary.items() if key not in ("num_events", "prefix_cache_queries")}
    assert {key: caching.summary[key] for key in same} | {"prefix_cache_hit_rate": None} == same
    assert caching.summary["prefix_cache_hits"] == 0
    assert caching.summary["prefix_cache_queries"] == workload.requests["prompt_tokens"].sum()


def test_a_prompt_that_is_known_is_computed_to_its_last_block() -> None:
    """Of 100 tokens 96 fill blocks; of 96 that are all shared the last one is computed all the same."""
    known = run(conversation(3, prefix_group=0, prefix_tokens=100), prefix_caching=True)
    assert known.departures["prefix_hit_tokens"].tolist() == [0, 96, 96]
    assert known.summary["processed_tokens"] == 3 * 119 - 2 * 96
    assert known.summary["prefix_cache_hit_rate"] == 2 * 96 / 300
    times = known.departures["first_token_ps"] - known.departures["arrival_ps"]
    assert times[1] == times[2] < times[0]


def test_a_preempted_request_finds_its_own_blocks_again() -> None:
    workload = poisson_lognormal(400 if COMPILED else 60, 12.0, 5, prompt_max=1500, output_max=600)
    plain, caching = (run(workload, num_kv_blocks=400, prefix_caching=on) for on in (False, True))
    assert plain.summary["num_preemptions"] > 0
    assert caching.totals.regained_tokens > 0
    assert caching.summary["lost_tokens"] < plain.summary["lost_tokens"]
    finished = int((workload.requests["prompt_tokens"] + workload.requests["output_tokens"] - 1).sum())
    shared = caching.totals.prefix_cache_hits - caching.totals.regained_tokens
    assert caching.summary["processed_tokens"] + shared - caching.summary["lost_tokens"] == finished


def test_hashes_say_what_is_in_a_prompt() -> None:
    """Two blocks of 48 tokens and a rest: the first is known to all, the second to requests 0 and 2."""
    hashes = [(7, 8, 9), (7, 10, 11), (7, 8, 12)]
    result = run(conversation(3, hash_ids=hashes, hash_block_tokens=48), prefix_caching=True)
    assert result.departures["prefix_hit_tokens"].tolist() == [0, 48, 96]


def test_streamed_hashes_are_those_of_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from llmqgym.workload.traces import table

    monkeypatch.setattr(table, "BLOCK_ROWS", 5)
    path = tmp_path / "t.jsonl"
    rows = (
        f'{{"timestamp": {1000 * row}, "input_length": 1300, "output_length": 9, "hash_ids": [{row % 2}, {row % 3}]}}\n'
        for row in range(23)
    )
    path.write_text("".join(rows))
    whole, streamed = read_trace(path), open_trace(path, resident=3)
    results = [simulate(each, policy=make_policy("vllm"), server=CACHING) for each in (whole, streamed)]
    assert results[0].departures.tobytes() == results[1].departures.tobytes()
    assert results[0].summary["prefix_cache_hits"] > 0


def test_a_budget_without_bounds_is_refused() -> None:
    with pytest.raises(InputError, match="max_batched_tokens is 1099511627776"):
        run(conversation(1), prefix_caching=True, max_batched_tokens=2**40)
    with pytest.raises(InputError, match="a hash id is -1"):
        conversation(1, hash_ids=[(-1,)])
