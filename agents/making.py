"""What a configuration is made into: the environment, the learner, and the held-out requests."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from agents.config import AgentConfig
from agents.evaluation import HeldOut
from agents.layout import Layout
from agents.mixture import MixedVecEnv
from agents.policy import SchedulingPolicy
from agents.ppo import TimedPPO
from llmqgym.env.wrappers import VectorDifferenceToReference
from llmqgym.policy import Policy
from llmqgym.sb3 import SB3VecEnv, make_sb3_vec_env


def make_env(config: AgentConfig, stage: int = 0, reference: Policy | None = None) -> SB3VecEnv | MixedVecEnv:
    """The training environment of a stage (0: before all); its first reset is seeded. Rewards are differences to
    those of a `reference`. Raises InputError."""
    settings = list(config.training_settings(stage).values())
    num = config.num_envs // len(settings)
    wrap = None if reference is None else functools.partial(VectorDifferenceToReference, policy=reference)
    made = [
        make_sb3_vec_env(
            each, num, copies=config.copies, wrap=wrap, **{"num_requests": 2000} | each, observation="flat"
        )
        for each in settings
    ]
    env: SB3VecEnv | MixedVecEnv = made[0]
    if config.parts:
        env = MixedVecEnv(
            made, [part.reward_scale for part in config.parts], [part.time_scale for part in config.parts]
        )  # fmt: skip
    env.seed(config.training_seed + stage * config.num_envs)
    return env


def _falling(first: float, last: float) -> Callable[[float], float]:
    """From the first at progress 1 (all remains) to the last at 0."""
    return lambda remaining: last + (first - last) * max(remaining, 0.0)


def make_model(config: AgentConfig, env: Any, device: str) -> TimedPPO:
    """The learner. Seeds torch's and numpy's generators."""
    learning = config.learning
    return TimedPPO(
        SchedulingPolicy,
        env,
        policy_kwargs={
            "layout": Layout.of(config.first_config),
            "network": config.network.name,
            "hidden": config.network.hidden,
            "preempt": config.network.preempt,
        },
        learning_rate=_falling(learning.learning_rate, learning.final_learning_rate),
        n_steps=learning.num_steps,
        batch_size=learning.batch_size,
        n_epochs=learning.num_epochs,
        gae_lambda=learning.gae_lambda,
        clip_range=learning.clip,
        ent_coef=learning.entropy_weight,
        final_ent_coef=learning.final_entropy_weight,
        ent_coef_moves_from=learning.entropy_moves_from,
        vf_coef=learning.value_weight,
        max_grad_norm=learning.max_grad_norm,
        target_kl=learning.target_kl,
        horizon_s=None if learning.average_reward else learning.horizon_s,
        trace_s=learning.trace_s,
        copies=config.copies,
        reward_scale=learning.reward_scale,
        teacher_kl=learning.teacher_kl,
        learn_values_only=learning.values_only,
        seed=None,
        device=device,
    )


def make_held_out(config: AgentConfig) -> dict[str, HeldOut]:
    """By part."""
    chosen = config.evaluation
    return {
        name: HeldOut(settings, chosen.num_seeds, chosen.num_requests) for name, settings in config.env_settings.items()
    }
