"""An agent through a whole workload in compiled code: the kernel's schedule under fcfs, and the environment's."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from llmqgym.config import ServerConfig
from llmqgym.env import LLMServerEnv
from llmqgym.env.config import make_config
from llmqgym.env.play import Chooser, simulate_agent
from llmqgym.errors import InputError
from llmqgym.kernel.jit import COMPILED
from llmqgym.kernel.memory import address_of, peek_byte, peek_double, peek_single
from llmqgym.policy import Policy
from llmqgym.run import RunResult, simulate
from llmqgym.workload.generate import poisson_lognormal
from llmqgym.workload.predictors import apply_predictor
from llmqgym.workload.workload import Workload

NUM = 400 if COMPILED else 40
TIGHT = ServerConfig(num_kv_blocks=300, max_running=12, max_batched_tokens=512)


def oldest_first(observation: int, mask: int, model: int) -> int:
    """First come first served: the oldest waiting request is first in the window."""
    return 1 if peek_byte(mask, 1) else 0


def moody(observation: int, mask: int, model: int) -> int:
    """Some allowed command, which follows from every number of the observation; a preemption now and then only."""
    size, window, num_actions = int(peek_double(model, 0)), int(peek_double(model, 1)), int(peek_double(model, 2))
    total = 0.0
    for place in range(size):
        total += peek_single(observation, place) * (place % 7 + 1)
    number = int(abs(total) * 1000.0)
    if number % 3 == 0 and peek_byte(mask, 0):
        return 0
    num_allowed = 0
    for action in range(num_actions):
        num_allowed += peek_byte(mask, action)
    left = number % num_allowed
    for action in range(num_actions):
        if peek_byte(mask, action):
            if left == 0:
                return action if action <= window or number % 16 == 0 or not peek_byte(mask, 0) else 0
            left -= 1
    return 0


def refused(observation: int, mask: int, model: int) -> int:
    """A command that is never allowed."""
    return -1


def requests(seed: int, num: int = NUM, rate_per_s: float = 12.0) -> Workload:
    drawn = poisson_lognormal(
        num, rate_per_s, seed=seed, prompt_median=300, prompt_sigma=1.0, output_median=80, output_sigma=0.8
    )
    return apply_predictor(drawn, "lognormal:sigma=0.5", seed)


def totals(result: RunResult) -> Any:
    """Without the number of compositions: an agent is asked more often, and jumps are cut there."""
    return dataclasses.replace(result.totals, num_events=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "view",
    [
        {"window": 1, "oldest": 1, "running": 0, "decision_interval": 1},
        {},
        {"window": 64, "running": 3, "decision_interval": 10**6},
    ],
)
def test_fcfs_is_the_kernels(seed: int, view: dict[str, Any]) -> None:
    workload = requests(seed)
    expected = simulate(workload, policy=Policy("fcfs"), server=TIGHT)
    chooser = Chooser("oldest first", oldest_first, np.zeros(1))
    found = simulate_agent(workload, chooser, make_config(**view), server=TIGHT)
    assert found.departures.tobytes() == expected.departures.tobytes()
    assert totals(found) == totals(expected)
    assert sum(expected.totals.num_preemptions) > 0
    same = {name: value for name, value in expected.summary.items() if name != "num_events"}
    assert {name: found.summary[name] for name in same} == same


@pytest.mark.parametrize("server", [{"prefix_caching": True}, {"max_running": 3}])
@pytest.mark.parametrize("predictor", [None, "refreshing"])
def test_fcfs_is_the_kernels_with_services(server: dict[str, Any], predictor: str | None) -> None:
    workload = requests(5)
    config = dataclasses.replace(TIGHT, **server)
    options: dict[str, Any] = {"server": config, "predictor": predictor, "until_s": 20.0}
    expected = simulate(workload, policy=Policy("fcfs"), **options)
    chooser = Chooser("oldest first", oldest_first, np.zeros(1))
    found = simulate_agent(workload, chooser, make_config(), **options)
    assert found.departures.tobytes() == expected.departures.tobytes()
    assert found.summary["outcome"] == expected.summary["outcome"] == ("horizon" if COMPILED else "finished")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"shortage": "agent", "preempt_mode": "swap"},
        {"preempt_mode": "hold", "window": 4, "running": 12, "decision_interval": 3},
        {"preempt_mode": "restart", "waiting_fields": ("age_s", "kv_wanted"), "observation": "flat"},
        {"engine": Policy("vllm", miss="skip"), "oldest": 0},
    ],
)
def test_the_schedule_is_the_environments(settings: dict[str, Any]) -> None:
    """The same commands through step, one after the other, and in the compiled loop."""
    env = LLMServerEnv(num_requests=NUM, server=dataclasses.asdict(TIGHT), workload="chat_azure23", **settings)
    env.reset(seed=3)
    observation, mask = env.servers.observations[0], env.servers.masks[0]
    model = np.array([len(observation), env.config.window, len(mask)], np.float64)
    addresses = address_of(observation), address_of(mask), address_of(model)
    over, num_preempted, num_decisions = False, 0, 0
    while not over and num_decisions < 100_000:
        num_decisions += 1
        action = moody(*addresses)
        num_preempted += action > env.config.window
        _, _, terminated, truncated, info = env.step(action)
        assert not info["invalid_action"]
        over = terminated or truncated
    episode = env.servers.episode_of[0]
    played = simulate_agent(
        Workload("episode", episode.requests), Chooser("moody", moody, model), env.config, server=TIGHT
    )
    expected = env.simulator.departures()
    assert over
    assert num_preempted > 0
    assert played.departures.tobytes() == expected.tobytes()
    assert dataclasses.replace(played.totals, outcome="") == dataclasses.replace(env.simulator.totals(), outcome="")
    assert played.config["policy"]["window"] == env.config.window


def test_chunks_do_not_matter() -> None:
    """A source that hands its requests over one by one, and more requests in the system than there is room for."""

    class Dribbling(Workload):
        def chunks(self) -> Any:
            return (self.requests[place : place + 1] for place in range(len(self)))

    whole = requests(7, rate_per_s=500.0)
    parts = Dribbling("parts", whole.requests)
    config = make_config(preempt_mode="swap")
    model = np.array([203, 16, 33], np.float64)
    once, again = (
        simulate_agent(each, Chooser("moody", moody, model), config, server=TIGHT) for each in (whole, parts)
    )
    assert once.departures.tobytes() == again.departures.tobytes()


def test_going_round_in_circles_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("llmqgym.env.play.PATIENCE", 40_000 if COMPILED else 0)
    monkeypatch.setattr("llmqgym.env.play._DECISIONS_A_CALL", 20_000 if COMPILED else 100)
    found = simulate_agent(requests(1), Chooser("refused", refused, np.zeros(1)), make_config(), server=TIGHT)
    assert found.summary["outcome"] == "stalled"
    assert found.summary["num_finished"] == 0


def test_scores_are_refused() -> None:
    chooser = Chooser("oldest first", oldest_first, np.zeros(1))
    with pytest.raises(InputError, match="action='command'"):
        simulate_agent(requests(1), chooser, make_config(action="priority"))
