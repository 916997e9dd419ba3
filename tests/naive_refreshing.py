"""The naive twin with predictions that are refreshed: each at its token, the moment it comes, in plain Python."""

from __future__ import annotations

import math
from typing import Any

import naive

ALL = 2**64 - 1


def splitmix(seed: int, request: int, index: int) -> int:
    """60 bits: three rounds of SplitMix64, one for each number."""
    z = 0
    for number in (seed, request, index):
        z = (z + number + 0x9E3779B97F4A7C15) & ALL
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & ALL
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & ALL
        z = z ^ z >> 31
    return z >> 4


def bell(seed: int, request: int, index: int) -> float:
    z = splitmix(seed, request, index)
    words = [z >> 15 * place & 32767 for place in range(4)]
    return (sum(words) - 65534) * (math.sqrt(3.0) / 32768)


class Simulator(naive.Simulator):
    """The twin whose server looks again every `looks.every` generated tokens."""

    def __init__(self, *given: Any, looks: Any, **named: Any) -> None:
        self.looks = looks
        super().__init__(*given, **named)
        self.first = [r.predicted_output_tokens for r in self.requests]
        self.posteriors: dict[int, list[float]] = {}

    def weights(self, centre: float) -> list[float]:
        found = []
        for number in range(self.looks.bins):
            distance = ((number + 0.5) * self.looks.width - centre) / self.looks.spread
            found.append((1.0 / (1.0 + distance * distance)) * (1.0 / (1.0 + distance * distance)))
        return found

    def join_waiting(self, request: naive.Request) -> None:
        if request.generated_tokens == 0:
            request.predicted_output_tokens = self.first[request.id]
            weights = self.weights(self.first[request.id])
            self.posteriors[request.id] = [weight / sum(weights) for weight in weights]
        super().join_waiting(request)

    def advance(self, request: naive.Request, n: int, start: int) -> bool:
        token = super().advance(request, n, start)
        if token and request.generated_tokens % self.looks.every == 0:
            self.look(request)
        return token

    def look(self, request: naive.Request) -> None:
        looks, first = self.looks, self.first[request.id]
        if math.isnan(first):
            return
        number = request.generated_tokens // looks.every
        always = splitmix(looks.seed, request.id, 3 * number + 2) // 128 / 2**53 < looks.persistence
        draw = 0 if always else 3 * number
        error = looks.scale * (bell(looks.seed, request.id, draw) * bell(looks.seed, request.id, draw + 1))
        remaining = request.output_tokens - request.generated_tokens
        centre = min(max(remaining + error, 0.0), looks.bins * looks.width)
        old = self.posteriors[request.id]
        for _ in range(looks.every):
            fall = 1.0 / looks.width
            moved = [p * (1.0 - fall) + q * fall for p, q in zip(old, [*old[1:], 0.0], strict=True)]
            moved[0] = old[0] + old[1] * fall
            moved[-1] = old[-1] * (1.0 - fall)
            old = moved
        new = [p * weight for p, weight in zip(old, self.weights(centre), strict=True)]
        total = 0.0
        for p in new:
            total += p
        self.posteriors[request.id] = [p / total for p in new]
        mean = 0.0
        for place, p in enumerate(self.posteriors[request.id]):
            mean += p * ((place + 0.5) * looks.width)
        request.predicted_output_tokens = request.generated_tokens + mean
