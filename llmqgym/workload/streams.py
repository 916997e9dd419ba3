"""Random streams: one for each thing that is drawn, so that a change in one draw shifts no other."""

from __future__ import annotations

import numpy as np

from llmqgym.errors import InputError, unknown

#: The random streams of a seed by name. A place in the spawn order is never given to another name.
STREAMS = {"arrivals": 0, "prompt_lengths": 1, "output_lengths": 2, "predictions": 3, "labels": 4, "thinning": 5}


def random_stream(seed: int, name: str, *branch: int) -> np.random.Generator:
    """The stream `name` of `seed`: the child of that number that `SeedSequence(seed).spawn` would give.

    `branch` leads on to a stream below it: the number of a client, of a modulation. Raises InputError for a negative
    seed or an unknown name.
    """
    if name not in STREAMS:
        raise unknown("random stream", name, STREAMS)
    if seed < 0:
        raise InputError(f"seed {seed} is negative: give 0 or more.")
    key = (STREAMS[name], *branch)
    if seed >> 128 or max(key) >> 32:
        return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
    # What SeedSequence makes of these, in a third of the time: the words of the seed, padded to four, and of the key.
    words = np.array([seed >> shift & 0xFFFFFFFF for shift in (0, 32, 64, 96)] + list(key), np.uint32)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(words)))
