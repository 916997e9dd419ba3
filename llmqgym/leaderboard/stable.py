"""The stability region of a contestant: the largest rate of an arena's requests at which its queue does not grow."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from llmqgym.errors import InputError
from llmqgym.leaderboard.contestant import Contestant
from llmqgym.load.check import largest_stable_rho, poisson_workload, shuffled_rows
from llmqgym.load.lengths import Ints
from llmqgym.scenario import ScenarioConfig
from llmqgym.traffic import capacity_of, lengths_of

#: Requests of one verdict, the seed of their order, and the largest load that is tried.
NUM_REQUESTS, SEED, MOST_RHO = 20_000, 0, 1.05


@dataclass(frozen=True)
class _Bench:
    """A contestant on requests of a scenario, at any rate."""

    contestant: Contestant
    scenario: ScenarioConfig
    prompt_tokens: Ints
    output_tokens: Ints

    @property
    def name(self) -> str:
        return self.contestant.spec

    def verdict(self, rate_per_s: float) -> str:
        workload = poisson_workload(self.prompt_tokens, self.output_tokens, rate_per_s, SEED)
        return str(self.contestant.run(workload, self.scenario).summary["stability"])


def largest_stable_rate(scenario: ScenarioConfig, contestant: Contestant) -> dict[str, Any]:
    """{rho, rate_per_s, most_rho}: the largest load up to `most_rho` that the contestant bears, found by bisection to
    0.01 of the fluid's capacity, with Poisson arrivals of the scenario's lengths; None where it bears none."""
    lengths = lengths_of(scenario)
    found = capacity_of(scenario, lengths)
    rows = shuffled_rows(len(lengths[0]), NUM_REQUESTS, SEED)
    bench = _Bench(contestant, dataclasses.replace(scenario, seed=SEED), lengths[0][rows], lengths[1][rows])
    try:
        rho = largest_stable_rho(found, bench, MOST_RHO)
    except InputError:  # it grows at the least load that is tried
        return {"rho": None, "rate_per_s": None, "most_rho": MOST_RHO}
    return {"rho": rho, "rate_per_s": found.rate_at(rho), "most_rho": MOST_RHO}
