"""Runs of any length: requests in chunks, departures in pieces; the same figures as from the whole table at once."""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import naive_metrics
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pieces import InChunks

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.files import OutputError
from llmqgym.hardware import load_profile
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.tables import DEPARTURE, PS_PER_S, Status
from llmqgym.metrics import fairness, summary
from llmqgym.metrics.fairness import Fairness, jain_index
from llmqgym.metrics.per_request import PerRequestTable
from llmqgym.metrics.quantiles import Sample, distribution
from llmqgym.metrics.scratch import Scratch
from llmqgym.metrics.stability import Stability
from llmqgym.metrics.summary import RunMetrics
from llmqgym.run import simulate
from llmqgym.simulator import Simulator
from llmqgym.totals import Totals
from llmqgym.workload.workload import Workload, make_workload

CHECKOUT = Path(__file__).parents[1]
PROFILE = load_profile("a100-llama-3-8b").to_integers(16)
SIZE = 3000 if COMPILED else 60
FEW = settings(max_examples=200 if COMPILED else 20)
SOME = settings(max_examples=800 if COMPILED else 100)
seeds = st.integers(0, 2**32 - 1)


def cut(rows: NDArray[Any], rng: np.random.Generator) -> list[NDArray[Any]]:
    """Up to nine pieces, some of them empty."""
    return np.split(rows, np.sort(rng.integers(0, len(rows) + 1, rng.integers(0, 9))))


