"""The studies: orderings that theory proves, the same figures from any number of processes, pictures and pages."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from baselines.registry import POLICIES, make_policy
from llmqgym.cli.app import app
from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.experiments import EXPERIMENTS, certified_gap, fifo_srpt, kv_capacity, misprediction_price
from llmqgym.experiments.arms import Arm, Cell, figures, measure, measure_all, over_seeds, paired
from llmqgym.experiments.report import settings_of
from llmqgym.files import json_text
from llmqgym.kernel.jit import COMPILED
from llmqgym.run import simulate
from llmqgym.workload.workload import make_workload

pytestmark = pytest.mark.skipif(not COMPILED, reason="hundreds of thousands of passes take minutes in plain Python")

SIZE = 400
SEEDS = (0, 1)


def small(name: str):
    """An experiment's quick settings with fewer requests."""
    quick = EXPERIMENTS[name].quick
    sizes = {"num_requests": SIZE, "num_jobs": SIZE, "seeds": SEEDS}
    sizes |= {"loads": (0.9,), "scenarios": ("kv-bound",)}
    known = {field.name for field in dataclasses.fields(quick)}
    return dataclasses.replace(quick, **{key: value for key, value in sizes.items() if key in known})


@pytest.fixture(scope="module")
def documents() -> dict[str, dict]:
    return {name: each.run(small(name), make_policy, jobs=1) for name, each in EXPERIMENTS.items()}


# What theory proves.


@pytest.mark.parametrize("load", [0.6, 0.9])
def test_nobody_beats_srpt_on_one_slot_without_memory(load: float) -> None:
    """Schrage 1968, and path by path: whatever the arrivals, for the mean of all requests."""
    settings = dataclasses.replace(small("fifo-srpt"), sigmas=(0.5, 2.0))
    server = next(iter(fifo_srpt.SERVERS))
    arms = fifo_srpt.arms_of(server, settings)
    for seed in range(3):
        scenario = fifo_srpt.scenario_of(server, load, settings, seed)
        found = measure(Cell(scenario, arms, steady=False), make_policy).arms
        means = {arm: each["e2e_s"] for arm, each in zip(arms, found, strict=True)}
        best = means.pop(Arm("srpt:mode=hold"))
        assert all(best <= mean for mean in means.values())
        assert best < means[fifo_srpt.FCFS]


def test_the_truth_has_no_price(documents) -> None:
    points = documents["misprediction-price"]["points"]
    exact = [point["price"] for point in points if point["sigma"] == 0]
    assert len(exact) == 2 * 3 * 2
    assert all((price["mean"], price["half_width_95"], price["num_runs"]) == (1.0, 0.0, 2) for price in exact)
    assert any(point["price"]["mean"] != 1 for point in points if point["sigma"] > 0)


def test_the_price_of_theory_is_that_of_the_closed_forms() -> None:
    """The reference's 3.2: C = 1 is SPRPT, C = 0 SPJF, and without memory a smaller C only loses with the truth."""
    from llmqgym.theory import Lognormal, make_prediction, spjf, sprpt

    law, noisy = Lognormal(misprediction_price.OUTPUT_SIGMA), make_prediction("lognormal:sigma=1")
    exact = make_prediction("perfect")
    for cutoff, formula in ((0.0, spjf), (1.0, sprpt)):
        expected = formula(law, 0.8, noisy) / formula(law, 0.8, exact)
        assert misprediction_price.price_of_theory(0.8, cutoff, 1.0) == pytest.approx(expected, rel=1e-6)


def test_without_preemption_the_mode_is_nothing() -> None:
    settings = dataclasses.replace(
        small("misprediction-price"), rows=(("swap", 0.8), ("recompute", 0.8)), cutoffs=(0.0,), blocks=(1500,)
    )
    points = misprediction_price.run(settings, make_policy, jobs=1)["points"]
    assert all(point["to_no_preemption"]["mean"] == 1.0 for point in points)
    by_mode = [[point["e2e_s"] for point in points if point["mode"] == mode] for mode in ("swap", "recompute")]
    assert by_mode[0] == by_mode[1]


