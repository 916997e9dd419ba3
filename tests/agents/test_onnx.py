"""The exported graph decides as the agent does, and as torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_agents import drawn_agent, seen
from typer.testing import CliRunner

from agents.policy_file import write_agent
from llmqgym.cli.app import app

TOLERANCE = 1e-5
VIEWS = [("scorer", 16, 16), ("scorer", 3, 0), ("mlp", 16, 16)]


def exported(folder: Path, agent: Any) -> Path:
    write_agent(folder / "agent", agent)
    graph = folder / "agent.onnx"
    result = CliRunner().invoke(app, ["agent", "export", str(folder / "agent"), "--onnx", str(graph)])
    assert result.exit_code == 0, result.output
    assert f"observations float32 [n, {agent.layout.size}]" in result.stdout
    return graph


def check(run: Any, agent: Any, observations: Any, masks: Any) -> None:
    """Logits within 1e-5, and the same commands unless the two best are as close."""
    expected = agent.brain.logits(observations, masks)
    logits, commands = run(["logits", "commands"], {"observations": observations, "masks": masks})
    assert (np.isneginf(logits) == (masks == 0)).all()
    np.testing.assert_allclose(logits, expected, rtol=1e-6, atol=TOLERANCE)
    best = np.sort(expected, 1)
    clear = best[:, -1] - best[:, -2] > TOLERANCE
    assert clear.any()
    assert (commands == agent.brain.actions(observations, masks))[clear].all()


@pytest.mark.parametrize(("network", "window", "running"), VIEWS)
def test_the_graph_as_onnx_defines_it(tmp_path: Path, network: str, window: int, running: int) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx is an extra")
    reference = pytest.importorskip("onnx.reference", reason="onnx is an extra")
    agent = drawn_agent(network, window, running)
    graph = onnx.load(exported(tmp_path, agent))
    assert {each.key: each.value for each in graph.metadata_props}["name"] == "drawn"
    observations, masks = seen(60, window=window, running=running)
    check(reference.ReferenceEvaluator(graph).run, agent, observations, masks)


@pytest.mark.slow
@pytest.mark.parametrize(("network", "window", "running"), VIEWS)
def test_the_graph_in_onnxruntime(tmp_path: Path, network: str, window: int, running: int) -> None:
    """Any number of servers at a time; what torch makes of the same weights is in test_inference."""
    pytest.importorskip("onnx", reason="onnx is an extra")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime reads the graph")
    agent = drawn_agent(network, window, running)
    session = runtime.InferenceSession(str(exported(tmp_path, agent)))
    observations, masks = seen(2000, window=window, running=running)
    for num in (1, 7, 2000):
        check(session.run, agent, observations[:num], masks[:num])


def test_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_agent(tmp_path / "agent", drawn_agent())
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "agents.onnx_export", raising=False)
    result = CliRunner().invoke(app, ["agent", "export", str(tmp_path / "agent"), "--onnx", str(tmp_path / "a.onnx")])
    assert result.exit_code == 2
    assert "pip install 'llmqgym[onnx]'" in result.stderr
    assert not (tmp_path / "a.onnx").exists()
