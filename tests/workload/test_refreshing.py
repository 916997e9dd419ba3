"""TRAIL's refreshed predictions: the posterior against matrices, its errors against those published, its randomness."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from baselines.registry import make_policy
from llmqgym.errors import InputError
from llmqgym.kernel import tables
from llmqgym.kernel.hashing import bell, random_bits, uniform
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.refreshing import MEAN_PRODUCT, _move_down
from llmqgym.run import simulate
from llmqgym.workload.generate import poisson_lognormal
from llmqgym.workload.lengths import draw_outputs
from llmqgym.workload.predictors import Draws, make_predictor
from llmqgym.workload.predictors.follow import follow_requests

#: In plain Python a look takes a thousand times as long.
NUM = 20_000 if COMPILED else 150


def followed(spec):
    predictor = make_predictor(spec)
    output_tokens = draw_outputs(predictor.usual_lengths, NUM, 1)
    return follow_requests(output_tokens, predictor.predict(output_tokens, Draws(1)).point, predictor.looks(1))


def estimate(posterior):
    row = np.zeros(1, tables.ESTIMATE)
    row["posterior"][0, : len(posterior)] = posterior
    return row[0]


def test_the_posterior_moves_by_the_matrix_of_trail():
    """T[i, i] = 1 - 1/w, T[i, i-1] = 1/w, T[0, 0] = 1, to the power of the tokens."""
    width, tokens = 51.2, 8
    matrix = np.diag([1.0] + [1 - 1 / width] * 9) + np.diag([1 / width] * 9, k=-1)
    start = np.random.default_rng(0).dirichlet(np.ones(10))
    row = estimate(start)
    _move_down(row, 10, width, tokens)
    assert row.posterior[:10] == pytest.approx(start @ np.linalg.matrix_power(matrix, tokens), rel=1e-12)
    assert row.posterior.sum() == pytest.approx(1.0, abs=1e-12)


def test_without_evidence_a_flat_belief_falls_by_nine_tenths_a_token():
    """Of ten equal bins nine pass a share 1/w a token to the one below, w tokens lower."""
    width = 51.2
    middles = (np.arange(10) + 0.5) * width
    row = estimate(np.full(10, 0.1))
    _move_down(row, 10, width, 1)
    assert middles.mean() - row.posterior[:10] @ middles == pytest.approx(0.9)


@pytest.mark.skipif(not COMPILED, reason="a mean over so many looks takes minutes in plain Python")
def test_the_errors_are_those_that_trail_reports():
    """46.1 tokens for the first estimate, of which 51 % in the right bin; 33.9 for the classifier."""
    report = followed("refreshing")
    assert report["first_mae"] == pytest.approx(46.1, abs=1.5)
    assert report["classifier_mae"] == pytest.approx(33.9, abs=1.0)
    assert report["mae"] == pytest.approx(34, abs=1.5)
    assert report["worst_sum"] < 1e-12


@pytest.mark.skipif(not COMPILED, reason="a mean over so many looks takes minutes in plain Python")
def test_independent_looks_average_out_and_a_perfect_classifier_is_right_to_a_bin():
    assert followed("refreshing:persistence=0")["mae"] < 0.65 * followed("refreshing")["mae"]
    assert followed("refreshing:mae=0,initial_mae=0")["mae"] < 0.3 * 51.2


def test_whoever_has_no_prediction_gets_none():
    report = followed("refreshing:missing=1")
    assert report["num_looks"] == 0
    assert np.isnan(report["first_mae"])


def test_a_run_with_refreshed_predictions_serves_the_short_ones_first():
    """With a classifier that is nearly right SPRPT comes close to SRPT, and without it stays behind."""
    workload = poisson_lognormal(6000 if COMPILED else 60, 8.0, 1, output_max=512)
    run = {
        (policy, predictor): simulate(workload, policy=make_policy(policy), predictor=predictor).summary
        for policy, predictor in (
            ("sjf", None),
            ("spjf", "none"),
            ("spjf", "refreshing:initial_mae=200"),
            ("spjf", "refreshing:initial_mae=10"),
        )
    }
    means = [summary["e2e_s"]["mean"] for summary in run.values()]
    if COMPILED:
        assert means[0] < means[3] < means[2] < means[1]


def test_the_departures_carry_the_first_prediction():
    workload = poisson_lognormal(50, 8.0, 1)
    result = simulate(workload, policy=make_policy("sprpt"), predictor="refreshing", seed=4)
    first = make_predictor("refreshing").predict(workload.requests["output_tokens"], Draws(4)).point
    by_id = result.departures[np.argsort(result.departures["id"])]
    assert np.array_equal(by_id["predicted_output_tokens"], first)


@pytest.mark.parametrize("bad", ["every=0", "every=1.5", "bins=1", "bins=17", "mae=-1", "persistence=2", "max=5"])
def test_bad_settings(bad):
    with pytest.raises(InputError, match=bad.split("=")[0]):
        make_predictor(f"refreshing:{bad}")


# The hash


def splitmix(state):
    """One output of SplitMix64, as its authors write it down."""
    z = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ z >> 27) * 0x94D049BB133111EB % 2**64
    return z ^ z >> 31


def test_the_hash_is_splitmix_three_times():
    assert splitmix(0) == 0xE220A8397B1DCDAF  # its published first output
    for seed, request, index in ((0, 0, 0), (7, 12, 3), (2**63 - 1, 10**9, 10**6)):
        expected = splitmix((splitmix((splitmix(seed) + request) % 2**64) + index) % 2**64)
        assert random_bits(seed, request, index) == expected >> 4


def test_hashed_numbers_have_their_laws():
    draws = np.array([(uniform(7, request, 3), bell(7, request, 4), bell(7, request, 5)) for request in range(20_000)])
    assert stats.kstest(draws[:, 0], "uniform").pvalue > 1e-3
    for bells in draws.T[1:]:
        assert bells.mean() == pytest.approx(0, abs=0.03)
        assert bells.std() == pytest.approx(1, abs=0.02)
        assert stats.kstest(bells, "norm").statistic < 0.02
    assert abs(np.corrcoef(draws.T) - np.eye(3)).max() < 0.03
    assert np.abs(draws[:, 1] * draws[:, 2]).mean() == pytest.approx(MEAN_PRODUCT, rel=0.03)
