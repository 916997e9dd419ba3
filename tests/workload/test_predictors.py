"""Predictors: their laws against theory, their random streams, their settings; predictions in workloads and sources."""

from __future__ import annotations

import inspect
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pieces import InChunks
from scipy.special import k1, kv, stdtr
from scipy.stats import kendalltau, kstest

from llmqgym.errors import InputError
from llmqgym.workload.generate import poisson_lognormal
from llmqgym.workload.predictors import PREDICTORS, Draws, apply_predictor, make_predictor
from llmqgym.workload.predictors.apply import REFERENCE_REQUESTS
from llmqgym.workload.predictors.channel import Channel, read_channel
from llmqgym.workload.predictors.fit import fit_confusion
from llmqgym.workload.predictors.rank import correlation_for
from llmqgym.workload.predictors.ssjf import SSJF
from llmqgym.workload.streams import STREAMS, random_stream
from llmqgym.workload.workload import MAX_TOKENS, Workload

NUM = 100_000
UNIT = 10**6
#: Exponential lengths with mean UNIT: whole numbers so large that they pass for continuous ones.
EXPONENTIAL = np.maximum(np.rint(np.random.default_rng(1).exponential(UNIT, NUM)), 1).astype(np.int64)
CHAT = poisson_lognormal(5000, 1.0, 3)
PREDICTIONS = ("predicted_output_tokens", "predicted_lower_tokens", "predicted_upper_tokens")
#: Every predictor, with settings of which none is the default.
SPECS = (
    "none",
    "perfect",
    "bias:k=2",
    "lognormal:sigma=0.7",
    "exponential",
    "uniform:a=0.3",
    "student:df=3,scale=0.5",
    "contaminated:share=0.3",
    "one_bit:threshold=200,error=0.1",
    "bins:within=0.2",
    "bins:quantiles=true",
    "interval:low=0.4,high=3",
    "rank:tau=0.5",
    "refreshing:mae=20",
)


def predict(spec: str, tokens: NDArray[np.int64], seed: int = 0) -> Any:
    return make_predictor(spec).predict(tokens, Draws(seed))


def point(spec: str, tokens: NDArray[np.int64], seed: int = 0) -> NDArray[np.float64]:
    return predict(spec, tokens, seed).point


def test_every_predictor_is_tried_here():
    assert {spec.split(":")[0] for spec in SPECS} == set(PREDICTORS)
    assert all(make_predictor(spec).name == spec.split(":")[0] for spec in SPECS)


def test_plain_ones():
    assert np.isnan(point("none", EXPONENTIAL)).all()
    assert (point("perfect", EXPONENTIAL) == EXPONENTIAL).all()
    assert (point("bias:k=0.5", EXPONENTIAL) == EXPONENTIAL / 2).all()
    assert (point("bias:k=0", EXPONENTIAL) == 0).all()


def test_lognormal_is_what_it_was_before_the_other_predictors_came():
    normal = random_stream(7, "predictions").standard_normal(NUM)
    assert (point("lognormal:sigma=0.5", EXPONENTIAL, 7) == np.exp(0.5 * normal) * EXPONENTIAL).all()


def test_exponential_predictions_of_exponential_lengths_follow_the_bessel_law():
    """queueing.md, 2: P(Y <= y) = 1 - 2 sqrt(y) K1(2 sqrt(y)); E[X; Y <= y] = 1 - 2 y K2(2 sqrt(y))."""
    said = point("exponential", EXPONENTIAL) / UNIT
    assert kstest(said, lambda y: 1 - 2 * np.sqrt(y) * k1(2 * np.sqrt(y))).statistic < 1.63 / np.sqrt(NUM)
    for y in (0.2, 0.92, 1.461, 3.0):
        load = EXPONENTIAL[said <= y].sum() / UNIT / NUM
        assert load == pytest.approx(1 - 2 * y * kv(2, 2 * np.sqrt(y)), abs=0.01)


@pytest.mark.parametrize("a", [0.0, 0.5, 1.0])
def test_uniform_predictions_spread_evenly_and_keep_the_mean(a):
    ratio = point(f"uniform:a={a}", EXPONENTIAL) / EXPONENTIAL
    assert ratio.min() >= 1 - a
    assert ratio.max() <= 1 + a
    assert ratio.mean() == pytest.approx(1, abs=0.006)
    if a:
        assert kstest((ratio - 1 + a) / (2 * a), "uniform").statistic < 1.63 / np.sqrt(NUM)