def test_no_mean_is_below_its_bound(documents) -> None:
    document = documents["certified-gap"]
    assert len(document["points"]) == 5
    for point in document["points"]:
        for name in ("e2e_share", "ttft_share"):
            assert point[name]["min"] > 0
            assert point[name]["max"] <= 1
    assert any("below its bound" in sentence for sentence in certified_gap.findings(document))


def test_a_bound_above_a_mean_would_be_seen(documents) -> None:
    broken = json.loads(json_text(documents["certified-gap"]))
    broken["points"][0]["e2e_share"]["max"] = 1.001
    assert not any("below its bound" in sentence for sentence in certified_gap.findings(broken))


def test_who_reserves_declared_lengths_preempts_nobody_and_ample_memory_nobody_at_all(documents) -> None:
    for point in documents["kv-capacity"]["points"]:
        if point["policy"] == "reserve:by=declared":
            assert point["preemptions_per_request"]["max"] == 0
        if point["policy"] == "vllm":
            assert point["to_vllm"]["mean"] == 1
            assert (point["preemptions_per_request"]["mean"] == 0) == (point["num_kv_blocks"] == 26_624 or not COMPILED)


def test_every_published_policy_has_a_gap() -> None:
    assert make_policy("fcfs").hooks() == make_policy("vllm").hooks()  # another name, and no row of its own
    assert set(certified_gap.Settings().policies) == set(POLICIES) - {"fcfs"}


# What is measured.


def test_figures_are_of_the_requests_between_the_margins() -> None:
    """One slot, 10 ms a token, three jobs of 1, 2 and 3 tokens at once and a fourth far too large."""
    server = ServerConfig(max_running=1, num_kv_blocks=1, block_size=16)
    jobs = make_workload("jobs", {}, arrival_s=[0, 0, 0, 0], prompt_tokens=[1, 1, 1, 90], output_tokens=[1, 2, 3, 1])
    run = simulate(jobs, policy=make_policy("vllm"), server=server, profile="constant:iteration_ms=10")
    every, middle = figures(run, range(4)), figures(run, range(1, 3))
    assert every["e2e_s"] == pytest.approx((0.01 + 0.03 + 0.06) / 3)
    assert middle["e2e_s"] == pytest.approx((0.03 + 0.06) / 2)
    assert middle["ttft_s"] == pytest.approx((0.02 + 0.04) / 2)
    assert middle["e2e_p99_s"] == pytest.approx(np.percentile([0.03, 0.06], 99))
    assert (every["num_rejected"], every["num_unfinished"], every["outcome"]) == (1, 0, "finished")


def test_the_unfinished_count_with_their_age() -> None:
    jobs = make_workload("jobs", {}, arrival_s=[0, 0], prompt_tokens=[1, 1], output_tokens=[1, 1000])
    run = simulate(
        jobs, policy=make_policy("vllm"), server=ServerConfig(max_running=1), profile="constant:iteration_ms=10",
        until_s=0.5,
    )  # fmt: skip
    found = figures(run, range(2))
    assert found["num_unfinished"] == 1
    assert found["e2e_s"] == pytest.approx((0.01 + run.totals.clock_ps / 1e12) / 2)


def test_a_point_is_unstable_if_most_runs_grow_or_one_stalls() -> None:
    scenario = kv_capacity.scenario_of(2000, small("kv-capacity"), 0)
    run = measure(Cell(scenario, (Arm("vllm"),)), make_policy).arms[0]
    calm, growing = {**run, "stability": "stable"}, {**run, "stability": "growing"}
    assert not over_seeds([calm, growing])["unstable"]
    assert over_seeds([calm, growing, growing])["unstable"]
    assert over_seeds([calm, {**calm, "outcome": "stalled"}])["unstable"]
    assert over_seeds([calm, calm])["num_rejected"] == 2 * run["num_rejected"]


def test_ratios_are_paired() -> None:
    """Runs that differ wildly from seed to seed, and in the same proportion."""
    runs = [{"e2e_s": value} for value in (1.0, 50.0, 3.0)]
    twice = [{"e2e_s": 2 * run["e2e_s"]} for run in runs]
    found = paired(twice, runs)
    assert (found["mean"], found["half_width_95"]) == (2.0, 0.0)


