"""How many random cases the tests try: `--hypothesis-profile=nojit` few, `thorough` many and new ones each time."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("usual", max_examples=3000, derandomize=True, database=None, **_COMMON)
settings.register_profile("nojit", max_examples=150, derandomize=True, database=None, **_COMMON)
settings.register_profile("thorough", max_examples=30_000, **_COMMON)
settings.load_profile("usual")
