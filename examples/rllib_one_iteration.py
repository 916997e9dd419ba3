"""RLlib's PPO with its action-masking module on the environment, for one training iteration.

    python -m venv /tmp/rllib && /tmp/rllib/bin/pip install -e ".[ray]" torch
    /tmp/rllib/bin/python examples/rllib_one_iteration.py

A virtual environment of its own: ray[rllib] 2.60 pins gymnasium to 1.2.2. `RLlibObservation` gives the keys that the
module looks for, `observations` and `action_mask`.
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.examples.rl_modules.classes.action_masking_rlm import ActionMaskingTorchRLModule
from ray.tune.registry import register_env

from llmqgym.env.wrappers import RLlibObservation


def make_env(config: dict[str, Any]) -> gym.Env[Any, Any]:
    """An environment as RLlib's workers make it."""
    return RLlibObservation(gym.make("llmqgym:llmqgym/LLMServerKVBound-v0", observation="flat", **config))


def main() -> None:
    register_env("llm_server", make_env)
    config = (
        PPOConfig()
        .environment("llm_server", env_config={"num_requests": 50, "max_decisions": 300})
        .env_runners(num_env_runners=0, num_envs_per_env_runner=4)
        .training(train_batch_size_per_learner=2000, minibatch_size=500, num_epochs=2, gamma=1.0)
        .rl_module(
            rl_module_spec=RLModuleSpec(
                module_class=ActionMaskingTorchRLModule,
                model_config={"head_fcnet_hiddens": [64, 64], "head_fcnet_activation": "relu"},
            )
        )
    )
    algorithm = config.build_algo()
    found = algorithm.train()
    runners, learner = found["env_runners"], found["learners"]["default_policy"]
    print(f"decisions sampled     {runners['num_env_steps_sampled']:.0f}")
    print(f"episodes ended        {runners['num_episodes']:.0f}")
    print(f"mean return           {runners['episode_return_mean']:.1f} requests x seconds")
    print(f"policy entropy        {learner['entropy']:.2f}")
    algorithm.stop()
    ray.shutdown()


if __name__ == "__main__":
    main()
