"""The same runs on a local Ray cluster of two workers; `make test-ray` installs what it needs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ray = pytest.importorskip("ray", reason="the extra [cluster] is not installed: make test-ray")
WHY = "torch and Stable-Baselines3 are not installed: make test-ray"
pytest.importorskip("torch", reason=WHY)
pytest.importorskip("sb3_contrib", reason=WHY)

from small_runs import OWNER, kills, refuses, small_config, what_lies_in  # noqa: E402

from agents.jobs import Job, do, do_all_on_ray  # noqa: E402
from agents.outcome import Outcome  # noqa: E402
from agents.telling import Teller  # noqa: E402
from baselines.registry import make_policy  # noqa: E402
from llmqgym.errors import InputError  # noqa: E402

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # ray's own
]


@pytest.fixture(autouse=True)
def owner(ray_workers: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the one in which nothing befalls the runs."""
    monkeypatch.setenv(OWNER, str(os.getpid()))


def test_workers_write_what_each_run_writes_alone_and_outlive_each_other(tmp_path: Path) -> None:
    makers = (make_policy, kills, refuses, make_policy)
    jobs = [Job(small_config(seed), tmp_path / f"ray-{seed}", make, "cpu") for seed, make in enumerate(makers, 1)]
    lines: list[str] = []
    told: list[int] = []
    found = do_all_on_ray(jobs, say=lines.append, processes=2, on_ended=lambda place, _: told.append(place))
    assert not ray.is_initialized()
    assert sorted(told) == [0, 1, 2, 3]
    assert isinstance(found[1], RuntimeError)
    assert "its worker was ended" in str(found[1])
    assert isinstance(found[2], InputError)
    assert "no such file" in str(found[2])
    for place in (0, 3):
        seed, said = place + 1, []
        outcome = do(Job(small_config(seed), tmp_path / f"alone-{seed}", make_policy, "cpu"), Teller(said.append))
        there = found[place]
        assert isinstance(there, Outcome)
        assert (there.means, there.differences) == (outcome.means, outcome.differences)
        assert what_lies_in(tmp_path / f"ray-{seed}") == what_lies_in(tmp_path / f"alone-{seed}")
        assert len([line for line in lines if line.startswith(f"ray-{seed}: ")]) == len(said)
