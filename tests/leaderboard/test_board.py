"""A small board: common arrivals and predictions, bounds below every mean, the same bits whichever way, censoring."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_board import REQUESTS, SUITE, board, cells
from typer.testing import CliRunner

from llmqgym.cli.app import app
from llmqgym.cli.contestants import make_contestant
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.tables import PS_PER_S, Status
from llmqgym.leaderboard.arena import arenas_of
from llmqgym.leaderboard.board import BOUNDED, RANKED
from llmqgym.leaderboard.contestant import Contestant, PolicyContestant
from llmqgym.leaderboard.make import CELLS, DOCUMENT, RUNS
from llmqgym.leaderboard.plan import plan_of
from llmqgym.leaderboard.sheet import TITLES, markdown, sheet
from llmqgym.leaderboard.store import Store
from llmqgym.policy import Policy
from llmqgym.run import RunResult
from llmqgym.scenario import ScenarioConfig
from llmqgym.workload.predictors import apply_predictor
from llmqgym.workload.source import RequestSource
from llmqgym.workload.workload import as_table

#: Runs by scenario, contestant and seed.
Seen = dict[tuple[str, str, int], RunResult]


class Watched:
    """A contestant whose runs are looked at."""

    def __init__(self, inner: Contestant, seen: Seen) -> None:
        self._inner = inner
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def run(self, workload: RequestSource, scenario: ScenarioConfig) -> RunResult:
        result = self._inner.run(workload, scenario)
        self._seen[scenario.name, self._inner.spec, scenario.seed] = result
        return result


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any], Seen]:
    out, seen = tmp_path_factory.mktemp("board"), Seen()
    return out, board(out, make=lambda spec: Watched(make_contestant(spec), seen)), seen


def test_every_policy_meets_the_same_requests_and_predictions(made: tuple[Path, dict[str, Any], Seen]) -> None:
    _, _, seen = made
    names = ("arrival_ps", "prompt_tokens", "output_tokens", "predicted_output_tokens", "priority", "tenant")
    first: dict[tuple[str, int], bytes] = {}
    for (scenario, _, seed), result in seen.items():
        rows = result.departures[np.argsort(result.departures["id"])]
        met = b"".join(rows[name].tobytes() for name in names)
        assert met == first.setdefault((scenario, seed), met)
        assert not np.isnan(rows["predicted_output_tokens"]).any()
    assert len(first) == 4
    assert len(set(first.values())) == 4
    assert len(seen) == 18


def test_the_requests_are_the_scenario_s(made: tuple[Path, dict[str, Any], Seen]) -> None:
    _, _, seen = made
    arena = arenas_of(SUITE)[0]
    seed = arena.seeds[1]
    table = as_table(apply_predictor(arena.workload(seed), "lognormal:sigma=0.5", seed)).requests
    departures = seen["kv-bound", "spjf", seed].departures
    rows = departures[np.argsort(departures["id"])]
    for name in ("arrival_ps", "output_tokens", "predicted_output_tokens"):
        assert (rows[name] == table[name]).all()


def test_figures_are_those_of_the_runs(made: tuple[Path, dict[str, Any], Seen]) -> None:
    """The mean, the 99th percentile and the TTFT of a cell, by a loop over its departures."""
    _, document, seen = made
    first, last = math.ceil(REQUESTS / 10), REQUESTS
    means, tails, firsts = [], [], []
    for (scenario, spec, _), result in seen.items():
        if (scenario, spec) == ("kv-bound", "sprpt:mode=swap"):
            rows = [row for row in result.departures if first <= row["id"] < last and row["status"] == Status.FINISHED]
            times = [(row["finish_ps"] - row["arrival_ps"]) / PS_PER_S for row in rows]
            means.append(sum(times) / len(times))
            tails.append(np.percentile(times, 99))
            firsts.append(sum((row["first_token_ps"] - row["arrival_ps"]) / PS_PER_S for row in rows) / len(rows))
    metrics = cells(document)["kv-bound", "sprpt:mode=swap"]["metrics"]
    assert metrics["mean_e2e_s"]["mean"] == pytest.approx(sum(means) / 2, rel=1e-12)
    assert metrics["p99_e2e_s"]["mean"] == pytest.approx(sum(tails) / 2, rel=1e-12)
    assert metrics["mean_ttft_s"]["mean"] == pytest.approx(sum(firsts) / 2, rel=1e-12)


def test_no_mean_of_any_run_is_below_its_bound(made: tuple[Path, dict[str, Any], Seen]) -> None:
    out, document, _ = made
    plan, store = plan_of(SUITE, make_contestant), Store(out)
    num = 0
    for arena in plan.arenas:
        bounds = [store.get(piece.key) for piece in plan.bounds(arena)]
        for spec in SUITE.contestants:
            for piece, bound in zip(plan.cell(arena, spec), bounds, strict=False):
                run = store.get(piece.key)
                assert bound["num_requests"] == run["num_measured"]
                for metric in BOUNDED:
                    assert 0 < bound[metric] <= run["metrics"][metric]
                    num += 1
    assert num == 36
    gaps = [cell["gap"]["mean_e2e_s"]["mean"] for cell in document["cells"] if cell["skipped"] is None]
    assert min(gaps) > 0


def test_who_cannot_play_stays_out_with_a_reason(made: tuple[Path, dict[str, Any], Seen]) -> None:
    _, document, _ = made
    found = cells(document)
    assert found["kv-bound", "vtc"]["skipped"] == "needs tenants: there is one tenant"
    assert found["multi-tenant", "vtc"]["skipped"] is None
    assert found["multi-tenant", "edf"]["skipped"] == "needs deadlines: requests have no limits"
    assert "bounds" in found["kv-bound", "a-max"]["skipped"]


def test_oracles_stand_apart(made: tuple[Path, dict[str, Any], Seen]) -> None:
    _, document, _ = made
    found = cells(document)
    assert {each["spec"] for each in document["policies"] if each["oracle"]} == {"sjf"}
    for scenario in SUITE.scenarios:
        assert set(found[scenario, "sjf"]["rank"].values()) == {None}
        for metric in RANKED:
            best = found[scenario, "vllm"]["difference_to_best"][metric]["to"]
            assert best not in ("sjf", None)
            places = [
                cell["rank"][metric] for (name, _), cell in found.items() if name == scenario and cell.get("rank")
            ]
            assert min(first for first, _ in filter(None, places)) == 1
    shown = sheet(document, "mean_e2e_s")
    assert "sjf (oracle)" in [row[0] for row in shown.apart]
    assert "sjf" not in " ".join(row[0] for row in shown.rows)


def test_differences_are_paired(made: tuple[Path, dict[str, Any], Seen]) -> None:
    out, document, _ = made
    plan, store = plan_of(SUITE, make_contestant), Store(out)
    arena = plan.arenas[0]
    own, theirs = (
        np.array([store.get(piece.key)["metrics"]["mean_e2e_s"] for piece in plan.cell(arena, spec)])
        for spec in ("spjf", "vllm")
    )
    cell = cells(document)["kv-bound", "spjf"]
    assert cell["difference_to_vllm"]["mean_e2e_s"]["mean"] == pytest.approx(float((own - theirs).mean()))
    assert cell["ratio_to_vllm"]["mean_e2e_s"]["mean"] == pytest.approx(float((own / theirs).mean()))


def without_origin(out: Path) -> tuple[str, bytes, bytes]:
    document = json.loads((out / DOCUMENT).read_text())
    document.pop("command")
    return json.dumps(document), (out / RUNS).read_bytes(), (out / CELLS).read_bytes()


def test_processes_change_no_bit(made: tuple[Path, dict[str, Any], Seen], tmp_path: Path) -> None:
    board(tmp_path, jobs=2)
    assert without_origin(tmp_path) == without_origin(made[0])


def test_every_metric_can_be_shown(made: tuple[Path, dict[str, Any], Seen]) -> None:
    for metric in TITLES:
        shown = sheet(made[1], metric)
        assert {len(row) for row in [*shown.rows, *shown.apart]} == {len(shown.columns)}
        assert markdown(shown).count("\n") == 2 + len(shown.rows) + len(shown.apart)


def blocked(num: int) -> Callable[[Any, Any], bool]:
    """A gate that nobody passes whose prompt has that many tokens or more."""

    def fit(request: Any, server: Any) -> bool:
        return bool(request.prompt_tokens < server.params[0])

    return fit


def test_censored_cells_have_no_gap_and_rank_last(tmp_path: Path) -> None:
    """A policy that never admits a long prompt: what it leaves enters with its age, and its mean is a lower bound."""
    gate = Policy("gate", fit=blocked(1000), miss="skip", params=(1000.0,))

    def make(spec: str) -> Contestant:
        return PolicyContestant(spec, gate) if spec == "gate" else make_contestant(spec)

    suite = replace(SUITE, scenarios=("kv-bound",), policies=("vllm", "gate", "static"))
    found = cells(board(tmp_path, suite, make=make))
    cell = found["kv-bound", "gate"]
    assert cell["censored"]
    assert cell["num_unfinished"] > 0
    assert cell["num_finished"] + cell["num_unfinished"] == cell["num_measured"]
    assert set(cell["gap"].values()) == {None}
    assert cell["difference_to_vllm"]["mean_e2e_s"] is None
    assert cell["rank"]["mean_e2e_s"] == [3, 3]
    assert not found["kv-bound", "static"]["censored"]
    assert found["kv-bound", "static"]["num_measured"] == cell["num_measured"]
    document = json.loads((tmp_path / DOCUMENT).read_text())
    row = next(row for row in sheet(document, "mean_e2e_s").rows if row[0] == "gate")
    assert row[1].startswith("≥")
    assert f"{cell['num_unfinished']}u" in row[1]
    assert row[2] == "-"


def cli(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["leaderboard", *map(str, arguments)])


def test_the_command_prints_both_boards(tmp_path: Path) -> None:
    given = ("--scenarios", "kv-bound", "--policies", "spjf,mlfq:quantum_ms=5,ratio=3,ssjf", "--seeds", 2, "--jobs", 1)
    result = cli("--suite", "quick", *given, "--requests", REQUESTS, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "mean time in system" in result.stdout
    assert "mlfq:quantum_ms=5,ratio=3 " in result.stdout  # settings with commas stay with their policy
    assert "99th percentile" in result.stdout
    assert {CELLS, "cells", RUNS, DOCUMENT} <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "quik"], "did you mean 'quick'"),
        (["--policies", "vlm"], "did you mean 'vllm'"),
        (["--scenarios", "chatt"], "did you mean"),
        (["--show", "mean_e2e"], "did you mean"),
        (["--rho", "high"], "give numbers"),
        (["--seeds", "0"], "seeds is 0"),
        (["--trace", "a.csv", "--scenarios", "chat"], "one of the two"),
        (["--trace", "no-such-file.csv"], "no-such-file.csv"),
        (["--policies", "ppo:mine.zip"], "there is no agent"),
        (["--jobs", "0", "--suite", "quick"], "jobs is 0"),
        (["verify", "no-such-folder"], "no-such-folder"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = cli(*arguments) if arguments[0] == "verify" else cli("--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.skipif(not COMPILED, reason="twenty runs at each load take minutes in plain Python")
def test_the_largest_stable_rate(tmp_path: Path) -> None:
    """Of vLLM where slots bind: what the fluid says; static batches bear much less (docs/results.md)."""
    suite = replace(SUITE, scenarios=("noisy-1",), policies=("vllm", "static"), num_seeds=1, stability=True)
    found = cells(board(tmp_path, suite))
    assert found["noisy-1", "vllm"]["largest_stable"]["rho"] > 0.94
    assert found["noisy-1", "static"]["largest_stable"]["rho"] < 0.7
    assert found["noisy-1", "vllm"]["rank"]["mean_e2e_s"] == [1, 2]  # a single seed says nothing
