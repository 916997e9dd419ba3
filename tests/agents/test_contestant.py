"""ppo:FILE where a policy may stand: `llmqgym simulate`, several runs at once, a leaderboard; ppo:NAME."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from drawn_agents import drawn_agent, first_come_first_served
from small_board import board, cells
from typer.testing import CliRunner

from agents import contestant
from agents.contestant import AgentContestant, load_agent
from agents.policy_file import write_agent
from llmqgym.cli.app import app
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.leaderboard.suite import Suite
from llmqgym.traffic import build_workload

NUM = 600 if COMPILED else 40
TIGHT = ("--server", "num_kv_blocks=300,max_running=12", "--requests", NUM, "--rate", 9, "--seed", 3)


@pytest.fixture
def first(tmp_path: Path) -> str:
    """The spec of an agent that does what fcfs does."""
    write_agent(tmp_path / "first", first_come_first_served())
    return f"ppo:{tmp_path / 'first'}"


def simulated(out: Path, policy: str, *options: object) -> Any:
    given = ["simulate", "--policy", policy, *map(str, (*TIGHT, *options)), "--json", str(out)]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    return json.loads(out.read_text())


def figures(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in ("config", "wall_s", "num_events")}


@pytest.mark.parametrize("settings", ["", ",running=20"])
def test_simulate(tmp_path: Path, first: str, settings: str) -> None:
    """The same figures, to the last bit, as under the policy that the agent's weights write out."""
    expected = simulated(tmp_path / "a.json", "fcfs")
    found = simulated(tmp_path / "b.json", first + settings)
    assert expected["num_preemptions"] > 0
    assert figures(found) == figures(expected)
    policy = found["config"]["policy"]
    assert policy["name"] == found["config"]["policy_spec"] == first + settings
    assert (policy["running"], policy["oracle"], policy["engine"]["name"]) == (20 if settings else 0, False, "vllm")


def test_simulate_prints_and_logs(tmp_path: Path, first: str) -> None:
    rows, log = tmp_path / "rows.csv", tmp_path / "log.jsonl"
    written = ["--per-request", str(rows), "--log", str(log)]
    result = CliRunner().invoke(app, ["simulate", "--policy", first, *map(str, TIGHT), *written])
    assert result.exit_code == 0, result.output
    assert "outcome: finished" in result.stdout
    assert len(rows.read_text().splitlines()) == NUM + 1
    assert len(log.read_text().splitlines()) > NUM


def test_several_runs(tmp_path: Path, first: str) -> None:
    beside = simulated(tmp_path / "two.json", first, "--runs", 3, "--processes", 2)["runs"]
    alone = [simulated(tmp_path / "one.json", first, "--seed", seed) for seed in (3, 4, 5)]
    assert [figures(each) for each in beside] == [figures(each) for each in alone]


def test_a_leaderboard(tmp_path: Path, first: str) -> None:
    write_agent(tmp_path / "drawn", drawn_agent())
    specs = ("fcfs", first, f"ppo:{tmp_path / 'drawn'}")
    suite = Suite(
        "agents", scenarios=("kv-bound",), policies=specs, num_seeds=2, num_requests=NUM,
        usual_predictor="lognormal:sigma=0.5",
    )  # fmt: skip
    document = board(tmp_path / "board", suite)
    found = cells(document)
    ours, theirs = found["kv-bound", first], found["kv-bound", "fcfs"]
    assert ours["metrics"] == theirs["metrics"]
    assert ours["quantiles"] == theirs["quantiles"]
    assert ours["rank"] == theirs["rank"]
    rows = {each["spec"]: each for each in document["policies"]}
    assert (rows[first]["family"], rows[first]["oracle"]) == ("agents", False)
    assert found["kv-bound", specs[2]]["skipped"] is None


def test_the_protocol(tmp_path: Path, first: str) -> None:
    made = AgentContestant(first)
    from llmqgym.scenario import load_scenario, with_traffic

    scenario = with_traffic(load_scenario("kv-bound"), None, None, num_requests=NUM)
    assert (made.spec, made.family, made.oracle, made.summary) == (first, "agents", False, "as fcfs")
    assert made.needs == ("point prediction",)
    runs = [made.run(build_workload(scenario), scenario) for _ in range(2)]
    assert runs[0].departures.tobytes() == runs[1].departures.tobytes()
    assert json.loads(json.dumps(made.settings())) == made.settings() | {"weights": made.settings()["weights"]}
    write_agent(tmp_path / "first", drawn_agent())
    assert AgentContestant(first).settings()["weights"] != made.settings()["weights"]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ppo:", "there is no agent ''"),
        ("ppo:nobody", r"there is no agent 'nobody': give the path of its .safetensors or .json file"),
        ("ppo:{first},windo=3", "unknown setting of agent .* did you mean 'window'"),
        ("ppo:{first},window=0", "window is 0"),
        ("ppo:{first},window=x", "is 'x': give a whole number"),
        ("ppo:{drawn},window=8", "reads the 4 and 3 places"),
    ],
)
def test_specs_that_name_none(tmp_path: Path, spec: str, message: str) -> None:
    write_agent(tmp_path / "first", first_come_first_served())
    write_agent(tmp_path / "drawn", drawn_agent("mlp"))
    with pytest.raises(InputError, match=message):
        AgentContestant(spec.format(first=tmp_path / "first", drawn=tmp_path / "drawn"))


def test_the_command_line_refuses(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    result = CliRunner().invoke(app, ["simulate", "--policy", f"ppo:{tmp_path / 'bad'}"])
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {tmp_path / 'bad.json'}: not JSON")
    assert result.stdout == ""


def test_shipped_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agents.shipped.shipped_folder", lambda: tmp_path)
    monkeypatch.setattr(contestant, "shipped_folder", lambda: tmp_path)
    write_agent(tmp_path / "first", first_come_first_served())
    assert load_agent("ppo:first").name == "first"
    with pytest.raises(InputError, match=r"the name of a shipped one \(first\)"):
        load_agent("ppo:second")
    result = CliRunner().invoke(app, ["list", "agents"])
    assert result.exit_code == 0
    assert "as fcfs" in result.stdout


def test_the_shipped_ones_are_whole() -> None:
    from agents.shipped import headlines, shipped_agents

    assert sorted(headlines()) == shipped_agents()
    for name in shipped_agents():
        agent = load_agent(f"ppo:{name}")
        assert agent.name == name
        assert agent.training.command
        assert agent.evaluation
