"""Generated requests: laws against scipy, streams against each other, named workloads against their traces."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from llmqgym.errors import InputError
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.workload.arrivals import make_arrivals
from llmqgym.workload.compare import burstiness, compare, index_of_dispersion
from llmqgym.workload.generate import GeneratedWorkload, poisson_lognormal, sample_lengths
from llmqgym.workload.lengths import make_length_law
from llmqgym.workload.model import TrafficModel
from llmqgym.workload.modulation import make_modulation
from llmqgym.workload.named import NAMED

TRACES = Path(__file__).resolve().parents[3] / "shared" / "traces" / "dev"
PLAIN = TrafficModel(prompt="lognormal:median=600,sigma=1,max=8192", output="lognormal:median=160,sigma=0.8,max=4096")


def requests_of(model, num=2000, rate_per_s=5.0, seed=1):
    return GeneratedWorkload("x", model, num, rate_per_s, seed).table().requests


def arrivals_s(spec, num, rate_per_s, seed=0, modulation=()):
    process = make_arrivals(spec, [make_modulation(each) for each in modulation])(rate_per_s, seed)
    return process.take(num)[0] / PS_PER_S


# Streams


@settings(max_examples=30, deadline=None)
@given(name=st.sampled_from(sorted(NAMED)), sizes=st.lists(st.integers(1, 700), min_size=1, max_size=6))
def test_the_requests_do_not_depend_on_the_size_of_the_chunks(name, sizes):
    workload = GeneratedWorkload(name, NAMED[name].model, 1500, NAMED[name].rate_per_s, 5)
    whole = workload.table().requests.tobytes()
    for size in sizes:
        assert b"".join(chunk.tobytes() for chunk in workload.chunks(size)) == whole


#: sha256 of the first 1,000 requests of seed 3: the same on every platform, and from version to version.
GOLDEN = {
    "chat": "50aa6f4f2110d65d0f71c6c46daedb4e2084fd5ba99697dff9b5f6368529e52e",
    "chat_azure23": "306812d452c10c4ab6a422ad82a2da5a3f266106922eb744c379134a3e265559",
    "reasoning_r1_evening": "98236ba79f91d32d706edba8b48e7b32726728078de4f9f811bab67f3d2b0292",
    "api_burstgpt": "87741bc39a76c9eb982a731c096dbad1b5052351b4e44c2ed4df86094007acc8",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_seed_gives_the_same_requests_everywhere(name):
    requests = GeneratedWorkload(name, NAMED[name].model, 1000, NAMED[name].rate_per_s, 3).table().requests
    columns = [requests[field].astype("<i8").tobytes() for field in ("arrival_ps", "prompt_tokens", "output_tokens")]
    assert hashlib.sha256(b"".join(columns)).hexdigest() == GOLDEN[name]


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({"prompt": "constant:tokens=9"}, {"prompt_tokens"}),
        ({"output": "constant:tokens=9"}, {"output_tokens", "max_output_tokens"}),
        ({"arrivals": "gamma:cv=2"}, {"arrival_ps"}),
        ({"modulation": ("log_ar1:sd=0.3,phi=0.5",)}, {"arrival_ps"}),
        ({"tenant_shares": (0.5, 0.5)}, {"tenant"}),
        ({"priority_shares": (0.5, 0.5)}, {"priority"}),
        ({"correlation": 0.5}, {"output_tokens"}),
        ({"ttft_limit_s": 1.0}, {"ttft_limit_ps"}),
    ],
)
def test_a_change_in_one_draw_shifts_no_other(changed, fields):
    before, after = requests_of(PLAIN), requests_of(PLAIN.with_settings(changed))
    for field in before.dtype.names:
        same = np.array_equal(before[field], after[field], equal_nan=before[field].dtype.kind == "f")
        assert same == (field not in fields), field


def test_more_requests_begin_with_the_same_ones_and_another_seed_does_not():
    assert requests_of(PLAIN, 300).tobytes() == requests_of(PLAIN, 900)[:300].tobytes()
    assert (requests_of(PLAIN, seed=2)["arrival_ps"] != requests_of(PLAIN)["arrival_ps"]).all()


# Lengths


@pytest.mark.parametrize(
    ("spec", "law"),
    [
        ("lognormal:median=600,sigma=0.7", stats.lognorm(0.7, scale=600)),
        ("weibull:shape=2.878,scale=2855", stats.weibull_min(2.878, scale=2855)),
        ("lognormal_mixture:weights=1,mu=6,sigma=0.5", stats.lognorm(0.5, scale=math.exp(6))),
    ],
)
def test_length_laws_have_their_quantiles(spec, law):
    levels = np.array([1e-6, 0.01, 0.5, 0.9, 0.999, 1 - 1e-6])
    found = make_length_law(spec).quantile(stats.norm.ppf(levels))
    assert found == pytest.approx(law.ppf(levels), rel=1e-4)


def test_a_mixture_has_the_distribution_function_of_its_parts():
    law = make_length_law("lognormal_mixture:weights=0.3/0.7,mu=3/6,sigma=0.4/0.8")
    scores = np.linspace(-6, 6, 997)
    tokens = law.quantile(scores)
    cdf = 0.3 * stats.lognorm(0.4, scale=math.exp(3)).cdf(tokens) + 0.7 * stats.lognorm(0.8, scale=math.exp(6)).cdf(
        tokens
    )
    assert cdf == pytest.approx(stats.norm.cdf(scores), rel=1e-3)


def test_a_table_of_quantiles_is_met():
    law = make_length_law("quantiles:levels=0.5/0.9/0.99,tokens=8/43/271,max=2000")
    tokens = law.tokens(np.random.default_rng(0).standard_normal(400_000))
    assert np.percentile(tokens, [50, 90, 99]) == pytest.approx([8, 43, 271], rel=0.03)
    assert tokens.min() == 1
    assert tokens.max() <= 2000


def test_empirical_lengths_are_those_of_the_file(tmp_path):
    path = tmp_path / "lengths.csv"
    path.write_text("prompt_tokens,output_tokens\n" + "".join(f"{i},{2 * i}\n" for i in (5, 9, 40, 7)))
    model = TrafficModel(prompt=f"empirical:trace={path},column=prompt", output=f"empirical:trace={path},column=output")
    requests = requests_of(model, 8000)
    values, counts = np.unique(requests["output_tokens"], return_counts=True)
    assert values.tolist() == [10, 14, 18, 80]
    assert counts / 8000 == pytest.approx([0.25] * 4, abs=0.02)
    assert requests["max_output_tokens"][0] == 80


@pytest.mark.parametrize("correlation", [-0.6, 0.3, 0.9])
def test_the_copula_gives_kendalls_tau(correlation):
    """tau = 2/pi arcsin(rho) for a Gaussian copula, whatever the laws."""
    model = PLAIN.with_settings({"correlation": correlation})
    prompts, outputs = sample_lengths(model)
    tau = stats.kendalltau(prompts[:30_000], outputs[:30_000]).statistic
    assert tau == pytest.approx(2 / math.pi * math.asin(correlation), abs=0.015)


# Arrivals


@pytest.mark.parametrize(
    ("spec", "law"),
    [
        ("poisson", stats.expon()),
        ("gamma:cv=2", stats.gamma(0.25, scale=4)),
        ("gamma:cv=0.5", stats.gamma(4, scale=0.25)),
        ("weibull:cv=2", stats.weibull_min(0.5426690, scale=1 / math.gamma(1 + 1 / 0.5426690))),
    ],
)
def test_gaps_have_their_law(spec, law):
    gaps = np.diff(arrivals_s(spec, 40_000, 3.0)) * 3.0
    assert stats.kstest(gaps, law.cdf).statistic < 0.01
    assert gaps.std() / gaps.mean() == pytest.approx(law.std(), rel=0.05)


def test_a_metronome_is_regular():
    assert arrivals_s("regular", 5, 2.0).tolist() == [0.5, 1.0, 1.5, 2.0, 2.5]


def test_a_renewal_process_has_the_dispersion_of_its_gaps():
    """In long windows variance over mean tends to the squared coefficient of variation of the gaps."""
    assert index_of_dispersion(arrivals_s("gamma:cv=2", 400_000, 10.0), 60) == pytest.approx(4, rel=0.1)


def test_bursts_come_and_go():
    times = arrivals_s("poisson", 200_000, 5.0, modulation=["on_off:on_s=10,off_s=30"])
    assert 200_000 / times[-1] == pytest.approx(5.0, rel=0.05)
    # In a burst requests come at 20/s: gaps longer than a second are pauses.
    gaps = np.diff(times)
    pauses = gaps[gaps > 1]
    assert pauses.mean() == pytest.approx(31, rel=0.08)
    assert np.mean(gaps[gaps < 1]) == pytest.approx(0.05, rel=0.05)


def test_a_day_has_its_hours():
    times = arrivals_s("poisson", 100_000, 1.0, modulation=["diurnal:factors=1/3,period_s=100"])
    late = np.mean(times % 100 >= 50)
    assert late == pytest.approx(0.75, abs=0.01)


def test_a_modulated_rate_has_the_dispersion_of_its_level():
    """Counts in one period: 1 + mean count * (exp(sd^2) - 1)."""
    times = arrivals_s("poisson", 600_000, 10.0, modulation=["log_ar1:sd=0.2,phi=0,period_s=60"])
    assert index_of_dispersion(times, 60) == pytest.approx(1 + 600 * math.expm1(0.04), rel=0.15)


def test_modulations_multiply():
    both = ["diurnal:factors=0/2,period_s=10", "diurnal:factors=0/2,period_s=20"]
    times = arrivals_s("poisson", 20_000, 2.0, modulation=both)
    assert ((times % 10 > 5 - 1e-9) & (times % 20 > 10 - 1e-9)).all()


def test_clients_have_their_shares_and_add_up():
    process = make_arrivals("clients:num=4,zipf=1,shares=0.5,cvs=3/1", [])(10.0, 0)
    times, clients = process.take(40_000)
    assert np.bincount(clients) / 40_000 == pytest.approx([0.5, 0.5 / 13 * 6, 0.5 / 13 * 4, 0.5 / 13 * 3], abs=0.03)
    assert (np.diff(times) >= 0).all()
    gaps = np.diff(times[clients == 0])
    assert gaps.std() / gaps.mean() == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("family", ["gamma", "weibull"])
def test_many_clients_are_under_way_from_the_start(family):
    """Whenever one looks, 10 requests a second: also at the start, when each client's gap is running already."""
    counts = []
    for seed in range(12):
        times, _ = make_arrivals(f"clients:num=300,zipf=0,cvs=2,family={family}", [])(10.0, seed).take(3000)
        counts.append(np.histogram(times / PS_PER_S, [0, 10, 100, 200])[0])
    means = np.mean(counts, axis=0) / [10, 90, 100]
    assert means == pytest.approx([10, 10, 10], rel=0.12)


