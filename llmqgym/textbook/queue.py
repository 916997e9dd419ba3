"""The textbook queue itself: one slot, prompts of one token, passes of constant time, preemption that loses nothing.

A request of O output tokens is a job of O passes (docs/model.md, "Textbook queue"). Sizes are drawn from a continuous
law of mean 1 and rounded to whole tokens, so many a mean job that rounding and the wait for the end of a pass are far
below what any number of jobs can resolve. Times are in mean jobs. Sizes and predictions end where a workload's do, at
10^9 tokens: thousands of mean jobs and more, so that what is predicted there is served last either way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmqgym.config import ServerConfig
from llmqgym.hardware.registry import load_profile
from llmqgym.policy import Policy
from llmqgym.simulator import Simulator
from llmqgym.theory.laws import Law
from llmqgym.theory.predictions import PERFECT, Prediction
from llmqgym.workload.workload import MAX_TOKENS, make_requests

Floats = NDArray[np.float64]
Rows = NDArray[np.void]

#: Nothing is short but the one slot.
SERVER = ServerConfig(max_running=1, max_batched_tokens=2**40, num_kv_blocks=2**40)
#: How long a pass lasts.
PASS_PS = 1000
#: Tokens of the mean job, at most and at least: the error of whole tokens is some millionths of a response.
MOST_TOKENS, LEAST_TOKENS = 2**17, 1000
#: Jobs before and after those that count, as a share of them: the queue is neither filling nor running empty.
MARGIN = 0.05
#: Jobs that are drawn at a time.
CHUNK = 2**17


@dataclass(frozen=True)
class Queue:
    """A law of sizes of mean 1, a load in (0, 1), and what is predicted of a size."""

    law: Law
    load: float
    prediction: Prediction = PERFECT

    def tokens_per_job(self, num_jobs: int) -> int:
        """Tokens of the mean job: as many as keep the longest of so many jobs within the kernel's bound."""
        longest = _exceeded_once_in(self.law, 1000 * num_jobs)
        return max(LEAST_TOKENS, min(MOST_TOKENS, int(MAX_TOKENS / longest)))


@dataclass(frozen=True)
class Run:
    """What a simulation has come to, by batches of equally many consecutive jobs; the first and last jobs are in none.

    All float64 [batches], means over a batch's jobs: `response` in mean jobs, `preemptions`, and the controls of
    estimate.py: `gap` (times load), `size` cut off at `cut`, its `square`, and `wait` under FCFS of the sizes so cut.
    """

    queue: Queue
    cut: float
    tokens_per_job: int
    response: Floats
    preemptions: Floats
    cost: Floats
    gap: Floats
    size: Floats
    square: Floats
    wait: Floats
    num_jobs: int


def simulate(
    queue: Queue,
    policy: Policy,
    num_jobs: int,
    seed: int = 0,
    *,
    num_batches: int = 40,
    tokens_per_job: int | None = None,
    cost: Callable[[Floats], Floats] | None = None,
    on_progress: Callable[[float], None] | None = None,
) -> Run:
    """Run the queue under a policy of that many jobs; the same seed gives every policy the same jobs.

    `cost` gives, from the predictions [n] in mean jobs, what each job pays outside the server, in mean jobs.
    `on_progress` is told how many jobs have left.
    """
    tokens = queue.tokens_per_job(num_jobs) if tokens_per_job is None else tokens_per_job
    batches = _Batches(num_jobs, num_batches)
    cut = _exceeded_once_in(queue.law, max(num_jobs / 1000, 20))
    drawn = _Drawn(queue, tokens, cut, batches, np.random.default_rng(seed), cost)
    profile = load_profile(f"constant:iteration_ms={PASS_PS / 1e9!r}").to_integers(SERVER.block_size)

    def on_departures(rows: Rows) -> None:
        batches.add("response", rows["id"], (rows["finish_ps"] - rows["arrival_ps"]) / (PASS_PS * tokens))
        batches.add("preemptions", rows["id"], rows["num_preemptions"].sum(axis=1))
        if on_progress is not None:
            batches.num_left += len(rows)
            on_progress(num_jobs * batches.num_left / batches.total)

    Simulator(SERVER, profile, policy).run(drawn.chunks(), on_departures=on_departures)
    return Run(queue, cut, tokens, num_jobs=num_jobs, **batches.means())


