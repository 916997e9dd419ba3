"""Traces that are read chunk by chunk: the same requests, transforms and errors as those that lie in memory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from llmqgym.errors import InputError
from llmqgym.workload import transform
from llmqgym.workload.traces import table
from llmqgym.workload.traces.open import open_trace, read_trace
from llmqgym.workload.traces.streamed import StreamedTrace
from llmqgym.workload.workload import Workload

ROWS = [(0.25 * row + 0.001 * (row % 7), 10 + 37 * row % 900, row * row % 6000) for row in range(60)]
HEADERS = {
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens",
    "burstgpt": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type",
    "normalised": "arrival_time_s,prompt_tokens,output_tokens",
    "capped": "arrival_time_s,prompt_tokens,output_tokens,max_output_tokens,tenant",
}
CELLS = {
    "azure": lambda time, prompt, output: f"2023-11-16 18:15:{4 + time:09.6f},{prompt},{output}",
    "burstgpt": lambda time, prompt, output: f"{1000 + time},GPT-4,{prompt},{output},0,API log",
    "normalised": lambda time, prompt, output: f"{time},{prompt},{output}",
    "capped": lambda time, prompt, output: f"{time},{prompt},{output},{output + 1},{prompt % 3}",
}


def write(tmp_path, name, rows=ROWS):
    path = tmp_path / "trace.csv"
    path.write_text("\n".join([HEADERS[name], *itertools.starmap(CELLS[name], rows)]))
    return path


def joined(source):
    return np.concatenate(list(source.chunks()))


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(table, "BLOCK_ROWS", 7)


@pytest.mark.parametrize("name", HEADERS)
def test_a_streamed_trace_has_the_requests_of_the_table(tmp_path, name):
    path = write(tmp_path, name)
    streamed, whole = open_trace(path, resident=20), read_trace(path)
    assert isinstance(streamed, StreamedTrace)
    assert max(len(chunk) for chunk in streamed.chunks()) == 7
    assert joined(streamed).tobytes() == whole.requests.tobytes()
    assert len(streamed) == len(whole)
    assert streamed.corrections == whole.corrections
    assert streamed.source == {**whole.source, "streamed": True}


def test_what_fits_stays_in_memory_and_a_limit_is_kept(tmp_path):
    path = write(tmp_path, "normalised")
    assert isinstance(open_trace(path), Workload)
    assert isinstance(open_trace(path, limit=20, resident=20), Workload)
    limited = open_trace(path, limit=50, resident=20)
    assert (len(limited), limited.source["limit"]) == (50, 50)
    assert joined(limited).tobytes() == read_trace(path, limit=50).requests.tobytes()


STEPS = [
    lambda w: transform.window(w, 3.0, 9.0),
    lambda w: transform.thin(w, 0.4, 3),
    lambda w: transform.head(w, 23),
    lambda w: transform.scale_time(w, 1.7),
    lambda w: transform.scale_to_rate(w, 2.0),
]


@pytest.mark.parametrize("steps", [*([step] for step in STEPS), STEPS])
def test_transforms_do_the_same_chunk_by_chunk(tmp_path, steps):
    path = write(tmp_path, "normalised")
    streamed, whole = open_trace(path, resident=5), read_trace(path)
    if len(steps) > 1:
        steps = [steps[0], steps[1], lambda w: transform.head(w, 5), *steps[3:]]
    for step in steps:
        streamed, whole = step(streamed), step(whole)
    assert joined(streamed).tobytes() == whole.requests.tobytes()
    assert len(streamed) == len(whole)
    assert streamed.source["transforms"] == whole.source["transforms"]


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda w: transform.window(w, 500.0, 600.0), "no request of trace arrives in 500.0 to 600.0 s"),
        (lambda w: transform.head(w, 99), "cannot take the first 99 of the 60"),
        (lambda w: transform.thin(w, 1e-9, 0), "keeps none"),
    ],
)
def test_what_leaves_nothing_says_so(tmp_path, step, message):
    with pytest.raises(InputError, match=message):
        joined(step(open_trace(write(tmp_path, "normalised"), resident=5)))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*ROWS[:42], (0.5, 3, 3)], "trace.csv: row 42 arrives at 0.5 s, before row 41"),
        ([*ROWS[:44], (0.5, 3, 3)], r"in the rows from 42 on: row 2 arrives at 0.5 s, before row 1"),
        ([*ROWS[:44], (99.0, -3, 3)], "in the rows from 42 on: row 2: prompt_tokens is -3"),
        ([*ROWS[:44], ("x", 3, 3)], "line 46, column 'arrival_time_s'"),
    ],
)
def test_bad_rows_are_found_before_anything_runs(tmp_path, rows, message):
    with pytest.raises(InputError, match=message):
        open_trace(write(tmp_path, "normalised", rows), resident=5)