def test_processes_change_nothing(documents) -> None:
    again = EXPERIMENTS["misprediction-price"].run(small("misprediction-price"), make_policy, jobs=2)
    assert json_text(again) == json_text(documents["misprediction-price"])


def test_an_error_in_a_process_names_the_policy() -> None:
    settings = small("kv-capacity")
    cells = [Cell(kv_capacity.scenario_of(2000, settings, seed), (Arm("trail:c=-1"),)) for seed in SEEDS]
    for jobs in (1, 2):
        with pytest.raises(InputError, match="c of trail"):
            measure_all(cells, make_policy, jobs=jobs)


# What is shown.


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_pictures_tables_and_sentences(documents, name: str) -> None:
    found, document = EXPERIMENTS[name], documents[name]
    assert document["experiment"] == name == found.name
    picture = ElementTree.fromstring(found.picture(document))
    assert {"rect", "text"} <= {element.tag.partition("}")[2] for element in picture.iter()}
    assert "nan" not in ElementTree.tostring(picture, encoding="unicode").lower()
    rows = found.rows(document)
    assert rows
    assert {len(row) for row in rows} == {len(found.columns(document))}
    for sentence in found.findings(document):
        assert sentence.endswith(".")
        assert "None" not in sentence.replace("None of", "")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_document_that_was_read_again_shows_the_same(documents, name: str) -> None:
    found, document = EXPERIMENTS[name], documents[name]
    read = json.loads(json_text(document))
    assert found.picture(read) == found.picture(document)
    assert found.rows(read) == found.rows(document)
    assert found.findings(read) == found.findings(document)


def cli(*args: object):
    return CliRunner().invoke(app, ["experiment", *map(str, args)])


def test_the_command_writes_figures_picture_and_page(tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Results\n\n## Other\n\nStays.\n", encoding="utf-8")
    out = tmp_path / "out"
    out.mkdir()
    for _ in range(2):
        result = cli("preemption-overhead", "--quick", "--out", out, "--markdown", page)
        assert result.exit_code == 0, result.stderr
    written = page.read_text(encoding="utf-8")
    assert written.count("## Experiment preemption-overhead") == 1
    assert "Stays." in written
    assert "`llmqgym experiment preemption-overhead --quick --markdown" in written
    assert "(experiment-preemption-overhead.svg)" in written
    assert (tmp_path / "experiment-preemption-overhead.svg").read_text() == (
        out / "experiment-preemption-overhead.svg"
    ).read_text()
    document = json.loads((out / "experiment-preemption-overhead.json").read_text())
    assert all(point["extra_ps"] == point["expected_extra_ps"] for point in document["points"])
    assert {point["extra_ps"] for point in document["points"] if point["mode"] == "hold"} == {0}


def test_the_list_names_every_experiment() -> None:
    result = cli("list")
    assert all(name in result.stdout for name in EXPERIMENTS)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("fifo-sprt",), "did you mean 'fifo-srpt'"),
        (("kv-capacity", "--seeds", 0), "seeds is 0: give a whole number from 1"),
        (("preemption-overhead", "--seeds", 3), "nothing in preemption-overhead is random"),
        (("kv-capacity", "--jobs", 0), "jobs is 0"),
        (("kv-capacity", "--out", "/no/such/folder"), "there is no folder"),
        (("kv-capacity", "--markdown", "/no/such/folder/results.md"), "there is no folder"),
    ],
)
def test_bad_input_is_refused_before_any_work(args: tuple[object, ...], message: str) -> None:
    result = cli(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


def test_seeds_are_counted_from_0() -> None:
    assert settings_of(EXPERIMENTS["kv-capacity"], quick=True, num_seeds=4).seeds == (0, 1, 2, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_the_quick_form_runs_from_the_command_line(tmp_path: Path, name: str) -> None:
    result = cli(name, "--quick", "--out", tmp_path)
    assert result.exit_code == 0, result.stderr
    assert (tmp_path / f"experiment-{name}.svg").is_file()
