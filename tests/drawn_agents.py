"""Networks with weights drawn at random, and observations as an environment gives them: for the tests of agents."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.brain import Brain
from agents.inference import shapes_of
from agents.layout import Layout
from agents.trained_agent import TrainedAgent, Training, View
from llmqgym.env import LLMServerVectorEnv


def drawn_brain(network: str, layout: Layout, hidden: int, seed: int = 0) -> Brain:
    """Weights of a size at which logits are some units apart."""
    rng = np.random.default_rng(seed)
    shapes = shapes_of(network, layout, hidden)
    return Brain(
        network,
        layout,
        hidden,
        {name: rng.normal(0.0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()},
    )


def drawn_agent(network: str = "scorer", window: int = 4, running: int = 3, seed: int = 0) -> TrainedAgent:
    """Of eight units, that never trained."""
    brain = drawn_brain(network, Layout(window, running), 8, seed)
    training = Training("chat", "drawn", seed, 0, 0.0)
    return TrainedAgent("drawn", brain, View(window, window // 2, running), training, "weights drawn at random")


def seen(num: int, seed: int = 0, **settings: Any) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """(observations [num, D], masks [num, A]) of random allowed commands at a busy server."""
    env = LLMServerVectorEnv(
        2, num_requests=300, server={"num_kv_blocks": 900, "max_running": 20}, workload="chat_azure23",
        observation="flat", **settings,
    )  # fmt: skip
    rng = np.random.default_rng(seed)
    observations, infos = env.reset(seed=seed)
    found, masks = [], []
    while len(found) * 2 < num:
        mask = infos["action_mask"]
        found.append(observations)
        masks.append(mask)
        weights = rng.random(mask.shape) * mask
        weights[:, 1 + env.config.window :] *= 0.5
        observations, _, _, _, infos = env.step(weights.argmax(1))
    return np.concatenate(found)[:num], np.concatenate(masks)[:num]


def first_come_first_served() -> TrainedAgent:
    """A scorer that sees the oldest only, and whose weights say: admit whoever may enter; else run."""
    layout = Layout(1, 0)
    tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes_of("scorer", layout, 2).items()}
    for head, logit in (("admit", 1.0), ("preempt", -1.0)):
        tensors[f"{head}.context.bias"][0] = 1.0
        tensors[f"{head}.out.weight"][0, 0] = logit
    brain = Brain("scorer", layout, 2, tensors)
    return TrainedAgent("first", brain, View(1, 1, 0), Training("chat", "by hand", 0, 0, 0.0), "as fcfs")


def shortest_first(window: int = 6, running: int = 4) -> TrainedAgent:
    """A scorer whose weights say: the shorter by prediction, the sooner; whoever holds more blocks is preempted the
    sooner, but never before the iteration runs."""
    layout = Layout(window, running)
    tensors = {name: np.zeros(shape, np.float32) for name, shape in shapes_of("scorer", layout, 2).items()}
    for part, field, weight in (("waiting", "predicted_remaining_tokens", -1.0), ("running", "kv_held", 1.0)):
        fields = getattr(layout, f"{part}_fields")
        tensors[f"encoder.{part}.row.weight"][0, fields.index(field)] = weight
        tensors[f"encoder.{part}.server.bias"][0] = 2.0
    for head, sign in (("admit", 1.0), ("preempt", 0.01)):
        tensors[f"{head}.row.weight"][0, 0] = 1.0
        tensors[f"{head}.out.weight"][0, 0] = sign
    tensors["run.context.bias"][0] = tensors["run.out.weight"][0, 0] = 0.5
    brain = Brain("scorer", layout, 2, tensors)
    training = Training("kv-bound", "by hand", 0, 0, 0.0)
    return TrainedAgent("shortest", brain, View(window, window // 2, running), training, "as spjf")