class _Batches:
    """Sums over batches of consecutive jobs, by job number; margins belong to none."""

    def __init__(self, num_jobs: int, num_batches: int) -> None:
        self.size = max(num_jobs // num_batches, 1)
        self.num = num_batches
        self.margin = math.ceil(MARGIN * num_jobs)
        self.total = self.size * num_batches + 2 * self.margin
        self.num_left = 0
        self._sums: dict[str, Floats] = {}

    def add(self, name: str, jobs: NDArray[np.int64], values: Floats | float) -> None:
        """Add values [n] of jobs [n]."""
        batch = (jobs - self.margin) // self.size
        inside = (batch >= 0) & (batch < self.num)
        sums = self._sums.setdefault(name, np.zeros(self.num))
        sums += np.bincount(batch[inside], np.broadcast_to(values, jobs.shape)[inside], self.num)

    def means(self) -> dict[str, Floats]:
        """Sums over the jobs of a batch."""
        return {name: sums / self.size for name, sums in self._sums.items()}


class _Drawn:
    """The jobs, drawn a chunk at a time, and their controls."""

    def __init__(
        self,
        queue: Queue,
        tokens: int,
        cut: float,
        batches: _Batches,
        rng: np.random.Generator,
        cost: Callable[[Floats], Floats] | None,
    ) -> None:
        self._queue, self._tokens, self._cut, self._batches, self._rng, self._cost = (
            queue, tokens, cut, batches, rng, cost,
        )  # fmt: skip
        self._work = 0.0  # that the cut sizes leave behind

    def chunks(self) -> Iterator[Rows]:
        """ARRIVAL[n] tables."""
        start_ps, first = 0, 0
        while first < self._batches.total:
            num = min(CHUNK, self._batches.total - first)
            gaps = self._rng.exponential(1 / self._queue.load, num)
            sizes = self._queue.law.sample(num, self._rng)
            predictions = self._queue.prediction.sample(sizes, self._rng)
            self._note(np.arange(first, first + num), gaps, sizes, predictions)
            arrival_ps = start_ps + np.rint(np.cumsum(gaps) * self._tokens * PASS_PS).astype(np.int64)
            yield make_requests(
                arrival_ps=arrival_ps,
                prompt_tokens=np.ones(num, np.int64),
                output_tokens=np.clip(np.rint(sizes * self._tokens), 1, MAX_TOKENS).astype(np.int64),
                predicted_output_tokens=np.minimum(predictions * self._tokens, MAX_TOKENS),
            )
            start_ps, first = int(arrival_ps[-1]), first + num

    def _note(self, jobs: NDArray[np.int64], gaps: Floats, sizes: Floats, predictions: Floats) -> None:
        cut = np.minimum(sizes, self._cut)
        values = {"gap": gaps * self._queue.load, "size": cut, "square": cut**2, "wait": self._waits(gaps, cut)}
        values["cost"] = np.zeros(len(jobs)) if self._cost is None else self._cost(predictions)
        for name, each in values.items():
            self._batches.add(name, jobs, each)

    def _waits(self, gaps: Floats, sizes: Floats) -> Floats:
        """Waits [n] under FCFS (Lindley), from chunk to chunk."""
        left = np.cumsum(sizes) - sizes - np.cumsum(gaps)
        waits: Floats = left - np.minimum(np.minimum.accumulate(left), -self._work)
        self._work = float(waits[-1] + sizes[-1])
        return waits


def _exceeded_once_in(law: Law, num: float) -> float:
    """The size x with P(X > x) = 1 / num."""
    low, high = (math.log(end) for end in law.support)
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if float(law.sf(np.array([math.exp(middle)]))[0]) * num > 1 else (low, middle)
    return math.exp(high)
