"""Several runs: in processes as in turn, stopped by an error or an interrupt, and the figures over them."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from apart import say_and_wait, square
from scipy import stats
from typer.testing import CliRunner

from baselines.registry import make_policy
from llmqgym import parallel
from llmqgym.cli.app import app
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.metrics.across_runs import across_runs, spread
from llmqgym.parallel import each_apart, num_cpus, run_all
from llmqgym.policy import Policy
from llmqgym.scenario import ScenarioConfig, load_scenario, with_settings, with_traffic

ROOT = Path(__file__).parents[1]
SIZE = 2000 if COMPILED else 40
LONG = 50_000_000  # minutes


def chat(seed: int = 0, num_requests: int = SIZE, **settings: str) -> ScenarioConfig:
    chosen = with_traffic(load_scenario("chat"), None, num_requests=num_requests)
    return with_settings(chosen, {}, seed=seed, **settings)


def without_wall(documents: list[dict]) -> list[dict]:
    return [{name: value for name, value in each.items() if name != "wall_s"} for each in documents]


def cli(*args: object):
    return CliRunner().invoke(app, ["simulate", *map(str, args)])


def refused(*args: object) -> str:
    result = cli(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    return result.stderr


def test_processes_change_nothing() -> None:
    loaded = with_traffic(chat(3), None, rho=0.9)
    several = [chat(5), chat(1, policy="sprpt", predictor="lognormal:sigma=1"), chat(2, policy="srpt"), loaded, chat(0)]
    seen: list[float] = []
    in_turn = run_all(several, make_policy=make_policy, processes=1)
    beside = run_all(several, make_policy=make_policy, processes=2, on_progress=seen.append)
    assert json.dumps(without_wall(in_turn)) == json.dumps(without_wall(beside))
    assert [each["config"]["seed"] for each in beside] == [5, 1, 2, 3, 0]
    assert beside[3]["config"]["load"]["rho"] == 0.9
    assert seen == sorted(seen)
    assert seen[-1] == len(several)


def test_progress_in_turn_reaches_every_run() -> None:
    seen: list[float] = []
    run_all([chat(0), chat(1)], make_policy=make_policy, processes=1, on_progress=seen.append)
    assert seen == sorted(seen)
    assert {1.0, 2.0} <= set(seen)


@pytest.mark.parametrize(("patience_s", "num_beside"), [(3600.0, 0), (-1.0, 3)])
def test_a_pool_is_started_only_for_what_takes_long(
    monkeypatch: pytest.MonkeyPatch, patience_s: float, num_beside: int
) -> None:
    started: list[int] = []

    def side_by_side(scenarios, work, num, on_progress):
        started.append(len(scenarios))
        return parallel._in_turn(scenarios, work, math.inf, on_progress)

    monkeypatch.setattr(parallel, "num_cpus", lambda: 2)
    monkeypatch.setattr(parallel, "_PATIENCE_S", patience_s)
    monkeypatch.setattr(parallel, "_side_by_side", side_by_side)
    documents = run_all([chat(0), chat(1), chat(2)], make_policy=make_policy)
    assert sum(started) == num_beside
    assert [each["config"]["seed"] for each in documents] == [0, 1, 2]


def test_nothing_to_run() -> None:
    assert run_all([], make_policy=make_policy) == []
    assert 1 <= num_cpus() <= (os.cpu_count() or 1)


def test_an_error_names_its_run_and_ends_the_others() -> None:
    bad = chat(7)
    bad = replace(bad, workload=replace(bad.workload, rho=None, rate_per_s=-1.0))
    several = [chat(0, LONG), bad, *(chat(seed, LONG) for seed in range(8, 14))]
    messages = []
    for processes, runs in ((1, several[1:]), (2, several)):
        with pytest.raises(InputError, match=r"^scenario chat, seed 7: rate_per_s is -1") as caught:
            run_all(runs, make_policy=make_policy, processes=processes)
        assert type(caught.value) is InputError
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert multiprocessing.active_children() == []


def test_what_cannot_be_run_is_refused_before_any_process_starts() -> None:
    with pytest.raises(InputError, match="processes is 0"):
        run_all([chat()], make_policy=make_policy, processes=0)
    with pytest.raises(InputError, match="define it at the top of a module"):
        run_all([chat(0), chat(1)], make_policy=lambda spec: Policy(spec), processes=2)
    with pytest.raises(InputError, match="did you mean 'vllm'"):
        run_all([chat(0), chat(1, policy="vlm")], make_policy=make_policy, processes=2)


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
@pytest.mark.skipif(not COMPILED, reason="in plain Python a run looks up every few seconds")
@pytest.mark.parametrize(("how", "after"), [("interrupted", -1.0), ("interrupted", 0.0), ("killed", 0.0)])
def test_no_process_outlives_its_owner(how: str, after: float) -> None:
    """Interrupted or killed while the pool starts (any progress), or while it runs (some)."""
    code = (
        "from baselines.registry import make_policy\n"
        "from llmqgym.parallel import run_all\n"
        "from llmqgym.scenario import load_scenario, with_traffic\n"
        f"chosen = with_traffic(load_scenario('chat'), None, num_requests={LONG})\n"
        "run_all([chosen, chosen], make_policy=make_policy, processes=2,\n"
        "        on_progress=lambda done: print(done, flush=True))\n"
    )
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **pipes) as owner:
        assert owner.stdout is not None
        next(line for line in owner.stdout if float(line) > after)
        if how == "interrupted":
            os.killpg(owner.pid, signal.SIGINT)  # as a terminal does it: the whole group
            _, errors = owner.communicate(timeout=20)
            assert errors.count("KeyboardInterrupt") == 1
        else:
            owner.kill()
            owner.communicate(timeout=20)
        for _ in range(100):
            try:
                os.killpg(owner.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)
    pytest.fail("processes of the pool are still there")


def test_spread_is_students() -> None:
    values = np.random.default_rng(1).normal(5, 2, 12)
    figure = spread(list(values))
    low, high = stats.t.interval(0.95, 11, values.mean(), stats.sem(values))
    assert figure["mean"] == pytest.approx(values.mean(), rel=1e-14)
    assert figure["half_width_95"] == pytest.approx((high - low) / 2, rel=1e-9)
    assert (figure["min"], figure["max"], figure["num_runs"]) == (values.min(), values.max(), 12)
    # By hand: 1, 2, 3 have a standard deviation of 1; for two degrees of freedom t = 4.303 has a closed form.
    t = 0.95 * (2 / (1 - 0.95**2)) ** 0.5
    assert spread([1, 2, 3])["half_width_95"] == pytest.approx(t / 3**0.5, rel=1e-9)


def test_spread_of_runs_without_the_figure() -> None:
    assert spread([None, 2.0, float("nan"), 4.0, float("inf")]) == {**spread([2.0, 4.0]), "num_runs": 2}
    assert spread([7]) == {"mean": 7.0, "half_width_95": None, "min": 7, "max": 7, "num_runs": 1}
    assert spread([None]) == {"mean": None, "half_width_95": None, "min": None, "max": None, "num_runs": 0}


def test_across_runs_keeps_the_shape_of_the_documents() -> None:
    one = {"stability": "stable", "censored": True, "ttft_s": {"mean": 1.0}, "gap": None, "config": {}, "version": "1"}
    other = {**one, "stability": "growing", "ttft_s": {"mean": None}, "gap": {"mean": 3.0}}
    across = across_runs([one, other])
    assert list(across) == ["stability", "censored", "ttft_s", "gap"]
    assert (across["stability"], across["censored"]) == ({"stable": 1, "growing": 1}, {"true": 2})
    assert across["ttft_s"]["mean"] == across_runs([one])["ttft_s"]["mean"]
    assert across["gap"] == {"mean": spread([None, 3.0])}


def test_simulate_runs(tmp_path: Path) -> None:
    args = ("--scenario", "textbook-queue", "--requests", 50, "--seed", 4)
    out = tmp_path / "o.json"
    result = cli(*args, "--runs", 3, "--processes", 1, "--json", out)
    assert result.exit_code == 0, result.output
    for word in ("over 3 runs", "± 95 %", "ttft p99", "4 to 6", "runs: undecided 3, finished 3."):
        assert word in result.stdout
    document = json.loads(out.read_text(), parse_constant=pytest.fail)
    assert list(document) == ["runs", "mean"]
    assert [each["config"]["seed"] for each in document["runs"]] == [4, 5, 6]
    means = [each["e2e_s"]["mean"] for each in document["runs"]]
    assert document["mean"]["e2e_s"]["mean"]["mean"] == pytest.approx(np.mean(means), rel=1e-14)
    alone = json.loads(cli(*args[:-1], 5, "--json", "-").stdout)
    assert without_wall([alone]) == without_wall(document["runs"][1:2])


def test_simulate_runs_says_what_a_reader_must_know(tmp_path: Path) -> None:
    trace = tmp_path / "t.csv"
    trace.write_text("arrival_time_s,prompt_tokens,output_tokens\n0,8,1\n1,900,4\n")
    result = cli("--trace", trace, "--server", "num_kv_blocks=5", "--runs", 2, "--processes", 1)
    assert "tpot mean (of 0 runs that have it)" in result.stdout
    assert "up to 1 requests of a run rejected" in result.stdout
    assert "nothing in this scenario depends on the seed" in result.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--runs", "0"], "runs is 0"),
        (["--runs", "2", "--processes", "0"], "processes is 0"),
        (["--processes", "2"], "give --runs too"),
        (["--runs", "2", "--log", "l.jsonl"], "--log is of a single run, and runs is 2: leave it out"),
        (["--runs", "2", "--per-request", "r.csv"], "--per-request is of a single run"),
        (["--runs", "2", "--processes", "1", "--rate", "-1"], "scenario chat, seed 0: rate_per_s is -1"),
    ],
)
def test_bad_arguments(args: list[str], message: str) -> None:
    assert message in refused(*args)


def test_apart_what_fails_or_is_killed_stands_in_its_place() -> None:
    told: dict[int, object] = {}
    found = each_apart(square, [3, 13, 14, 15, 4], processes=2, on_done=told.__setitem__)
    assert found == [told[place] for place in range(5)]
    assert (found[0], found[4]) == (9, 16)
    killed, refused, broken = found[1:4]
    assert isinstance(killed, RuntimeError)
    assert "exit code -9" in str(killed)
    assert isinstance(refused, InputError)
    assert str(refused) == "14 is out of bounds."
    assert isinstance(broken, RuntimeError)
    assert "ZeroDivisionError: by nought" in str(broken)
    with pytest.raises(InputError, match="processes is 0"):
        each_apart(square, [3], processes=0)


def test_apart_an_interrupt_ends_those_who_run(tmp_path: Path) -> None:
    def interrupt(place: int, result: object) -> None:
        while not (tmp_path / "pid").is_file():
            time.sleep(0.05)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each_apart(say_and_wait, [tmp_path / "pid", None], processes=2, on_done=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
