"""What predictions are worth: figures from small cases, the report, and the real predictors and traces."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kendalltau
from typer.testing import CliRunner

from llmqgym.cli.app import app
from llmqgym.errors import InputError
from llmqgym.workload.predictors import Draws, Predictions, make_predictor
from llmqgym.workload.predictors.apply import REFERENCE_REQUESTS
from llmqgym.workload.predictors.fit import fit_confusion, fit_within
from llmqgym.workload.predictors.report import report
from llmqgym.workload.predictors.ssjf import SSJF
from llmqgym.workload.predictors.worth import MAX_RANKED, MEANINGS, worth
from llmqgym.workload.traces.predictions import PredictedLengths, read_predictions

TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces"
BERT = TRACES / "predictors" / "ssjf_bert_pred.csv.gz"
ROBERTA = TRACES / "predictors" / "sharegpt_roberta_pred.csv.gz"
needs_traces = pytest.mark.skipif(not TRACES.is_dir(), reason="needs the traces in ../shared/traces")
#: Where the output lengths behind each row of the table of Kendall's tau are.
TAU_FILES = {
    "azure23_conv": "dev/azure23_conv",
    "sharegpt_v3": "dev/sharegpt_v3_lengths",
    "mooncake_conversation": "dev/mooncake_conversation",
    "deepseek_r1_morning": "dev/servegen_deepseek_r1_morning_1h",
    "ssjf_vicuna": "predictors/ssjf_bert_pred",
}


def cli(*args):
    return CliRunner().invoke(app, ["predictor", "report", *map(str, args)])


@cache
def lengths_of(path: Path) -> PredictedLengths:
    return read_predictions(path)


@cache
def output_tokens(dataset: str) -> NDArray[np.int64]:
    return lengths_of(TRACES / f"{TAU_FILES[dataset]}.csv.gz").output_tokens


def test_figures_of_a_small_case():
    truth = np.arange(1, 11) * 10
    said = Predictions.of(np.array([10, 20, 30, 40, 50, 60, 70, 80, 100, np.nan]))
    figures = worth(truth, said, classes=(np.array([0, 1, 2]), np.array([0, 2, 0])), long_tokens=80)
    assert figures["num_requests"] == 10
    assert figures["predicted_share"] == 0.9
    assert figures["mae_tokens"] == figures["bias_tokens"] == pytest.approx(10 / 9)
    assert figures["median_ae_tokens"] == figures["under_share"] == 0
    assert figures["kendall_tau_b"] == figures["spearman"] == pytest.approx(1)
    assert figures["bin_accuracy"] == figures["bin_within_one"] == 1
    assert (figures["class_accuracy"], figures["class_within_one"]) == (pytest.approx(1 / 3), pytest.approx(2 / 3))
    assert (figures["long_recall"], figures["long_recall_by_rank"]) == (1, 1)
    assert np.isnan(figures["interval_coverage"])
    assert set(MEANINGS) <= set(figures)


def test_ties_among_the_longest_predictions_count_in_proportion():
    truth = np.array([1, 2, 3, 4, 50, 60])
    figures = worth(truth, Predictions.of(np.array([1.0, 1, 9, 9, 9, 9])), long_tokens=50)
    assert figures["long_recall_by_rank"] == pytest.approx(0.5)
    assert figures["long_recall"] == 0


def test_intervals_are_covered_and_measured():
    said = Predictions.of(np.array([5.0, 5.0]), np.array([4.0, 6.0]), np.array([6.0, 9.0]))
    figures = worth(np.array([5, 5]), said)
    assert (figures["interval_coverage"], figures["interval_width_tokens"]) == (0.5, 2.5)


def test_no_prediction_is_worth_nothing_and_breaks_nothing():
    figures = worth(np.array([5, 6]), Predictions.of(np.full(2, np.nan)))
    assert figures["predicted_share"] == 0
    assert np.isnan([figures[name] for name in ("mae_tokens", "kendall_tau_b", "bin_accuracy", "long_recall")]).all()


def test_ranks_of_many_are_compared_on_evenly_spaced_ones():
    truth = np.random.default_rng(0).integers(1, 1000, MAX_RANKED + 1)
    figures = worth(truth, Predictions.of(truth * 1.0))
    assert figures["num_ranked"] == MAX_RANKED // 2 + 1
    assert figures["kendall_tau_b"] == pytest.approx(1)


def test_a_score_has_no_error_in_tokens():
    figures = report("rank:tau=0.5", PredictedLengths(np.arange(1, 2000)), 0)["predicted"]
    assert np.isnan([figures[name] for name in ("mae_tokens", "under_share", "long_recall")]).all()
    assert figures["kendall_tau_b"] == pytest.approx(0.5, abs=0.03)
    assert 0.3 < figures["bin_accuracy"] < 0.6


def test_one_bit_is_judged_at_its_threshold():
    figures = report("one_bit:threshold=700,error_long=0.25", PredictedLengths(np.arange(1, 5000)), 0)["predicted"]
    assert figures["long_tokens"] == 700
    assert figures["long_recall"] == pytest.approx(0.75, abs=0.02)


def test_real_predictions_stand_beside_the_others(tmp_path):
    rows = "".join(f"{tokens},{tokens + 10},\n{tokens},,0.5\n" for tokens in range(1, 400))
    (tmp_path / "real.csv").write_text("output_tokens,predicted_output_tokens,x\n" + rows)
    lengths = read_predictions(tmp_path / "real.csv")
    document = report("bins", lengths, 0)
    assert document["real"]["mae_tokens"] == document["real"]["bias_tokens"] == 10
    assert document["real"]["predicted_share"] == 0.5
    assert document["fitted"]["edges"] == document["channel"]["edges"] == SSJF.edges
    assert 0 < document["largest_difference"] <= 1
    assert report("trace", lengths, 0)["predicted"] is None
    assert report("perfect", lengths, 0)["channel"] is None


def test_classes_and_latencies_are_read(tmp_path):
    (tmp_path / "c.csv").write_text("output_tokens,pred_class5,predictor_latency_s\n40,0,0.01\n0,1,0.03\n150,2,0.02\n")
    lengths = read_predictions(tmp_path / "c.csv")
    assert lengths.output_tokens.tolist() == [40, 1, 150]
    document = report("trace", lengths, 0)
    assert document["real"]["class_accuracy"] == pytest.approx(2 / 3)
    assert document["real_cost_s"]["p50"] == 0.02
    assert len(read_predictions(tmp_path / "c.csv", limit=2).output_tokens) == 2


@pytest.mark.parametrize("spec", ["trace", "bins", "rank", "contaminated", "bins:quantiles=true"])
@pytest.mark.parametrize("num", [1, 2])
def test_one_request_or_equal_ones_are_enough(spec, num):
    truth = np.full(num, 7)
    document = report(spec, PredictedLengths(truth, predicted_output_tokens=truth * 1.0), 0)
    assert document["real"]["mae_tokens"] == 0
    assert np.isnan(document["real"]["kendall_tau_b"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column of output lengths among a, b: rename one to output_tokens"),
        ("output_tokens\n-1\n", "row 0: output_tokens is -1"),
        ("output_tokens,predicted_output_tokens\n1,2\n1,-2\n", "row 1: predicted_output_tokens is -2"),
        ("output_tokens\nx\n", "line 2"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, message):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(InputError, match=r"bad\.csv: ") as caught:
        read_predictions(tmp_path / "bad.csv")
    assert message in str(caught.value)


def test_the_command_reports_and_writes(tmp_path):
    out = tmp_path / "o.json"
    result = cli("bins:missing=0.1", "--requests", 3000, "--seed", 4, "--json", out)
    assert result.exit_code == 0, result.output
    for word in ("kendall_tau_b", "confusion matrix", "above 503", "lognormal:median=160"):
        assert word in result.stdout
    document = json.loads(out.read_text())
    assert document["predicted"]["num_requests"] == 3000
    assert document["predicted"]["predicted_share"] == pytest.approx(0.9, abs=0.02)
    assert document["real"] is None


def test_the_command_refuses():
    for args, message in (
        (["trace"], "there are none"),
        (["perfekt"], "did you mean 'perfect'"),
        (["perfect", "--seed", -1], "seed -1"),
    ):
        result = cli(*args)
        assert (result.exit_code, result.stdout) == (2, "")
        assert message in result.stderr


def test_the_list_names_every_predictor():
    result = CliRunner().invoke(app, ["list", "predictors"])
    assert "sigma=1.0" in result.stdout
    assert "missing=0.0, cost_s=0.0" in result.stdout
    assert "arXiv 2404.08509" in result.stdout


@needs_traces
@pytest.mark.parametrize("dataset", TAU_FILES)
def test_lognormal_predictions_have_the_kendall_tau_of_the_table(dataset):
    """All requests, so that only the table's own sample (of some 4,000, judging by its scatter) is random."""
    facts = json.loads((TRACES / "generator_params.json").read_text())["predictor_facts"]["sigma_to_kendall_tau"]
    tokens = output_tokens(dataset)
    for sigma, tau in facts[dataset]["tau_by_sigma"].items():
        said = make_predictor(f"lognormal:sigma={sigma}").predict(tokens, Draws(0)).point
        assert kendalltau(tokens, said).statistic == pytest.approx(tau, abs=0.02), sigma


