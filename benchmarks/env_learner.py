"""What the environment costs a learner: MaskablePPO on it, against the same learner on an environment that is free.

    python benchmarks/env_learner.py [--pairs 7] [--markdown docs/results.md]

Needs the extra [train]. The free environment has the same spaces, returns the same arrays every time and does nothing
else. Measurements alternate, in one process with one thread; the median of the ratios within a pair counts, since the
machine is shared.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results_page import put_section, table
from sb3_contrib import MaskablePPO
from stable_baselines3.common.vec_env import VecEnv

from llmqgym.sb3 import SB3VecEnv, make_sb3_vec_env

NUM_ENVS, NUM_STEPS, BATCH, EPOCHS = 256, 64, 2048, 4
UPDATES = 8  # of a measurement
#: Decisions of an episode: about as many as the default's 1,000 requests take, and a tenth of it.
LENGTHS = (3000, 300)
COLUMNS = ("decisions an episode", "free, decisions/s", "llmqgym, decisions/s", "ratio", "ratio of CPU time", "ratios")


class FreeVecEnv(VecEnv):
    """The spaces and one observation of another VecEnv, for ever."""

    def __init__(self, like: SB3VecEnv) -> None:
        self._observations, self._masks = like.reset().copy(), like.env_method("action_masks")
        super().__init__(like.num_envs, like.observation_space, like.action_space)
        self._zeros, self._falses = np.zeros(self.num_envs, np.float32), np.zeros(self.num_envs, np.bool_)
        self._infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]

    def reset(self) -> Any:
        return self._observations

    def step_async(self, actions: Any) -> None:
        pass

    def step_wait(self) -> Any:
        return self._observations, self._zeros, self._falses, self._infos

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        return self._masks

    def has_attr(self, attr_name: str) -> bool:
        return attr_name == "action_masks"

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        return [False] * self.num_envs

    def close(self) -> None:
        pass


def make_real(length: int) -> SB3VecEnv:
    """Servers in the middle of their episodes, as they are in training: these do not all end at once."""
    made = make_sb3_vec_env("llmqgym/LLMServer-v0", NUM_ENVS, seed=0, observation="flat", max_decisions=length)
    made.reset()
    return made


def stagger(env: SB3VecEnv, length: int) -> None:
    env.env.unwrapped._num_decisions[:] = np.random.default_rng(0).integers(0, length, NUM_ENVS)


def make_model(env: VecEnv) -> MaskablePPO:
    """Warm: it has been through an update."""
    model = MaskablePPO(
        "MlpPolicy", env, n_steps=NUM_STEPS, batch_size=BATCH, n_epochs=EPOCHS, seed=0, device="cpu"
    )  # fmt: skip
    return model.learn(NUM_STEPS * NUM_ENVS)


def measure(model: MaskablePPO) -> tuple[float, float]:
    """Decisions per second of wall time, and of processor time."""
    decisions = UPDATES * NUM_STEPS * NUM_ENVS
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    model.learn(decisions, reset_num_timesteps=False)
    return decisions / (time.perf_counter() - began_s), decisions / (time.process_time() - began_cpu_s)


def compare(length: int, pairs: int) -> tuple[str, ...]:
    """A row of the table: the two learners in turn."""
    real = make_real(length)
    models = {"free": make_model(FreeVecEnv(real)), "real": make_model(real)}
    stagger(real, length)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    for pair in range(pairs):
        for name in sorted(models, reverse=bool(pair % 2)):
            found[name].append(measure(models[name]))
        print(
            f"{length} decisions an episode, pair {pair + 1}: {found['free'][-1][0]:,.0f} {found['real'][-1][0]:,.0f}"
        )
    wall, cpu = (
        [real[place] / free[place] for real, free in zip(found["real"], found["free"], strict=True)]
        for place in (0, 1)
    )  # fmt: skip
    speeds = [f"{statistics.median(each[0] for each in found[name]):,.0f}" for name in ("free", "real")]
    ratios = [f"{statistics.median(each):.3f}" for each in (wall, cpu)]
    return (f"{length:,}", *speeds, *ratios, " ".join(f"{each:.2f}" for each in wall))


def section(rows: list[tuple[str, ...]], pairs: int) -> str:
    head = (
        f"`python benchmarks/env_learner.py`, on {platform.machine()}; torch {torch.__version__}, one thread.\n\n"
        f"MaskablePPO, 64x64, on {NUM_ENVS} servers with 203 observation floats and 33 commands, {NUM_STEPS} "
        f"decisions\nof each server an update, minibatches of {BATCH:,}, {EPOCHS} epochs; against the same learner on "
        f"an environment\nthat is free. Medians of {pairs} alternating pairs; `ratio` is llmqgym's speed over the "
        "free one's, at most 1.\nServers are in the middle of their episodes.\n\n"
    )
    return head + "\n".join(table(COLUMNS, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--markdown", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    text = section([compare(length, args.pairs) for length in LENGTHS], args.pairs)
    print(text)
    if args.markdown is not None:
        put_section(args.markdown, "What the environment costs a learner", text)


if __name__ == "__main__":
    main()