def test_student_ratios_follow_students_law_within_the_limit():
    log_ratio = np.log(point("student", EXPONENTIAL) / EXPONENTIAL)
    assert np.abs(log_ratio).max() == pytest.approx(4.0)
    inner = np.sort(log_ratio)
    expected = stdtr(1.98, inner / 0.315)
    assert np.abs(np.arange(1, NUM + 1) / NUM - expected)[np.abs(inner) < 3.9].max() < 1.63 / np.sqrt(NUM)
    far = point("student:df=0.1,scale=10,limit=100", EXPONENTIAL)
    assert np.isfinite(far).all()
    assert far.max() == MAX_TOKENS


def test_a_contaminated_regressor_is_near_but_for_a_share():
    tokens = np.full(NUM, 10_000)
    error = point("contaminated:share=0.25", tokens) - tokens
    near_mask = np.abs(error - 7.4) < 6 * 11.6
    assert near_mask.mean() == pytest.approx(0.75, abs=0.012)
    assert (error[near_mask].mean(), error[near_mask].std()) == (
        pytest.approx(7.4, abs=0.4),
        pytest.approx(11.6, abs=1),
    )
    assert (point("contaminated", np.ones(NUM, np.int64)) >= 0).all()


@pytest.mark.parametrize(
    ("errors", "short", "long"),
    [("error=0", 0, 0), ("error=0.2", 0.2, 0.2), ("error_long=0.5", 0, 0.5), ("error=0.3,error_long=0.1", 0.3, 0.1)],
)
def test_one_bit_is_flipped_with_its_chance(errors, short, long):
    said = point(f"one_bit:threshold={UNIT},{errors}", EXPONENTIAL)
    long_mask = EXPONENTIAL >= UNIT
    assert set(np.unique(said)) <= {0, UNIT}
    assert (said[~long_mask] > 0).mean() == pytest.approx(short, abs=0.01)
    assert (said[long_mask] == 0).mean() == pytest.approx(long, abs=0.01)
    called_short = (1 - np.exp(-1)) * (1 - short) + np.exp(-1) * long
    assert (said == 0).mean() == pytest.approx(called_short, abs=0.01)


@pytest.mark.parametrize(("low", "high"), [(0.5, 2.0), (0.4, 0.9), (1.0, 1.0)])
def test_an_interval_holds_the_truth_and_does_not_tell_where(low, high):
    said = predict(f"interval:low={low},high={high}", EXPONENTIAL)
    assert (said.lower <= EXPONENTIAL).all()
    assert (said.upper >= EXPONENTIAL).all()
    assert said.upper / said.lower == pytest.approx(high / low)
    assert said.point == pytest.approx((said.lower + said.upper) / 2)
    if high > low:
        place = (EXPONENTIAL - said.lower) / (said.upper - said.lower)
        assert kstest(place, "uniform").statistic < 1.63 / np.sqrt(NUM)
        assert abs(np.corrcoef(place, EXPONENTIAL)[0, 1]) < 0.01


