"""The compiled step equals a C program that was written for one policy and no other (benchmarks/env_twin.c)."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llmqgym.kernel.jit import COMPILED

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.skipif(not COMPILED, reason="the twin steps records in memory that plain Python has views of only")
@pytest.mark.skipif(not any(map(shutil.which, ("cc", "gcc", "clang"))), reason="no C compiler on the PATH")
def test_the_step_equals_its_twin_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import env_twin

    twin = env_twin.EnvTwin()
    env_twin.check(twin)
    ours = env_twin.make_servers(1, 20)
    ours.agents["command"] = 17  # preempts: beyond what it knows
    ours.masks[:] = 1
    with pytest.raises(env_twin.BenchmarkError):
        twin.act(ours.agents)
