"""Draw docs/environment.gif: a server short of KV cache, whose agent admits the request that is predicted shortest.

Run: make gif (needs the extras `plots` and `render`). The README shows the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import llmqgym
from llmqgym.kernel.observe import DEFAULT_WAITING

NUM_FRAMES, FRAME_MS = 100, 100
#: Simulated seconds between two frames, and before the first.
EVERY_S, FROM_S = 0.25, 30.0
_REMAINING = DEFAULT_WAITING.index("predicted_remaining_tokens")


def shortest_predicted_first(observation: dict[str, Any]) -> int:
    """Of the requests that may be admitted the one with the shortest prediction; where there is none, run."""
    waiting = observation["waiting"][:, _REMAINING]
    may_enter = observation["action_mask"][1 : 1 + len(waiting)].astype(bool)
    return 1 + int(np.where(may_enter, waiting, np.inf).argmin()) if may_enter.any() else 0


def record(env: gym.Env[Any, Any]) -> list[NDArray[np.uint8]]:
    """Frames at equal distances of simulated time, each when the agent has decided all that it wants to."""
    observation, _ = env.reset(seed=4)
    frames: list[NDArray[np.uint8]] = []
    clock_s = 0.0
    while len(frames) < NUM_FRAMES:
        action = shortest_predicted_first(observation)
        if action == 0 and clock_s >= FROM_S + len(frames) * EVERY_S:
            frames.append(env.render())
        observation, _, _, _, info = env.step(action)
        clock_s += info["dt_s"]
    return frames


def palette_of(frame: NDArray[np.uint8]) -> NDArray[np.int64]:
    """256 colours of a frame, int64 [256, 3]: each that which those before it serve worst, over all pixels."""
    colours, counts = np.unique(frame.reshape(-1, 3), axis=0, return_counts=True)
    colours = colours.astype(np.int64)
    chosen = [int(counts.argmax())]
    distance = ((colours - colours[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < 256:
        chosen.append(int((distance * counts).argmax()))
        distance = np.minimum(distance, ((colours - colours[chosen[-1]]) ** 2).sum(axis=1))
    return colours[chosen]


def index(frames: list[NDArray[np.uint8]]) -> list[Image.Image]:
    """The frames in the palette of the last one, each pixel in the nearest colour."""
    palette = palette_of(frames[-1])
    images = []
    for frame in frames:
        codes, places = np.unique(frame.astype(np.int64) @ (1 << 16, 1 << 8, 1), return_inverse=True)
        rgb = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
        nearest = ((rgb[:, None] - palette) ** 2).sum(axis=2).argmin(axis=1).astype(np.uint8)
        image = Image.fromarray(nearest[places].reshape(frame.shape[:2]), "P")
        image.putpalette(palette.astype(np.uint8).tobytes())
        images.append(image)
    return images


def main() -> None:
    gym.register_envs(llmqgym)
    env = gym.make("llmqgym/LLMServerKVBound-v0", render_mode="rgb_array", rho=1.15)
    frames = record(env)
    env.close()
    first, *rest = index(frames)
    path = Path(__file__).with_name("environment.gif")
    first.save(path, save_all=True, append_images=rest, duration=FRAME_MS, loop=0)
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
