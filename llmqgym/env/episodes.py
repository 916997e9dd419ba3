"""Episodes: the requests, the predictions and the hardware that one reset draws from the environment's generator."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmqgym.env.config import DEFAULT_PREDICTOR, EnvConfig
from llmqgym.errors import InputError
from llmqgym.hardware import load_profile
from llmqgym.hardware.integers import IntegerProfile
from llmqgym.load import Capacity
from llmqgym.scenario import GeneratedTraffic, ScenarioConfig
from llmqgym.traffic import build_workload, capacity_of, lengths_of, mean_rate_per_s
from llmqgym.workload.generate import GeneratedWorkload
from llmqgym.workload.predictors import make_predictor
from llmqgym.workload.predictors.apply import predicted_table
from llmqgym.workload.predictors.noise import Lognormal
from llmqgym.workload.predictors.predictor import Looks
from llmqgym.workload.source import PromptHashes
from llmqgym.workload.workload import Workload, as_table

_SEEDS = 2**62


@dataclass(frozen=True, eq=False)
class Episode:
    """What an episode is made of."""

    requests: NDArray[Any]  # ARRIVAL[num_requests]
    profile: IntegerProfile
    looks_seed: int | None  # of refreshed predictions
    drawn: dict[str, Any]  # what `randomise` has drawn, for info


class Episodes:
    """Draws episodes of an environment's settings, one after the other.

    Generated traffic is drawn anew from its model; a trace gives `num_requests` requests in a row, from a random one
    on. The same generator state gives the same episode. Raises InputError for traffic that cannot be had.
    """

    def __init__(self, config: EnvConfig) -> None:
        self._config = config
        self._scenario = config.scenario
        self._table: Workload | None = None
        self._capacities: dict[tuple[str, int | None], Capacity] = {}
        self._profiles: dict[tuple[str, int | None], IntegerProfile] = {}
        if not isinstance(config.scenario.workload, GeneratedTraffic):
            self._table = as_table(build_workload(config.scenario))
            if len(self._table) < config.num_requests:
                raise InputError(
                    f"num_requests is {config.num_requests}, and the trace has {len(self._table)}: give that or less."
                )
        self._scenarios: dict[tuple[str, int | None], ScenarioConfig] = {}
        spec = self._predictor_spec()
        self._predictor = None if spec is None else make_predictor(spec)
        #: How predictions are refreshed, if they are.
        self.looks = self._find_looks()

    def _predictor_spec(self) -> str | None:
        """None: the predictions that the trace brings."""
        if self._scenario.predictor is not None:
            return self._scenario.predictor
        if self._table is not None and not np.isnan(self._table.requests["predicted_output_tokens"]).all():
            return None
        return DEFAULT_PREDICTOR

    def _find_looks(self) -> Looks | None:
        if self._predictor is None or self._config.randomise.sigma is not None:
            return None
        return self._predictor.looks(0)

    @property
    def hashes(self) -> PromptHashes | None:
        """What is in the prompts of a trace."""
        return None if self._table is None else self._table.hashes

    @property
    def first_profile(self) -> IntegerProfile:
        """That of the scenario, from which the tables of a server are made."""
        return self._profile(self._scenario.profile, self._scenario.server.num_kv_blocks)

    def draw(self, rng: np.random.Generator) -> Episode:
        """The next episode."""
        spec, blocks, drawn = self._draw_hardware(rng)
        rho = self._draw_between(rng, "rho", drawn)
        sigma = self._draw_between(rng, "sigma", drawn)
        seed = int(rng.integers(_SEEDS))
        scenario = self._scenario_on(spec, blocks)
        requests = self._generated(scenario, rho, seed) if self._table is None else self._cut(scenario, rho, seed)
        predictor = self._predictor if sigma is None else Lognormal(sigma=sigma)
        if predictor is not None:
            requests = predicted_table(requests, predictor, seed)
        looks_seed = None if self.looks is None else seed
        return Episode(requests, self._profile(spec, blocks), looks_seed, drawn)

    def _draw_hardware(self, rng: np.random.Generator) -> tuple[str, int | None, dict[str, Any]]:
        drawn: dict[str, Any] = {}
        spec, blocks = self._scenario.profile, self._scenario.server.num_kv_blocks
        if self._config.randomise.profile:
            spec = self._config.randomise.profile[int(rng.integers(len(self._config.randomise.profile)))]
            drawn["profile"] = spec
        if self._config.randomise.num_kv_blocks:
            blocks = self._config.randomise.num_kv_blocks[int(rng.integers(len(self._config.randomise.num_kv_blocks)))]
            drawn["num_kv_blocks"] = blocks
        return spec, blocks, drawn

    def _draw_between(self, rng: np.random.Generator, name: str, drawn: dict[str, Any]) -> float | None:
        bounds = getattr(self._config.randomise, name)
        if bounds is None:
            return None
        drawn[name] = float(rng.uniform(*bounds))
        return float(drawn[name])

    def _scenario_on(self, spec: str, blocks: int | None) -> ScenarioConfig:
        key = (spec, blocks)
        if key not in self._scenarios:
            server = dataclasses.replace(self._scenario.server, num_kv_blocks=blocks)
            self._scenarios[key] = dataclasses.replace(self._scenario, profile=spec, server=server)
        return self._scenarios[key]

    def _profile(self, spec: str, blocks: int | None) -> IntegerProfile:
        """The hardware, its number of KV blocks replaced by that of the server where there is one."""
        key = (spec, blocks)
        if key not in self._profiles:
            profile = load_profile(spec).to_integers(self._scenario.server.block_size)
            self._profiles[key] = profile if blocks is None else dataclasses.replace(profile, num_kv_blocks=blocks)
        return self._profiles[key]

    def _capacity(self, scenario: ScenarioConfig) -> Capacity:
        key = (scenario.profile, scenario.server.num_kv_blocks)
        if key not in self._capacities:
            self._capacities[key] = capacity_of(scenario, lengths_of(scenario))
        return self._capacities[key]

    def _generated(self, scenario: ScenarioConfig, rho: float | None, seed: int) -> NDArray[Any]:
        traffic = scenario.workload
        assert isinstance(traffic, GeneratedTraffic)
        rho = traffic.rho if rho is None else rho
        rate_per_s = traffic.rate_per_s if rho is None else self._capacity(scenario).rate_at(rho)
        assert rate_per_s is not None
        workload = GeneratedWorkload(traffic.name, traffic.model, self._config.num_requests, rate_per_s, seed)
        return next(workload.chunks(self._config.num_requests))

    def _cut(self, scenario: ScenarioConfig, rho: float | None, seed: int) -> NDArray[Any]:
        """Requests in a row of the trace, from a random one on; the first arrives at time 0."""
        assert self._table is not None
        num = self._config.num_requests
        first = seed % (len(self._table) - num + 1)
        requests: NDArray[Any] = self._table.requests[first : first + num].copy()
        requests["arrival_ps"] -= requests["arrival_ps"][0]
        if rho is not None:
            found = self._capacity(scenario)
            rate_per_s = mean_rate_per_s(self._scenario, found)
            if rate_per_s is None:
                raise InputError("randomise rho needs a trace with arrivals, and this one has lengths only.")
            factor = rate_per_s / found.rate_at(rho)
            requests["arrival_ps"] = np.rint(requests["arrival_ps"] * factor).astype(np.int64)
        return requests
