"""PPO with action masks and discounting by time, in one file: read it from top to bottom.

    python examples/ppo_single_file.py
    python examples/ppo_single_file.py --env-id llmqgym/LLMServerReasoning-v0 --total-steps 2000000

Needs torch (pip install 'llmqgym[train]'). Trains for about a minute on one core, then lets the policy, a random valid
one and first come first served meet the same requests. What is particular to this environment:

* A step takes no time (admitting, preempting) or many iterations (running): the discount of a transition is
  exp(-beta dt), not a constant.
* An episode that is cut off is not over: what follows is estimated from its last observation (`final_obs`). One that
  has terminated is worth nothing more.
* The reward is the time that requests spend in the system, and a price for preemptions, which a beginner makes all
  the time. The comparison at the end is by time in the system alone.
* Commands that are not allowed have probability 0, when acting and when learning.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from torch import nn

import llmqgym  # noqa: F401 - registers the environments
from llmqgym.env.last_step import dt_s_of


@dataclass
class Args:
    """Each setting is a flag, e.g. --num-envs 32."""

    env_id: str = "llmqgym/LLMServerKVBound-v0"
    """the environment"""
    num_requests: int = 200
    """requests of an episode"""
    until_s: float = 20.0
    """simulated time after which an episode is truncated in training, seconds"""
    preemption_cost: float = 1.0
    """of a preemption, in requests x seconds: what it wastes comes out long after it, and so it is hard to learn"""
    seed: int = 1
    """of networks, actions and arrivals"""
    total_steps: int = 1_600_000
    """decisions in all"""
    num_envs: int = 64
    """servers"""
    num_steps: int = 128
    """decisions of each server between two updates"""
    horizon_s: float = 10.0
    """1 / beta: how far the agent looks ahead, seconds"""
    gae_lambda: float = 0.95
    """how far advantages trust the rewards rather than the value network, per decision"""
    reward_scale: float = 0.005
    """rewards are requests x seconds: this brings returns to the order of 1"""
    learning_rate: float = 1e-3
    """of Adam, going down to 0"""
    num_epochs: int = 4
    """passes over what was collected"""
    minibatch_size: int = 2048
    """transitions of a gradient step"""
    clip: float = 0.2
    """how far an update may change probabilities, as a ratio"""
    entropy_weight: float = 0.003
    """keeps the policy from settling too early"""
    max_grad_norm: float = 0.5
    """of a gradient"""
    hidden: int = 64
    """width of the two layers of either network"""
    num_eval_envs: int = 32
    """episodes of an evaluation"""


def parse_args() -> Args:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for each in fields(Args):
        parser.add_argument(f"--{each.name.replace('_', '-')}", type=type(each.default), default=each.default)
    return Args(**vars(parser.parse_args()))


def make_envs(args: Args, num_envs: int, **settings: Any) -> Any:
    """Servers that begin the next episode in the step in which the last one ends."""
    return gym.make_vec(
        args.env_id,
        num_envs=num_envs,
        vectorization_mode="vector_entry_point",
        autoreset_mode=AutoresetMode.SAME_STEP,
        observation="flat",
        num_requests=args.num_requests,
        reward={"latency": 1.0, "preemptions": args.preemption_cost},
        **settings,
    )


def layer(inputs: int, outputs: int, gain: float = math.sqrt(2)) -> nn.Linear:
    made = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(made.weight, gain)
    nn.init.zeros_(made.bias)
    return made


class Agent(nn.Module):
    """Two networks: what to do, and what the rest of the episode is worth."""

    def __init__(self, size: int, num_actions: int, hidden: int) -> None:
        super().__init__()

        def network(outputs: int, gain: float) -> nn.Sequential:
            return nn.Sequential(
                layer(size, hidden), nn.Tanh(), layer(hidden, hidden), nn.Tanh(), layer(hidden, outputs, gain)
            )

        self.actor, self.critic = network(num_actions, 0.01), network(1, 1.0)

    def log_probs(self, observations: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        """Of every command, [N, A]; -inf where it is not allowed."""
        return self.actor(observations).masked_fill(~masks, -torch.inf).log_softmax(-1)

    def values(self, observations: torch.Tensor) -> torch.Tensor:
        """[N]."""
        return self.critic(observations).squeeze(-1)

    @torch.no_grad()
    def act(self, observations: np.ndarray, masks: np.ndarray, greedy: bool = False) -> np.ndarray:
        log_probs = self.log_probs(torch.as_tensor(observations), torch.as_tensor(masks))
        return (log_probs.argmax(-1) if greedy else log_probs.exp().multinomial(1).squeeze(-1)).numpy()


class Rollout:
    """What was collected between two updates, [num_steps, num_envs] of everything."""

    def __init__(self, args: Args, size: int, num_actions: int) -> None:
        shape = (args.num_steps, args.num_envs)
        self.observations, self.masks = torch.zeros(*shape, size), torch.zeros(*shape, num_actions, dtype=torch.bool)
        self.actions, self.log_probs = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape)
        self.rewards, self.values, self.next_values = torch.zeros(shape), torch.zeros(shape), torch.zeros(shape)
        self.discounts, self.goes_on = torch.zeros(shape), torch.zeros(shape)  # exp(-beta dt); 0: the episode ended

    def advantages(self, gae_lambda: float) -> torch.Tensor:
        """Generalised advantage estimation (arXiv 1506.02438), each transition with a discount of its own."""
        errors = self.rewards + self.discounts * self.next_values - self.values
        advantages, following = torch.zeros_like(errors), torch.zeros(errors.shape[1])
        for step in reversed(range(len(errors))):
            following = errors[step] + gae_lambda * self.discounts[step] * self.goes_on[step] * following
            advantages[step] = following
        return advantages


@torch.no_grad()
def collect(args: Args, envs: Any, agent: Agent, rollout: Rollout, observations: np.ndarray) -> tuple[Any, int]:
    """Let the agent act; returns the last observations, and how many episodes ended."""
    num_ended = 0
    for step in range(args.num_steps):
        masks = envs.unwrapped.action_masks()
        rollout.observations[step], rollout.masks[step] = torch.as_tensor(observations), torch.as_tensor(masks)
        log_probs = agent.log_probs(rollout.observations[step], rollout.masks[step])
        actions = log_probs.exp().multinomial(1)
        rollout.actions[step], rollout.log_probs[step] = actions[:, 0], log_probs.gather(1, actions)[:, 0]
        rollout.values[step] = agent.values(rollout.observations[step])

        observations, rewards, terminations, truncations, infos = envs.step(actions[:, 0].numpy())
        ended = terminations | truncations
        # The observation after the step: of an episode that has ended not the one that begins the next.
        after = observations
        if ended.any():
            after = observations.copy()
            after[ended] = np.stack(infos["final_obs"][ended])
            num_ended += int(ended.sum())
        alive = torch.as_tensor(~terminations)
        rollout.rewards[step] = torch.as_tensor(rewards * args.reward_scale)
        rollout.next_values[step] = agent.values(torch.as_tensor(after)) * alive
        rollout.discounts[step] = torch.as_tensor(np.exp(-dt_s_of(infos, args.num_envs) / args.horizon_s))
        rollout.goes_on[step] = torch.as_tensor(~ended)
    return observations, num_ended


def update(args: Args, agent: Agent, optimizer: torch.optim.Optimizer, rollout: Rollout) -> None:
    """PPO's clipped objective (arXiv 1707.06347) on what was collected."""
    advantages = rollout.advantages(args.gae_lambda)
    returns = (advantages + rollout.values).flatten()
    advantages = advantages.flatten()
    observations, masks = rollout.observations.flatten(0, 1), rollout.masks.flatten(0, 1)
    actions, old_log_probs = rollout.actions.flatten(), rollout.log_probs.flatten()
    for _ in range(args.num_epochs):
        for batch in torch.randperm(len(returns)).split(args.minibatch_size):
            log_probs = agent.log_probs(observations[batch], masks[batch])
            ratio = (log_probs.gather(1, actions[batch, None])[:, 0] - old_log_probs[batch]).exp()
            gain = (advantages[batch] - advantages[batch].mean()) / (advantages[batch].std() + 1e-8)
            policy_loss = -torch.min(ratio * gain, ratio.clamp(1 - args.clip, 1 + args.clip) * gain).mean()
            value_loss = (agent.values(observations[batch]) - returns[batch]).square().mean()
            entropy = -(log_probs.exp() * log_probs.masked_fill(~masks[batch], 0.0)).sum(-1).mean()
            optimizer.zero_grad()
            (policy_loss + 0.5 * value_loss - args.entropy_weight * entropy).backward()
            nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
            optimizer.step()


