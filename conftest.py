"""Which modules have no doctests to run, because what they need is an extra that is not installed."""

from __future__ import annotations

from importlib.util import find_spec

#: Of `agents`, what trains; what plays needs no extra.
_TRAINS = (
    "board", "checkpoint", "cloning", "evaluation", "from_torch", "jobs", "making", "mixture", "networks",
    "policy", "ppo", "rollout_buffer", "shipping", "telling", "training",
)  # fmt: skip
_NEED_TRAIN = ["llmqgym/sb3.py", *(f"agents/{name}.py" for name in _TRAINS)]
collect_ignore = [] if find_spec("stable_baselines3") else _NEED_TRAIN
if not find_spec("onnx"):
    collect_ignore = [*collect_ignore, "agents/onnx_export.py"]