@pytest.mark.parametrize("tau", [-1, -0.4, 0, 0.3, 0.62, 0.9, 1])
@pytest.mark.parametrize(
    "tokens", [EXPONENTIAL[:20_000], EXPONENTIAL[:20_000] // (UNIT // 8) + 1], ids=["fine", "tied"]
)
def test_a_rank_has_its_tau(tau, tokens):
    score = point(f"rank:tau={tau}", tokens)
    assert ((score > 0) & (score < 1)).all()
    assert kendalltau(tokens, score).statistic == pytest.approx(tau, abs=0.02 if abs(tau) < 1 else 1e-12)


def test_without_ties_the_copula_is_kendalls():
    assert correlation_for(0.6, np.arange(1000)) == pytest.approx(np.sin(0.3 * np.pi), abs=0.002)


def test_a_tau_that_ties_forbid_is_refused():
    with pytest.raises(InputError, match=r"tau is 0\.95, but 37.3% of the pairs .* give less than 0\.7\d\d in size"):
        predict("rank:tau=0.95", np.tile([1, 1, 5, 9], 100))
    assert len(set(point("rank:tau=1", np.array([7, 7, 7])))) == 1


def test_bins_reproduce_their_matrix_and_means():
    said = point("bins", CHAT.requests["output_tokens"])
    assert set(said) == set(SSJF.mean_tokens)
    tokens = np.random.default_rng(0).integers(1, 600, NUM)
    predicted = np.searchsorted(SSJF.mean_tokens, point("bins", tokens))
    drawn = fit_confusion(tokens, predicted, SSJF.edges)
    assert np.array(drawn.confusion) == pytest.approx(np.array(SSJF.confusion), abs=0.01)


def test_bins_at_quantiles_have_the_shares_and_the_means_of_the_trace():
    scaled = SSJF.scaled_to(EXPONENTIAL)
    assert scaled.edges == pytest.approx(-UNIT * np.log1p(-np.array(SSJF.shares)), rel=0.05)
    said = point("bins:quantiles=true", EXPONENTIAL)
    assert np.unique(said) == pytest.approx(sorted(scaled.mean_tokens))
    assert said.mean() == pytest.approx(EXPONENTIAL.mean(), rel=0.01)


def test_a_channel_goes_through_a_file(tmp_path):
    truth = EXPONENTIAL // 1000
    fitted = fit_confusion(truth, np.searchsorted([500, 2000], truth * 1.3), [500, 2000], within=0.1)
    for document in (fitted.document(), {"fitted": fitted.document(), "other": 1}):
        (tmp_path / "fit.json").write_text(json.dumps(document))
        assert read_channel(tmp_path / "fit.json") == fitted
    assert set(point(f"bins:file={tmp_path / 'fit.json'}", truth)) == set(fitted.mean_tokens)


def test_classes_without_requests_have_something_to_say():
    fitted = fit_confusion(np.array([5, 6, 50]), np.array([0, 0, 0]), [10, 100])
    assert fitted.confusion == ((1, 0, 0), (1, 0, 0), (0, 0, 1))
    assert fitted.mean_tokens == pytest.approx((61 / 3, 10, 100))
    with pytest.raises(InputError, match="row 1: predicted class 3 is outside 0 to 2"):
        fit_confusion(np.array([5, 6]), np.array([0, 3]), [10, 100])


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("size", [1, 7, 999])
def test_predictions_do_not_depend_on_chunks(spec, size):
    workload = Workload("few", CHAT.requests[:1000])
    spec = spec + ("," if ":" in spec else ":") + "missing=0.2"
    whole = apply_predictor(workload, spec, 5).requests
    source = apply_predictor(InChunks(workload, size), spec, 5)
    for _ in range(2):
        pieces = list(source.chunks())
        assert len(pieces) == -(-1000 // size)
        assert np.concatenate(pieces).tobytes() == whole.tobytes()


@pytest.mark.parametrize("spec", SPECS)
def test_predictions_change_no_other_field_and_hold_what_a_request_can(spec):
    done = apply_predictor(CHAT, spec, 5)
    assert done.source == {**CHAT.source, "predictor": spec}
    for name in set(CHAT.requests.dtype.names) - set(PREDICTIONS):
        assert (done.requests[name] == CHAT.requests[name]).all(), name
    for name in PREDICTIONS:
        values = done.requests[name]
        said = values[~np.isnan(values)]
        assert ((said >= 0) & (said <= MAX_TOKENS)).all()
    assert np.isnan(CHAT.requests["predicted_output_tokens"]).all()
    again, other = apply_predictor(CHAT, spec, 5), apply_predictor(CHAT, spec, 6)
    assert again.requests.tobytes() == done.requests.tobytes()
    exact = spec.split(":")[0] in ("none", "perfect", "bias")
    assert (other.requests.tobytes() == done.requests.tobytes()) == exact


def test_a_share_goes_without_and_the_rest_is_as_before():
    full, part = (apply_predictor(CHAT, f"interval:missing={share}", 5).requests for share in (0, 0.3))
    gone_mask = np.isnan(part["predicted_output_tokens"])
    assert gone_mask.mean() == pytest.approx(0.3, abs=0.03)
    for name in PREDICTIONS:
        assert np.isnan(part[name][gone_mask]).all()
        assert (part[name][~gone_mask] == full[name][~gone_mask]).all()
    assert apply_predictor(CHAT, "perfect:missing=1", 5).requests.tobytes() == CHAT.requests.tobytes()


def test_a_cost_is_recorded_and_changes_nothing():
    free, dear = (apply_predictor(CHAT, f"lognormal{cost}", 5) for cost in ("", ":cost_s=0.008"))
    assert free.requests.tobytes() == dear.requests.tobytes()
    assert "predictor_cost_s" not in free.source
    assert dear.source["predictor_cost_s"] == 0.008
    assert apply_predictor(InChunks(CHAT, 10), "none:cost_s=1", 0).source == {
        "predictor": "none:cost_s=1",
        "predictor_cost_s": 1,
    }


def test_the_reference_is_the_beginning_of_a_source():
    workload = Workload("long", np.resize(CHAT.requests, REFERENCE_REQUESTS + 5000))
    whole = apply_predictor(workload, "rank", 1).requests
    pieces = np.concatenate(list(apply_predictor(InChunks(workload, 40_000), "rank", 1).chunks()))
    assert pieces.tobytes() == whole.tobytes()


@pytest.mark.parametrize("seed", [0, 5, 2**32 - 1, 2**32, 2**62 - 1, 2**127 + 9, 2**128, 3**200])
@pytest.mark.parametrize("branch", [(), (0,), (1, 70_000), (2**32,)])
def test_a_stream_is_the_child_that_numpy_spawns(seed, branch):
    sequence = np.random.SeedSequence(seed, spawn_key=(STREAMS["labels"], *branch))
    expected = np.random.default_rng(sequence).bit_generator.state
    assert random_stream(seed, "labels", *branch).bit_generator.state == expected


def test_each_kind_of_draw_has_a_stream_of_its_own():
    draws = Draws(11)
    kinds = [draws.normal(3), draws.uniform(3), draws.exponential(3), draws.choice(3), draws.missing(3)]
    assert len({values.tobytes() for values in kinds}) == len(kinds)
    key = (STREAMS["predictions"], 0)
    first_child = np.random.default_rng(np.random.SeedSequence(11, spawn_key=key))
    assert (Draws(11).missing(3) == first_child.random(3)).all()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("uniform:a=1.1", "a is 1.1: give a number from 0 to 1"),
        ("bias:k=-1", "k is -1"),
        ("bias:k=nan", "k is nan"),
        ("student:df=0", "df is 0: give a number from 0.1"),
        ("lognormal:sigma=true", "sigma is True: give a number"),
        ("one_bit", "needs threshold"),
        ("one_bit:threshold=0", "threshold is 0: give a number from 1"),
        ("one_bit:threshold=5,error_long=2", "error_long is 2"),
        ("interval:low=2,high=1", "low is 2, above high, 1"),
        ("interval:low=0", "low is 0"),
        ("rank:tau=1.5", "from -1 to 1"),
        ("rank:reference_tokens=3", "unknown setting of predictor 'rank' 'reference_tokens'"),
        ("perfect:missing=1.5", "missing is 1.5: give a number from 0 to 1"),
        ("perfect:cost_s=-1", "cost_s is -1"),
        ("perfect:mising=1", "did you mean 'missing'"),
        ("bins:quantiles=2", "give true or false"),
        ("bins:within=1", "within is 1: give a number from -0.99"),
        ("bins:file=/nowhere.json", "/nowhere.json: cannot be read"),
    ],
)
def test_bad_settings_are_refused(spec, message):
    with pytest.raises(InputError) as caught:
        make_predictor(spec)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "it is no channel: give an object with edges"),
        ('{"edges": 1, "shares": [], "confusion": [], "mean_tokens": []}', "it is no channel"),
    ],
)
def test_bad_channel_files_are_refused(tmp_path, text, message):
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(InputError, match=r"c\.json: ") as caught:
        read_channel(tmp_path / "c.json")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": (5.0, 4.0)}, "let them increase"),
        ({"edges": ()}, "give 1 to"),
        ({"shares": (0.5,)}, "give 2, one an edge"),
        ({"shares": (0.5, 2.0)}, "give 0 to 1"),
        ({"mean_tokens": (1.0,)}, "give 3, one a class"),
        ({"mean_tokens": (1.0, -2.0, 3.0)}, "give lengths"),
        ({"confusion": ((1.0,),)}, "give 3 rows of 3"),
        ({"confusion": ((0.5, 0.0, 0.0),) * 3}, "add up to 1"),
        ({"within": 1.0}, "between -1 and 1"),
    ],
)
def test_bad_channels_are_refused(change, message):
    good: dict[str, Any] = {
        "edges": (4.0, 9.0),
        "shares": (0.2, 0.9),
        "confusion": ((0.5, 0.25, 0.25),) * 3,
        "mean_tokens": (1.0, 6.0, 20.0),
    }
    assert Channel(**good).true_class(np.array([4, 5, 10])).tolist() == [0, 1, 2]
    with pytest.raises(InputError, match=message):
        Channel(**{**good, **change})


def test_the_list_tells_every_setting():
    for entry in PREDICTORS.values():
        own = [text.split("=")[0] for text in entry.settings()]
        assert own == [name for name in inspect.signature(entry.load()).parameters if name not in ("missing", "cost_s")]
        assert inspect.getdoc(entry.load())