def train(args: Args) -> Agent:
    torch.manual_seed(args.seed)
    envs = make_envs(args, args.num_envs, until_s=args.until_s)
    size, num_actions = envs.single_observation_space.shape[0], int(envs.single_action_space.n)
    agent, rollout = Agent(size, num_actions, args.hidden), Rollout(args, size, num_actions)
    optimizer = torch.optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    observations, _ = envs.reset(seed=args.seed)
    num_updates = max(args.total_steps // (args.num_envs * args.num_steps), 1)
    began_s = time.perf_counter()
    for number in range(num_updates):
        optimizer.param_groups[0]["lr"] = args.learning_rate * (1 - number / num_updates)
        observations, num_ended = collect(args, envs, agent, rollout, observations)
        update(args, agent, optimizer, rollout)
        if number % 8 == 0 or number == num_updates - 1:
            steps, wall_s = (number + 1) * args.num_envs * args.num_steps, time.perf_counter() - began_s
            simulated_s = float(-rollout.discounts.log().sum()) * args.horizon_s
            cost_per_s = float(-rollout.rewards.sum()) / args.reward_scale / simulated_s
            print(f"{steps:9,} decisions, {steps / wall_s:6,.0f}/s: cost {cost_per_s:6.1f}, {num_ended} episodes ended")
    envs.close()
    return agent


Choice = Callable[[np.ndarray, np.ndarray], np.ndarray]


def evaluate(args: Args, choose: Choice, seed: int = 10_000) -> float:
    """Mean E2E time in seconds over one episode of each server; the same seed, the same requests."""
    envs = make_envs(args, args.num_eval_envs, max_decisions=20 * args.num_requests)
    observations, _ = envs.reset(seed=seed)
    found = np.full(args.num_eval_envs, np.nan)
    while np.isnan(found).any():
        actions = choose(observations, envs.unwrapped.action_masks())
        observations, _, terminations, truncations, infos = envs.step(actions)
        for place in np.flatnonzero((terminations | truncations) & np.isnan(found)):
            # Requests that have not finished are in it with their time so far.
            found[place] = infos["final_info"]["metrics"]["time_in_system_s"][place] / args.num_requests
    envs.close()
    return float(found.mean())


def main() -> None:
    args = parse_args()
    torch.set_num_threads(1)
    began_s = time.perf_counter()
    agent = train(args)
    print(f"trained for {time.perf_counter() - began_s:.0f} s; mean time in system over {args.num_eval_envs} episodes:")
    rng = np.random.default_rng(args.seed)
    window = make_envs(args, 1).unwrapped.config.window

    def at_random(observations: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return (rng.random(masks.shape) * masks).argmax(-1)

    def first_come(observations: np.ndarray, masks: np.ndarray) -> np.ndarray:
        wanted = masks[:, 1 : 1 + window]
        return np.where(wanted.any(-1), 1 + wanted.argmax(-1), 0)

    results = {
        "random": evaluate(args, at_random),
        "first come first served": evaluate(args, first_come),
        "PPO": evaluate(args, lambda observations, masks: agent.act(observations, masks, greedy=True)),
    }
    for name, mean_s in results.items():
        print(f"{name:24} {mean_s:8.2f} s")


if __name__ == "__main__":
    main()
