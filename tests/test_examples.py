"""The examples run as they are, and what they claim holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from llmqgym.kernel.jit import COMPILED

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not COMPILED, reason="examples take too long in plain Python"),
]


def run_example(name: str, *args: str, python: str = sys.executable) -> str:
    """What an example prints."""
    found = subprocess.run(
        [python, EXAMPLES / name, *args],
        capture_output=True,
        text=True,
        timeout=600,
        env={"RAY_AUTH_MODE": "disabled"} | os.environ,  # else Ray writes a token into the home directory
    )
    assert found.returncode == 0, found.stderr[-3000:]
    return found.stdout


@pytest.mark.skipif(not find_spec("torch"), reason="torch is not installed: the extra [train]")
def test_ppo_learns() -> None:
    """In a fraction of the default's decisions far better than a random valid policy."""
    found = run_example("ppo_single_file.py", "--total-steps", "400000")
    times = {name: float(value) for name, value in re.findall(r"^(\w.*?) +([\d.]+) s$", found, re.MULTILINE)}
    assert times.keys() == {"random", "first come first served", "PPO"}
    assert times["PPO"] < times["random"] / 2


@pytest.mark.skipif(not (find_spec("minari") and find_spec("jax")), reason="Minari is not installed: the extra [data]")
def test_minari_dataset(tmp_path: Path) -> None:
    found = run_example("make_minari_dataset.py", "--dataset-dir", str(tmp_path), "--episodes", "2")
    assert "2 episodes" in found
    code = f"""
import os
os.environ["MINARI_DATASETS_PATH"] = {str(tmp_path)!r}
import llmqgym, minari, numpy as np
for episode in minari.load_dataset("llmqgym/kv-bound/shortest-v0"):
    masks, actions = episode.observations["action_mask"], episode.actions
    assert len(masks) == len(actions) + 1 and masks[np.arange(len(actions)), actions].all()
    env = minari.load_dataset("llmqgym/kv-bound/shortest-v0").recover_environment()
    env.reset(seed=int(episode.id))
    assert [env.step(action)[1] for action in actions] == episode.rewards.tolist()
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=120)


def test_rllib_trains_for_an_iteration() -> None:
    """With ray[rllib], which wants another Gymnasium and so an interpreter of its own: LLMQGYM_RLLIB_PYTHON."""
    python = os.environ.get("LLMQGYM_RLLIB_PYTHON", sys.executable if find_spec("ray") else "")
    if not python:
        pytest.skip("ray[rllib] is not installed here; it pins gymnasium==1.2.2: give LLMQGYM_RLLIB_PYTHON=.../python")
    found = run_example("rllib_one_iteration.py", python=python)
    assert int(re.findall(r"decisions sampled +(\d+)", found)[0]) >= 2000
    assert float(re.findall(r"policy entropy +([\d.]+)", found)[0]) > 0
