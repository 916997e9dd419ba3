"""A data set of demonstrations for offline RL, in Minari's format.

    python examples/make_minari_dataset.py [--episodes 5] [--dataset llmqgym/kv-bound/shortest-v0]

Needs Minari (pip install 'llmqgym[data]'). A simple policy serves whole episodes: of the requests in view that may
enter, the one with the shortest prediction; it never preempts. Minari records observations (masks among them), commands
and rewards. `--dataset-dir` is where data sets lie (Minari's own default: ~/.minari/datasets).
"""

from __future__ import annotations

import argparse
import os
import warnings
from typing import Any

import gymnasium as gym
import numpy as np

import llmqgym  # noqa: F401 - registers the environments

ENV_ID = "llmqgym/LLMServerKVBound-v0"


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, default=5)
    parser.add_argument("--num-requests", type=int, default=100, help="of an episode")
    parser.add_argument("--seed", type=int, default=0, help="of the first episode; the next are one higher each")
    parser.add_argument("--dataset", default="llmqgym/kv-bound/shortest-v0")
    parser.add_argument("--dataset-dir")
    return parser.parse_args()


def shortest_predicted(observation: dict[str, Any], field: int) -> int:
    """Admit the request of the window with the shortest prediction that may enter; else let the server run."""
    waiting = observation["waiting"]
    allowed = observation["action_mask"][1 : 1 + len(waiting)]
    if not allowed.any():
        return 0
    return 1 + int(np.where(allowed, waiting[:, field], np.inf).argmin())


def main() -> None:
    args = parse_args()
    if args.dataset_dir:
        os.environ["MINARI_DATASETS_PATH"] = args.dataset_dir
    import minari

    env = minari.DataCollector(gym.make(ENV_ID, num_requests=args.num_requests))
    field = env.unwrapped.config.waiting_fields.index("predicted_remaining_tokens")
    mean_e2e_s = []
    for episode in range(args.episodes):
        observation, _ = env.reset(seed=args.seed + episode)
        over = False
        while not over:
            action = np.int64(shortest_predicted(observation, field))
            observation, _, terminated, truncated, info = env.step(action)
            over = terminated or truncated
        mean_e2e_s.append(info["metrics"]["mean_e2e_s"])
    with warnings.catch_warnings():  # author and permalink are for who publishes it
        warnings.filterwarnings("ignore", module="minari.utils")
        dataset = env.create_dataset(
            dataset_id=args.dataset,
            eval_env=ENV_ID,
            algorithm_name="shortest-predicted-first",
            description=f"{args.num_requests} requests an episode; the shortest prediction in view enters first",
        )
    print(f"{dataset.id}: {dataset.total_episodes} episodes, {dataset.total_steps} decisions")
    print(f"mean E2E time {np.mean(mean_e2e_s):.2f} s; made in {dataset.recover_environment().spec.id}")


if __name__ == "__main__":
    main()
