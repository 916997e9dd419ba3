"""Scenarios: strict files, shipped ones, overrides; the generator's and the predictors' streams."""

from __future__ import annotations

import numpy as np
import pytest

from llmqgym import scenario as sc
from llmqgym.errors import InputError
from llmqgym.traffic import build_workload
from llmqgym.workload.generate import poisson_lognormal
from llmqgym.workload.predictors import apply_predictor

TOML = """
seed = 3
[workload]
num_requests = 10
rate_per_s = 2.0
arrivals = "gamma:cv=2"
prompt = "lognormal:median=100,sigma=0.5,max=1000"
output = "lognormal:median=50,sigma=0.5,max=500"
priority_shares = [0.9, 0.1]
[server]
max_running = 4
"""


def read(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return sc.read_scenario(path)


@pytest.mark.parametrize("name", sc.shipped_names())
def test_shipped_scenarios_load_and_generate(name):
    scenario = sc.with_traffic(sc.load_scenario(name), None, num_requests=20)
    assert len(build_workload(scenario)) == 20
    assert scenario.summary


def test_a_file_is_read_with_its_name(tmp_path):
    scenario = read(tmp_path, TOML)
    assert (scenario.name, scenario.seed, scenario.server.max_running) == ("mine", 3, 4)
    assert build_workload(scenario).source["rate_per_s"] == 2.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rate_per_s", "rate_per_sec", "did you mean 'rate_per_s'"),
        ("seed", "sed", "did you mean 'seed'"),
        ("max_running = 4", "max_runing = 4", "did you mean 'max_running'"),
        ("max_running = 4", "max_running = 0", "max_running is 0"),
        ("rate_per_s = 2.0", "", "neither rate_per_s nor rho"),
        ("rate_per_s = 2.0", "rate_per_s = 2.0\nrho = 0.5", "give one"),
        ("rate_per_s = 2.0", "rho = -0.5", "rho is -0.5"),
        ('prompt = "', 'name = "chat_azur23"\nprompt = "', "did you mean 'chat_azure23'"),
        ('prompt = "lognormal', 'prompt = "lognorm', "did you mean 'lognormal'"),
        ('prompt = "', 'promt = "', "did you mean 'prompt'"),
        ("[0.9, 0.1]", "[0.9, true]", "a list of values of type float"),
        ("[0.9, 0.1]", "[0.9, -0.1]", "priority_shares is -0.1"),
        ("gamma:cv=2", "gamma:cv=-2", "cv is -2"),
        ("rate_per_s = 2.0", "rate_per_s = true", "type float or int"),
        ("num_requests = 10", "num_requests = 1.5", "type int"),
        ("[workload]", "[workload", "not TOML"),
        ("seed = 3", "server = 3", "not TOML"),
    ],
)
def test_a_bad_file_names_itself_and_what_is_wrong(tmp_path, old, new, message):
    with pytest.raises(InputError, match=r"mine\.toml") as caught:
        read(tmp_path, TOML.replace(old, new))
    assert message in str(caught.value)


def test_a_file_without_workload_says_so(tmp_path):
    with pytest.raises(InputError, match=r"no \[workload\]"):
        read(tmp_path, "seed = 1")


def test_traces_are_found_beside_the_file_and_cut_in_order(tmp_path):
    (tmp_path / "t.csv").write_text(
        "arrival_time_s,prompt_tokens,output_tokens\n" + "".join(f"{i},5,5\n" for i in range(9))
    )
    scenario = read(tmp_path, "[workload]\ntrace = 't.csv'\nwindow_start_s = 2\nnum_requests = 3\nrate_per_s = 4.0")
    workload = build_workload(scenario)
    assert workload.requests["arrival_ps"].tolist() == [0, 250_000_000_000, 500_000_000_000]
    with pytest.raises(InputError, match="each set how fast"):
        sc.with_traffic(scenario, None, time_scale=2.0)


def test_lengths_alone_get_poisson_arrivals_at_a_rate(tmp_path):
    path = tmp_path / "lengths.csv"
    path.write_text("prompt_tokens,output_tokens\n" + "7,5\n" * 200)
    scenario = sc.ScenarioConfig("x", sc.TraceTraffic(str(path)))
    with pytest.raises(InputError, match="lengths only"):
        build_workload(scenario)
    workload = build_workload(sc.with_traffic(scenario, None, rate_per_s=5.0))
    assert 30 < workload.duration_s < 50


def test_settings_of_traces_do_not_go_with_generated_traffic():
    with pytest.raises(InputError, match="is for traces"):
        sc.with_traffic(sc.load_scenario("chat"), None, thin_share=0.5)


def test_a_named_workload_keeps_what_is_not_replaced(tmp_path):
    scenario = read(tmp_path, "[workload]\nname = 'chat_azure23'\noutput = 'constant:tokens=5'")
    assert scenario.workload.rate_per_s == 5.53
    assert scenario.workload.model.arrivals == "gamma:cv=1.067"
    requests = build_workload(sc.with_traffic(scenario, None, num_requests=50)).table().requests
    assert set(requests["output_tokens"]) == {5}


def test_a_workload_takes_the_place_of_the_scenarios_own():
    scenario = sc.with_traffic(sc.load_scenario("chat"), None, "code_azure24", rate_per_s=3.0)
    assert (scenario.workload.name, scenario.workload.rate_per_s) == ("code_azure24", 3.0)
    with pytest.raises(InputError, match="give one of the two"):
        sc.with_traffic(scenario, "t.csv", "chat")


def test_predictors():
    workload = poisson_lognormal(4000, 1.0, 1)
    truth = workload.requests["output_tokens"]
    predict = {
        spec: apply_predictor(workload, spec, 1).requests["predicted_output_tokens"]
        for spec in ("none", "perfect", "lognormal:sigma=1", "lognormal:sigma=0")
    }
    assert np.isnan(predict["none"]).all()
    assert (predict["perfect"] == truth).all()
    assert (predict["lognormal:sigma=0"] == truth).all()
    errors = np.log(predict["lognormal:sigma=1"] / truth)
    assert (errors.mean(), errors.std()) == (pytest.approx(0, abs=0.06), pytest.approx(1, abs=0.05))
    assert np.isnan(workload.requests["predicted_output_tokens"]).all()


@pytest.mark.parametrize(
    ("spec", "message"),
    [("perfekt", "did you mean 'perfect'"), ("lognormal:sgma=1", "sigma"), ("lognormal:sigma=-1", "from 0 to 10")],
)
def test_bad_predictors(spec, message):
    with pytest.raises(InputError, match=message):
        apply_predictor(poisson_lognormal(2, 1.0, 0), spec, 0)