def test_requests_carry_labels_and_limits():
    model = PLAIN.with_settings(
        {"tenant_shares": (3.0, 1.0), "tenant_priorities": (0, 7), "ttft_limit_s": 0.5, "max_output_tokens": 5000}
    )
    requests = requests_of(model, 8000)
    assert np.mean(requests["tenant"] == 1) == pytest.approx(0.25, abs=0.02)
    assert (requests["priority"] == 7 * requests["tenant"]).all()
    assert set(requests["ttft_limit_ps"]) == {PS_PER_S // 2}
    assert set(requests["e2e_limit_ps"]) == {-1}
    assert set(requests["max_output_tokens"]) == {5000}
    assert np.isnan(requests["predicted_output_tokens"]).all()


# Named workloads against the traces


@pytest.mark.skipif(not TRACES.is_dir(), reason="the real traces lie beside the project, and are not there")
@pytest.mark.parametrize("name", [name for name, named in NAMED.items() if named.trace])
def test_named_workloads_match_their_traces(name):
    report = compare(NAMED[name], TRACES / f"{NAMED[name].trace}.csv.gz", dequantised=name == "long_context_kimi")
    assert report["matches"], report
    if report["arrivals"] is not None:
        for figure in ("interarrival_cv", "dispersion_1s"):
            row = report["arrivals"][figure]
            assert row["generated"] == pytest.approx(row["trace"], rel=0.15), figure
        row = report["arrivals"]["dispersion_60s"]
        assert abs(row["generated"] - row["trace"]) < 2 * row["spread"]


@pytest.mark.parametrize(
    ("name", "levels", "tokens"),
    [
        ("code_azure24", (50, 90, 95, 99), (8, 43, 79, 271)),
        ("chat_azure24", (50, 90, 95, 99), (41, 342, 455, 694)),
        ("api_burstgpt", (50, 90, 95, 99, 99.9), (7, 149, 251, 727, 2129)),
    ],
)
def test_workloads_known_by_quantiles_have_them(name, levels, tokens):
    _, outputs = sample_lengths(NAMED[name].model)
    assert np.percentile(outputs, levels) == pytest.approx(tokens, rel=0.1)


def test_published_means_of_prompts():
    prompts, outputs = sample_lengths(NAMED["code_azure24"].model)
    assert prompts.mean() == pytest.approx(2510, rel=0.02)
    prompts, outputs = sample_lengths(NAMED["chat_azure24"].model)
    assert prompts.mean() + outputs.mean() == pytest.approx(1737, rel=0.03)


def test_burstiness_of_a_metronome():
    figures = burstiness(np.arange(1, 2000) * PS_PER_S)
    assert figures["rate_per_s"] == 1
    assert figures["interarrival_cv"] == 0
    assert figures["dispersion_10s"] == pytest.approx(0, abs=0.01)


# Bad input


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"prompt": "lognormal:median=0,sigma=1"}, "prompt: lognormal: median is 0"),
        ({"output": "lognormal:median=5,sigma=11"}, "output: lognormal: sigma is 11"),
        ({"output": "weibul:shape=1,scale=2"}, "did you mean 'weibull'"),
        ({"prompt": "lognormal_mixture:weights=1/1,mu=3,sigma=1/1"}, "2 weights, 1 mu"),
        ({"prompt": "lognormal_mixture:weights=a,mu=3,sigma=1"}, "separated by slashes"),
        ({"prompt": "quantiles:levels=0.9/0.5,tokens=5/6,max=9"}, "must rise"),
        ({"prompt": "empirical:trace=nowhere.csv,column=prompt"}, "no such file"),
        ({"correlation": 1.0}, "correlation is 1.0"),
        ({"arrivals": "gamma:cv=0"}, "cv is 0"),
        ({"arrivals": "gama:cv=1"}, "did you mean 'gamma'"),
        ({"arrivals": "clients:num=2,zipf=1,shares=0.5/0.6"}, "leave a rest"),
        ({"arrivals": "clients:num=2,zipf=1,family=pareto"}, "gamma or weibull"),
        ({"modulation": ("log_ar1:sd=1,phi=1",)}, "phi is 1"),
        ({"modulation": ("on_off:on_s=0,off_s=1",)}, "on_s is 0"),
        ({"modulation": ("diurnal:factors=0/0",)}, "mean of factors"),
        ({"tenant_shares": (0.0, 0.0)}, "tenant_shares"),
        ({"tenant_shares": (1.0,), "tenant_priorities": (1, 2)}, "2 tenant_priorities for 1"),
        ({"tenant_shares": (1.0,), "tenant_priorities": (1,), "priority_shares": (1.0,)}, "give one of the two"),
        ({"max_output_tokens": 7}, "below the 4096 tokens"),
        ({"e2e_limit_s": 0.0}, "e2e_limit_s is 0.0"),
        ({"promt": "x"}, "did you mean 'prompt'"),
    ],
)
def test_bad_models_say_what_is_wrong(bad, message):
    with pytest.raises(InputError) as caught:
        PLAIN.with_settings(bad)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "bad", [{"num_requests": 0}, {"rate_per_s": np.nan}, {"rate_per_s": 0}, {"seed": -1}, {"prompt_sigma": -1}]
)
def test_the_generator_refuses_bad_values(bad):
    with pytest.raises(InputError, match=next(iter(bad)).split("_")[0]):
        poisson_lognormal(**{"num_requests": 5, "rate_per_s": 1.0, "seed": 0, **bad})


def test_a_workload_beyond_the_horizon_is_refused_before_it_is_drawn():
    with pytest.raises(InputError, match="raise the rate"):
        GeneratedWorkload("x", PLAIN, 10**6, 0.1, 0)
    late = GeneratedWorkload("x", PLAIN.with_settings({"arrivals": "gamma:cv=3"}), 80, 80 / 8.6e6, 0)
    with pytest.raises(InputError, match="reach the horizon"):
        late.table()
