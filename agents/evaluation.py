"""Evaluation: an agent and the named baselines on the same held-out requests, seed by seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from agents.config import held_out_seeds
from agents.from_torch import brain_of
from agents.networks import FlatMLP, Scorer
from agents.policy import SchedulingPolicy
from llmqgym.env import LLMServerVectorEnv
from llmqgym.env.last_step import dt_s_of, final_info
from llmqgym.env.play import Chooser, simulate_agent
from llmqgym.kernel.tables import PS_PER_S
from llmqgym.policy import Policy
from llmqgym.run import RunResult, simulate
from llmqgym.workload.workload import Workload

#: (observations [N, D], masks [N, A]) -> commands [N].
Choose = Callable[[NDArray[np.float32], NDArray[np.bool_]], NDArray[np.int64]]
#: What is said of an agent, in the order of the table, from the metrics of an episode.
FIGURES = ("mean_e2e_s", "p99_e2e_s", "mean_ttft_s", "p99_ttft_s", "requests_per_s", "num_preemptions", "kv_used")
#: So many times the arrivals' span, and so many seconds more, an agent has for its requests.
_PATIENCE, _PATIENCE_S = 4.0, 1000.0
#: An agent that takes more decisions than so many a request goes in circles.
_MOST_DECISIONS = 30
_ONLY_TRAINING = ("randomise", "until_s", "max_decisions", "num_requests", "reward")


@dataclass(frozen=True)
class Measured:
    """Figures by name, float64 [seeds] each, of the seeds in their order; `mean_e2e_s` counts those who have not
    finished with their time so far."""

    figures: dict[str, NDArray[np.float64]]

    def mean(self, name: str) -> float:
        """Over the seeds."""
        return float(self.figures[name].mean())


class HeldOut:
    """Held-out requests of an environment's settings: `num_seeds` times `num_requests`."""

    def __init__(self, settings: dict[str, Any], num_seeds: int, num_requests: int) -> None:
        plain = {name: value for name, value in settings.items() if name not in _ONLY_TRAINING}
        self.seeds, self.num_requests = held_out_seeds(num_seeds), num_requests
        self._env = LLMServerVectorEnv(
            num_seeds,
            autoreset_mode=AutoresetMode.SAME_STEP,
            copy=False,
            **plain,
            observation="flat",
            num_requests=num_requests,
            max_decisions=_MOST_DECISIONS * num_requests,
        )

    def measure(self, choose: Choose) -> Measured:
        """What somebody makes of the requests."""
        env, num = self._env, self._env.num_envs
        observations, _ = env.reset(seed=list(self.seeds))
        found: list[dict[str, float] | None] = [None] * num
        held_s, spent_s = np.zeros(num), np.zeros(num)
        while any(each is None for each in found):
            used = observations[:, 0].astype(np.float64)
            actions = choose(observations, env.action_masks())
            observations, _, terminations, truncations, infos = env.step(actions)
            dt_s = dt_s_of(infos, num)
            for place in np.flatnonzero(terminations | truncations):
                if found[place] is None:
                    held = float(held_s[place] / max(spent_s[place], 1e-9))
                    found[place] = self._figures(final_info(infos, int(place))["metrics"], held)
            held_s, spent_s = held_s + used * dt_s, spent_s + dt_s
        rows = [each for each in found if each is not None]
        return Measured({name: np.array([each[name] for each in rows]) for name in FIGURES})

    def _figures(self, metrics: dict[str, Any], kv_used: float) -> dict[str, float]:
        mean_e2e_s = metrics["time_in_system_s"] / (self.num_requests - metrics["num_not_arrived"])
        return {name: float(metrics[name]) for name in FIGURES if name in metrics} | {
            "mean_e2e_s": mean_e2e_s,
            "kv_used": kv_used,
        }

    def play(self, network: Scorer | FlatMLP) -> Measured:
        """What the most probable command, always, makes of them: as a policy file is played, in the compiled loop.

        Who holds requests back for ever is stopped long after the last arrival.
        """
        brain = brain_of(network)
        chooser = Chooser("agent", brain.choose, brain.model, kept=brain)
        return self._replay(
            lambda workload, **how: simulate_agent(workload, chooser, self._env.config, **how), patient=False
        )

    def baseline(self, policy: Policy) -> Measured:
        """What a policy makes of them, in the compiled loop."""
        return self._replay(lambda workload, **how: simulate(workload, policy=policy, **how))

    def _replay(self, run: Callable[..., RunResult], patient: bool = True) -> Measured:
        scenario = self._env.config.scenario
        self._env.reset(seed=list(self.seeds))
        rows = []
        for place in range(self._env.num_envs):
            requests = self._env.servers.episode_of[place].requests.copy()
            last_s = float(requests["arrival_ps"][-1]) / PS_PER_S
            until_s = None if patient else _PATIENCE * last_s + _PATIENCE_S
            workload = Workload("held-out", requests)
            found = run(workload, server=scenario.server, profile=scenario.profile, until_s=until_s)
            rows.append(self._of_run(found))
        return Measured({name: np.array([_float(each[name]) for each in rows]) for name in FIGURES})

    def _of_run(self, run: RunResult) -> dict[str, float | None]:
        summary = run.summary
        arrived = self.num_requests - summary["num_not_arrived"]
        return {
            "mean_e2e_s": run.totals.integral_requests / PS_PER_S / arrived,
            "p99_e2e_s": summary["e2e_s"]["p99"], "mean_ttft_s": summary["ttft_s"]["mean"],
            "p99_ttft_s": summary["ttft_s"]["p99"], "requests_per_s": summary["requests_per_s"],
            "num_preemptions": summary["num_preemptions"], "kv_used": summary["kv_cache_usage_perc"],
        }  # fmt: skip


def _float(value: float | None) -> float:
    """nan for what is said of nobody: the latency of an agent that lets nobody finish."""
    return float("nan") if value is None else float(value)


def greedy(policy: SchedulingPolicy) -> Choose:
    """The most probable command, always."""

    @torch.no_grad()
    def choose(observations: NDArray[np.float32], masks: NDArray[np.bool_]) -> NDArray[np.int64]:
        seen = torch.as_tensor(observations, device=policy.device)
        found = policy.log_probs(seen, torch.as_tensor(masks, device=policy.device))
        return found.argmax(-1).cpu().numpy()

    return choose
