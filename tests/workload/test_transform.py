"""Transforms of workloads: what each keeps, what it changes, what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest

from llmqgym.errors import InputError
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.workload.transform import head, scale_time, scale_to_rate, thin, window
from llmqgym.workload.workload import Workload, make_workload


def workload(arrival_s: list[float]) -> Workload:
    num = len(arrival_s)
    return make_workload(
        "toy", {"path": "toy.csv"}, arrival_s=arrival_s, prompt_tokens=np.arange(num) + 1, output_tokens=[2] * num
    )


def arrival_s(w: Workload) -> list[float]:
    return [float(ps) / PS_PER_S for ps in w.requests["arrival_ps"]]


EVERY: list[Callable[[Workload], Workload]] = [
    lambda w: scale_time(w, 0.5),
    lambda w: scale_to_rate(w, 3.0),
    lambda w: window(w, 1.0, 3.0),
    lambda w: thin(w, 0.5, 1),
    lambda w: head(w, 2),
]


@pytest.mark.parametrize("transform", EVERY)
def test_the_argument_is_untouched_and_the_result_is_noted(transform: Callable[[Workload], Workload]) -> None:
    w = workload([0.0, 1.0, 2.0, 4.0])
    before = w.requests.copy()
    once = transform(w)
    twice = transform(once) if len(once) > 2 else head(once, 1)
    once.requests["tenant"] = 9
    assert all((w.requests[name] == before[name]).all() for name in ("arrival_ps", "prompt_tokens", "tenant"))
    assert "transforms" not in w.source
    assert [len(json.loads(json.dumps(x.source["transforms"]))) for x in (once, twice)] == [1, 2]
    assert once.source["path"] == "toy.csv"
    assert (np.diff(once.requests["arrival_ps"]) >= 0).all()


def test_scale_time() -> None:
    assert arrival_s(scale_time(workload([0.0, 1.0, 4.0]), 2.5)) == [0.0, 2.5, 10.0]


def test_scale_to_rate_gives_the_rate() -> None:
    scaled = scale_to_rate(workload([3.0, 4.0, 9.0]), 4.0)
    assert (len(scaled) - 1) / scaled.duration_s == pytest.approx(4.0, rel=1e-9)


def test_window_is_half_open_and_starts_at_zero() -> None:
    w = workload([0.0, 1.0, 2.5, 3.0, 7.0])
    assert arrival_s(window(w, 1.0, 3.0)) == [0.0, 1.5]
    assert window(w, 1.0, 3.0).requests["prompt_tokens"].tolist() == [2, 3]
    assert arrival_s(window(w, 2.0, math.inf)) == [0.5, 1.0, 5.0]


def test_thin_keeps_a_share_and_is_repeatable() -> None:
    w = workload([float(i) for i in range(10_000)])
    kept = thin(w, 0.3, seed=7)
    assert len(kept) == pytest.approx(3000, abs=4 * math.sqrt(10_000 * 0.3 * 0.7))
    assert (kept.requests["arrival_ps"] == thin(w, 0.3, seed=7).requests["arrival_ps"]).all()
    assert len(thin(w, 1.0, seed=7)) == len(w)
    other = thin(w, 0.3, seed=8).requests["arrival_ps"]
    assert not np.array_equal(kept.requests["arrival_ps"], other)


def test_head() -> None:
    assert arrival_s(head(workload([0.0, 1.0, 4.0]), 2)) == [0.0, 1.0]


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda w: scale_time(w, 0.0), "time factor is 0.0"),
        (lambda w: scale_time(w, math.nan), "time factor is nan"),
        (lambda w: scale_time(w, math.inf), "time factor is inf"),
        (lambda w: scale_time(w, 1e9), "past the horizon .* use a factor below 2.16e"),
        (lambda w: scale_to_rate(w, -1.0), "rate is -1.0"),
        (lambda w: scale_to_rate(head(w, 1), 1.0), "no rate to scale"),
        (lambda w: window(w, 2.0, 2.0), "need 0 <= start < end"),
        (lambda w: window(w, -1.0, 2.0), "need 0 <= start < end"),
        (lambda w: window(w, math.nan, 2.0), "need 0 <= start < end"),
        (lambda w: window(w, 0.0, math.nan), "need 0 <= start < end"),
        (lambda w: window(w, 5.0, 9.0), "no request of toy arrives in 5.0 to 9.0 s: its arrivals run from 0.0 to 4.0"),
        (lambda w: thin(w, 0.0, 1), "share 0.0 is outside"),
        (lambda w: thin(w, 1.1, 1), "share 1.1 is outside"),
        (lambda w: thin(w, 0.5, -1), "seed -1 is negative"),
        (lambda w: thin(w, 1e-12, 1), "keeps none of the 4 requests"),
        (lambda w: head(w, 0), "give 1 to 4"),
        (lambda w: head(w, 5), "first 5 of the 4 requests"),
    ],
)
def test_refusals(transform: Callable[[Workload], Workload], message: str) -> None:
    with pytest.raises(InputError, match=message):
        transform(workload([0.0, 1.0, 2.0, 4.0]))