def departures(num: int, rng: np.random.Generator, span_s: float = 2000.0, tenants: int = 3) -> NDArray[Any]:
    """Rows in any order such as a run leaves them: most finished, a few rejected, the unfinished last."""
    rows = np.zeros(num, DEPARTURE)
    rows["id"] = rng.permutation(num)
    rows["status"] = rng.choice([Status.FINISHED, Status.REJECTED], num, p=[0.9, 0.1])
    rows["status"][num - num // 20 :] = Status.UNFINISHED
    rows["arrival_ps"] = rng.integers(0, span_s * PS_PER_S, num)
    gaps = rng.exponential(20.0, (3, num)) * PS_PER_S
    gaps[:, rng.random(num) < 0.2] = 0
    names = ("first_scheduled_ps", "first_token_ps", "finish_ps")
    for name, gap in zip(names, np.cumsum(gaps, axis=0).astype(np.int64), strict=True):
        rows[name] = rows["arrival_ps"] + gap
        rows[name][rows["status"] == Status.REJECTED] = -1
    rows["finish_ps"][rows["status"] == Status.UNFINISHED] = -1
    rows["first_token_ps"][num - num // 40 :] = -1
    rows["prompt_tokens"] = rng.integers(1, 5000, num)
    rows["output_tokens"] = rows["generated_tokens"] = rng.integers(1, 500, num)
    rows["predicted_output_tokens"] = np.where(rng.random(num) < 0.5, np.nan, rng.lognormal(5, 1, num))
    rows["tenant"] = rng.integers(0, tenants, num)
    for name in ("ttft_limit_ps", "tpot_limit_ps", "e2e_limit_ps"):
        rows[name] = rng.integers(-1, 50, num) * PS_PER_S
    rows["num_preemptions"] = rng.integers(0, 3, (num, 4))
    return rows


def end_ps(rows: NDArray[Any]) -> int:
    times = [rows[name].max(initial=0) for name in ("arrival_ps", "first_token_ps", "finish_ps")]
    return int(max(times)) + 77 * PS_PER_S


def totals_of(rows: NDArray[Any], clock_ps: int) -> Totals:
    inside = rows[rows["status"] != Status.REJECTED]
    spent = naive_metrics.left_ps(inside, clock_ps) - inside["arrival_ps"]
    return Totals(
        outcome="horizon", clock_ps=clock_ps, num_iterations=1, num_events=1, num_finished=1, num_rejected=1,
        processed_tokens=1, lost_tokens=0, num_preemptions=(0, 0, 0, 0), num_held_dropped=0, swapped_blocks=0,
        prefix_cache_queries=0, prefix_cache_hits=0, regained_tokens=0,
        num_kv_blocks=1, integral_requests=sum(spent.tolist()), integral_running=0, integral_kv_blocks=0,
    )  # fmt: skip


values = st.one_of(st.sampled_from([0.0, -0.0, 0.5, 1.0, 2.0, 5e-324, math.nan]), st.floats(0, 1e300))


@SOME
@given(st.lists(values, min_size=1, max_size=80), st.integers(1, 20), seeds)
def test_quantiles_are_numpys_to_the_last_bit(given_values: list[float], run_values: int, seed: int) -> None:
    array = np.array(given_values)
    sample = Sample(run_values)
    for piece in cut(array, np.random.default_rng(seed)):
        sample.add(piece)
    known = array[~np.isnan(array)] + 0.0  # no -0.0
    assert (sample.num_values, sample.num_nan) == (len(known), len(array) - len(known))
    if not len(known):
        assert set(distribution(sample).values()) == {None}
        return
    percents = [0.0, 1.0, 50.0, 90.0, 95.0, 99.0, 99.9, 100.0]
    assert sample.percentiles(percents).tobytes() == np.percentile(known, percents).tobytes()
    assert sample.max() == known.max()
    assert sample.mean() == pytest.approx(math.fsum((known / len(known)).tolist()), rel=1e-14, abs=5e-324)


def test_a_large_sample_goes_to_disk_and_its_quantiles_stay_exact() -> None:
    rng = np.random.default_rng(1)
    array = np.round(rng.lognormal(0, 2, 500_000), 3)
    sample, again = Sample(), Sample()
    sample.add(array)
    for piece in np.array_split(array, 77):
        again.add(piece)
    assert distribution(sample) == distribution(again) == pytest.approx(naive_metrics.distribution(array), rel=1e-14)
    assert [distribution(sample)[name] for name in ("p50", "p99", "max")] == [*np.percentile(array, [50, 99, 100])]


def test_a_sample_is_of_values_from_zero_on() -> None:
    with pytest.raises(ValueError, match=r"not -1\.0"):
        Sample().add(np.array([-1.0]))


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", "/nowhere")
        with pytest.raises(OutputError, match=r"'/nowhere'.*TMPDIR"):
            Scratch(DEPARTURE)
    if Path("/dev/full").exists():
        monkeypatch.setattr(tempfile, "TemporaryFile", partial(open, "/dev/full", "r+b", buffering=0))
        with pytest.raises(OutputError, match="No space left"):
            Scratch(DEPARTURE).write(0, np.zeros(3, DEPARTURE))


def figures(pieces: list[NDArray[Any]], totals: Totals, num: int) -> dict[str, Any]:
    metrics = RunMetrics(PROFILE, 512, 5000)
    metrics._samples = {name: Sample(run_values=100) for name in metrics._samples}
    for piece in pieces:
        metrics.add(piece)
    return metrics.summary(totals, num)


@FEW
@given(st.integers(1, 2500), seeds, st.sampled_from([7, 256, 8192]))
def test_no_figure_depends_on_how_departures_are_cut(num: int, seed: int, block: int) -> None:
    rng = np.random.default_rng(seed)
    rows = departures(num if COMPILED else num // 20 + 1, rng)
    totals = totals_of(rows, end_ps(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(summary, "_BLOCK", block)
        whole = figures([rows], totals, len(rows))
        assert repr(figures(cut(rows, rng), totals, len(rows))) == repr(whole)
        assert whole["little_residual"] in (0, None)


def test_a_summary_can_be_asked_for_again() -> None:
    rows = departures(500, np.random.default_rng(2))
    totals = totals_of(rows, end_ps(rows))
    metrics = RunMetrics(PROFILE, 512)
    metrics.add(rows)
    assert metrics.summary(totals, 500) == metrics.summary(totals, 500)


@settings(max_examples=30 if COMPILED else 5)
@given(st.integers(20, 2500), seeds)
def test_the_figures_are_those_of_the_whole_table(num: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = departures(num, rng)
    clock_ps = end_ps(rows)
    ours = figures(cut(rows, rng), totals_of(rows, clock_ps), num + 2)
    finished = rows[rows["status"] == Status.FINISHED]
    inside = rows[rows["status"] != Status.REJECTED]
    times = naive_metrics.latencies(finished)
    for name in ("ttft_s", "tpot_s", "e2e_s", "queue_s"):
        assert ours[name] == pytest.approx(naive_metrics.distribution(getattr(times, name)), rel=1e-12)
    assert (ours["num_not_arrived"], ours["num_unfinished"]) == (2, num // 20)
    assert ours["num_extrapolated"] == np.count_nonzero(rows["prompt_tokens"] + rows["output_tokens"] > 5000)
    assert ours["requests_per_s"] == pytest.approx(len(finished) / (clock_ps / PS_PER_S))
    assert ours["stability"] == naive_metrics.stability(inside, clock_ps)
    if len(np.unique(inside["tenant"])) > 1:
        assert ours["jain_index"] == pytest.approx(jain_index(naive_metrics.speeds(inside)))
        assert ours["vtc_service_gap_per_s"] == pytest.approx(naive_metrics.service_gap(inside, clock_ps), rel=1e-9)


@pytest.mark.parametrize(("most", "cells", "width_s"), [(40, 1 << 21, 60.0), (20_000, 90, 120.0)])
def test_bins_of_the_service_gap_double_when_they_are_too_many(
    monkeypatch: pytest.MonkeyPatch, most: int, cells: int, width_s: float
) -> None:
    monkeypatch.setattr(fairness, "MAX_BINS", most)
    monkeypatch.setattr(fairness, "MAX_CELLS", cells)
    rng = np.random.default_rng(3)
    rows = departures(2000, rng)
    rows = rows[rows["status"] != Status.REJECTED]
    clock_ps = 2300 * PS_PER_S
    ours = Fairness()
    for piece in cut(rows, rng):
        ours.add(piece, naive_metrics.left_ps(piece, clock_ps))
    gap = ours.figures(clock_ps)["vtc_service_gap_per_s"]
    assert gap == pytest.approx(naive_metrics.service_gap(rows, clock_ps, width_s))


def test_too_many_tenants_are_not_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = departures(400, np.random.default_rng(4), tenants=100)
    monkeypatch.setattr(fairness, "MAX_TENANTS", 50)
    ours = Fairness()
    ours.add(rows, rows["arrival_ps"])
    ours.add(rows, rows["arrival_ps"])
    assert set(ours.figures(10**15).values()) == {None}


@pytest.mark.parametrize("offset_s", [0, 8_000_000])
@pytest.mark.parametrize(("staying", "verdict"), [(0.0, "stable"), (0.005, "stable"), (0.05, "growing")])
def test_the_verdict_at_any_clock(offset_s: int, staying: float, verdict: str) -> None:
    """One arrival a second; the share that stays, stays to the end, long after the last arrival."""
    rows = np.zeros(20_000, DEPARTURE)
    rows["arrival_ps"] = (offset_s + np.arange(20_000)) * PS_PER_S
    left = rows["arrival_ps"] + 30 * PS_PER_S
    left[np.random.default_rng(5).random(20_000) < staying] = (offset_s + 200_000) * PS_PER_S
    order = np.argsort(left, kind="stable")
    ours = Stability()
    for some in np.array_split(order, 31):
        ours.add(rows[some], left[some])
    assert ours.verdict() == verdict
    rows["finish_ps"] = left
    assert naive_metrics.stability(rows, int(left.max())) == verdict


def test_a_burst_is_stable() -> None:
    rows = np.zeros(1000, DEPARTURE)
    ours = Stability()
    ours.add(rows, np.arange(1000) * PS_PER_S)
    assert ours.verdict() == "stable"


@FEW
@given(st.integers(0, 300), st.integers(0, 100), st.booleans(), seeds)
def test_the_table_is_in_order_of_id_however_requests_leave(num: int, waiting: int, gaps: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = departures(num, rng)
    if gaps:
        rows["id"] = 3 * rows["id"] + 5
    file = io.StringIO()
    table = PerRequestTable(file, waiting)
    for piece in cut(rows, rng):
        table.add(piece)
    table.close()
    assert file.getvalue() == naive_metrics.per_request(rows)


def chat(num: int = SIZE) -> Workload:
    rng = np.random.default_rng(8)
    return make_workload(
        "chat", {}, arrival_s=np.cumsum(rng.exponential(1 / 7, num)), prompt_tokens=rng.integers(1, 1500, num),
        output_tokens=rng.integers(1, 400, num), tenant=rng.integers(0, 3, num),
    )  # fmt: skip


def test_a_source_gives_the_run_of_its_table() -> None:
    pieces: list[NDArray[Any]] = []
    whole = simulate(chat(), policy=make_policy("vllm"), until_s=300.0)
    for size in (1, 700, 10**6):
        pieces.clear()
        source = InChunks(chat(), size)
        run = simulate(
            source, policy=make_policy("vllm"), until_s=300.0, keep_departures=False, on_departures=pieces.append
        )
        assert run.summary == whole.summary
        assert np.concatenate(pieces).tobytes() == whole.departures.tobytes()
        assert {**run.config, "workload": None} == {**whole.config, "workload": None}


@pytest.mark.parametrize("spec", ["lognormal:sigma=1", "rank:tau=0.6", "refreshing"])
def test_predictions_do_not_depend_on_the_chunks(spec: str) -> None:
    whole, pieces = chat(300), InChunks(chat(300), 17)
    runs = [simulate(each, policy=make_policy("sprpt"), predictor=spec, seed=3) for each in (whole, pieces)]
    assert runs[0].departures.tobytes() == runs[1].departures.tobytes()
    assert runs[0].summary == runs[1].summary


def test_a_log_makes_a_table_of_the_chunks() -> None:
    whole, pieces = chat(30), InChunks(chat(30), 7)
    runs = [simulate(each, policy=make_policy("vllm"), log=True) for each in (whole, pieces)]
    assert list(runs[0].log_lines()) == list(runs[1].log_lines())


def test_departures_that_were_not_kept_are_not_there() -> None:
    source = InChunks(chat(30), 10)
    with pytest.raises(InputError, match="keep_departures=True"):
        _ = simulate(source, policy=make_policy("vllm"), keep_departures=False).departures


@pytest.mark.skipif(not COMPILED, reason="thirty thousand requests take minutes in plain Python")
def test_the_table_of_departures_stays_small_when_it_is_drained() -> None:
    requests = chat(30_000).requests
    sims = [Simulator(ServerConfig(), PROFILE, make_policy("vllm"), capacity=64) for _ in range(2)]
    pieces: list[NDArray[Any]] = []
    sims[0].run(iter([requests]), on_departures=lambda rows: pieces.append(rows.copy()))
    sims[1].run(iter([requests]))
    assert sims[0].record.departures_capacity == 8192
    assert len(sims[0].departures()) == 0
    assert np.array_equal(np.concatenate(pieces)["finish_ps"], sims[1].departures()["finish_ps"])


@pytest.mark.skipif(not COMPILED, reason="three hundred thousand requests take hours in plain Python")
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is counted in other units elsewhere")
def test_memory_does_not_grow_with_the_requests() -> None:
    """The peaks of processes with 2e5 and 8e5 requests: kept, these would take 100 MB more."""
    peaks = []
    for num in (200_000, 800_000):
        command = [sys.executable, "benchmarks/scale.py", "--one", str(num)]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        shown = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=True)
        report = json.loads(shown.stdout)
        assert report["little_residual"] == 0
        peaks.append(report["peak_mb"])
    assert peaks[1] - peaks[0] < 20