@needs_traces
@pytest.mark.parametrize("dataset", TAU_FILES)
@pytest.mark.parametrize("tau", [0.2, 0.55, 0.9])
def test_ranks_have_their_tau_on_real_lengths(dataset, tau):
    tokens = output_tokens(dataset)
    score = make_predictor(f"rank:tau={tau}").prepare(tokens[:REFERENCE_REQUESTS]).predict(tokens, Draws(0)).point
    assert kendalltau(tokens, score).statistic == pytest.approx(tau, abs=0.02)


@needs_traces
def test_the_shipped_channel_is_the_one_that_the_file_gives():
    lengths = lengths_of(BERT)
    fitted = fit_confusion(lengths.output_tokens, lengths.predicted_class, SSJF.edges)
    assert np.array(fitted.confusion) == pytest.approx(np.array(SSJF.confusion), abs=5e-5)
    assert fitted.mean_tokens == pytest.approx(SSJF.mean_tokens, abs=0.05)
    assert fitted.shares == pytest.approx(SSJF.shares, abs=5e-5)
    within = fit_within(fitted, lengths.output_tokens, lengths.predicted_class).within
    assert within == pytest.approx(SSJF.within, abs=0.02)


@needs_traces
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_channel_is_worth_what_the_real_predictor_is(seed):
    document = report("bins", lengths_of(BERT), seed)
    drawn, real = document["predicted"], document["real"]
    assert drawn["kendall_tau_b"] == pytest.approx(real["kendall_tau_b"], abs=0.02)
    assert drawn["class_accuracy"] == pytest.approx(real["class_accuracy"], abs=0.01)
    assert drawn["mae_tokens"] == pytest.approx(real["mae_tokens"], rel=0.03)
    assert document["largest_difference"] < 5e-5


@needs_traces
def test_the_bare_matrix_is_worth_less_than_the_real_predictor():
    """Why `within` is there: the matrix alone forgets that the longer requests of a class are predicted longer."""
    document = report("bins:within=0", lengths_of(BERT), 0)
    assert document["predicted"]["kendall_tau_b"] < document["real"]["kendall_tau_b"] - 0.03


@needs_traces
def test_the_contaminated_regressor_ranks_as_the_real_one():
    document = report("contaminated", lengths_of(ROBERTA), 0)
    drawn, real = document["predicted"], document["real"]
    assert drawn["kendall_tau_b"] == pytest.approx(real["kendall_tau_b"], abs=0.02)
    assert drawn["under_share"] == pytest.approx(real["under_share"], abs=0.02)
    assert drawn["bin_accuracy"] == pytest.approx(real["bin_accuracy"], abs=0.02)
