"""What Ray's workers need; and how many random cases the tests try.

`--hypothesis-profile=nojit` tries few, `thorough` many and new ones each time.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("usual", max_examples=3000, derandomize=True, database=None, **_COMMON)
settings.register_profile("nojit", max_examples=150, derandomize=True, database=None, **_COMMON)
settings.register_profile("thorough", max_examples=30_000, **_COMMON)
settings.load_profile("usual")


@pytest.fixture
def ray_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """What workers of a local Ray need: leave to do without a token, which Ray would keep in the home folder, and where
    the modules of the tests are."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
