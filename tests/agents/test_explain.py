"""What is said of an agent, where its weights say what must come out."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_agents import drawn_agent, first_come_first_served, seen, shortest_first
from typer.testing import CliRunner

from agents.explain import explain
from agents.explain_picture import picture_of
from agents.explain_text import sentences_of
from agents.policy_file import write_agent
from agents.trained_agent import TrainedAgent
from agents.watching import Watched, amounts, shown_as, watch
from baselines.registry import make_policy
from llmqgym.cli.app import app
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.observe import REQUEST_FIELDS, SERVER_FIELDS
from llmqgym.scenario import ScenarioConfig, load_scenario, with_settings, with_traffic

INDICES = {"shortest": "sprpt", "volume": "volume-sf", "gittins": "gittins", "oldest": "vllm"}


def busy() -> ScenarioConfig:
    """More than it can bear, so that several wait."""
    scenario = with_traffic(load_scenario("kv-bound"), None, None, rate_per_s=30.0)
    return with_settings(scenario, {"num_kv_blocks": 600, "max_running": 16})


@pytest.fixture(scope="module")
def explained() -> dict[str, Any]:
    agent = shortest_first()
    policies = {name: make_policy(spec) for name, spec in INDICES.items()}
    return explain(agent, watch(agent, busy()), policies)


def curve(document: dict[str, Any], part: str, field: str) -> dict[str, Any]:
    return next(each for each in document["curves"] if (each["part"], each["field"]) == (part, field))


def test_amounts_are_what_fields_show() -> None:
    values = np.array([0.0, 0.25, 3.0, 1000.0])
    for field in (*REQUEST_FIELDS, *SERVER_FIELDS):
        given = np.minimum(values, 1.0) if field.scale is None else values
        np.testing.assert_allclose(amounts(shown_as(given, field.name), field.name), given, rtol=1e-3)
    assert amounts(shown_as([-40.0], "predicted_remaining_tokens"), "predicted_remaining_tokens") == pytest.approx(-40)
    assert np.isnan(amounts(np.array([-1.0]), "age_s")).all()


@pytest.mark.skipif(not COMPILED, reason="minutes in plain Python")
def test_it_reads_off_what_the_weights_say(explained: dict[str, Any]) -> None:
    agreement = explained["agreement"]
    assert agreement["shortest"]["num_states"] > 20
    assert agreement["shortest"]["mean"] == pytest.approx(1.0)
    assert agreement["gittins"]["mean"] > 0.95
    assert agreement["oldest"]["mean"] < 0.9
    found = curve(explained, "admit", "predicted_remaining_tokens")
    expected = [2.0 - value / (abs(value) + 256.0) - 0.25 for value in found["values"]]
    np.testing.assert_allclose(found["score"], expected, rtol=1e-5)
    np.testing.assert_allclose(found["low"], found["high"], rtol=1e-5)
    assert found["indices"]["shortest"][0] == 1.0
    assert found["indices"]["shortest"][-1] == 0.0
    assert "oldest" not in found["indices"]
    held = curve(explained, "preempt", "kv_held")
    np.testing.assert_allclose(held["score"], 0.01 * (2.0 + np.array(held["values"])) - 0.25, rtol=1e-5)
    assert np.ptp(curve(explained, "admit", "age_s")["score"]) == 0.0


@pytest.mark.skipif(not COMPILED, reason="minutes in plain Python")
def test_the_sentences(explained: dict[str, Any]) -> None:
    text = " ".join(sentences_of(explained))
    assert "shortest +1.00" in text
    assert "The score of admission falls with the predicted remaining length, by" in text
    assert "The score of admission hardly depends on the age: 0.00" in text
    assert "The score of preemption rises with the KV held" in text
    assert "in 0.0% of these it let the iteration run instead" in text
    assert "It preempted in 0 of" in text


def one_curve(scores: list[float]) -> list[str]:
    values = [10.0 * (place + 1) for place in range(len(scores))]
    made = {"part": "admit", "says": "prompt", "unit": "tokens", "values": values, "score": scores}
    counts = dict.fromkeys(
        ("num", "num_could_admit", "num_held_back", "num_could_preempt", "num_preempted", "num_admitted"), 0
    )
    return sentences_of({"decisions": counts, "agreement": {}, "never": {}, "curves": [made]})


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ([0.0, 1.0, 2.0], "rises with the prompt, by 2.00 from 10 to 30 tokens"),
        ([2.0, 1.0, -1.0], "falls with the prompt, by 3.00"),
        ([0.0, 2.0, 1.0], "has its highest value at a prompt of 20 and its lowest at 10, 2.00 apart"),
        ([1.0, 1.0, 1.0], "hardly depends on the prompt: 0.00"),
    ],
)
def test_a_curve_in_words(scores: list[float], says: str) -> None:
    found = one_curve(scores)
    assert says in found[-1]
    assert "in none of these it let" in found[0]
    assert found[2].startswith("There was no state with two different requests")


@pytest.mark.skipif(not COMPILED, reason="minutes in plain Python")
def test_what_is_out_of_the_question(explained: dict[str, Any]) -> None:
    """Weights by which an agent never preempts, as those that are trained not to have them."""
    assert explained["never"] == {}
    agent = shortest_first()
    agent.brain.tensors["preempt.context.bias"][1] = 1.0
    agent.brain.tensors["preempt.out.weight"][0, 1] = -1e5
    never = TrainedAgent("never", agent.brain.resized(6, 4), agent.view, agent.training)
    document = explain(never, watch(never, busy()), {})
    assert document["never"] == {"preempt": pytest.approx(-1e5, rel=1e-4)}
    assert {each["part"] for each in document["curves"]} == {"admit"}
    found = sentences_of(document)
    assert "The score of preemption is below -100,000 in every" in " ".join(found)
    assert not any("preemption rises" in each or "preemption falls" in each for each in found)


@pytest.mark.parametrize("window", [1, 6])
def test_whoever_shows_little(window: int) -> None:
    """No running requests in view, no choice: fewer curves, and sentences all the same."""
    agent = first_come_first_served().resized(window=window)
    observations, masks = seen(40, window=window, oldest=window, running=0)
    watched = Watched(agent.layout, observations, masks, agent.brain.actions(observations, masks), 16, 900)
    document = explain(agent, watched, {"oldest": make_policy("vllm")})
    assert {each["part"] for each in document["curves"]} == {"admit"}
    assert len(sentences_of(document)) == 3 + len(document["curves"])


@pytest.mark.skipif(not COMPILED, reason="minutes in plain Python")
def test_the_command(tmp_path: Path) -> None:
    write_agent(tmp_path / "drawn", drawn_agent("mlp"))
    given = ["explain", str(tmp_path / "drawn"), "--scenario", "kv-bound", "--svg", str(tmp_path / "a.svg")]
    result = CliRunner().invoke(app, [*given, "--json", str(tmp_path / "a.json")])
    assert result.exit_code == 0, result.output
    document = json.loads((tmp_path / "a.json").read_text())
    assert all(sentence in result.stdout for sentence in document["sentences"])
    root = ElementTree.fromstring((tmp_path / "a.svg").read_text())
    titles = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert sum(title in ("admit", "preempt") for title in titles) == len(document["curves"])
    again = CliRunner().invoke(app, given)
    assert again.stdout == result.stdout


def test_where_it_is_watched_is_asked_for(tmp_path: Path) -> None:
    agent = drawn_agent()
    object.__setattr__(agent.training, "scenario", "my own")
    write_agent(tmp_path / "drawn", agent)
    result = CliRunner().invoke(app, ["explain", str(tmp_path / "drawn")])
    assert result.exit_code == 2
    assert "unknown scenario 'my own'" in result.stderr
    assert "Give --scenario" in result.stderr


def test_pictures_escape_names(explained: dict[str, Any]) -> None:
    ElementTree.fromstring(picture_of({**explained, "agent": "<a&b>"}))
