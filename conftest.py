"""Which modules have no doctests to run, because what they need is an extra that is not installed."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("stable_baselines3") else ["llmqgym/sb3.py"]
