"""Which scenario a command is about: a shipped one, a file, a trace or a workload, with other settings on top."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmqgym.scenario import ScenarioConfig


def choose(scenario: str | None, config: str | None, trace: str | None, workload: str | None) -> ScenarioConfig:
    """The scenario that the options name. Raises InputError."""
    from llmqgym.errors import InputError
    from llmqgym.scenario import DEFAULT_SCENARIO, ScenarioConfig, load_scenario, read_scenario, with_traffic

    if scenario is not None and config is not None:
        raise InputError(f"both --scenario {scenario} and --config {config}: give one of the two.")
    if config is not None:
        return with_traffic(read_scenario(config), trace, workload)
    chosen = load_scenario(scenario or DEFAULT_SCENARIO)
    if scenario is None and (trace is not None or workload is not None):
        chosen = ScenarioConfig(name=workload or "trace", workload=chosen.workload)
    return with_traffic(chosen, trace, workload)


def with_settings(chosen: ScenarioConfig, server: str | None, **settings: Any) -> ScenarioConfig:
    """The scenario with other settings, those of the server as k=v,.. Raises InputError."""
    from llmqgym.scenario import with_settings
    from llmqgym.specs import parse_pairs

    return with_settings(chosen, parse_pairs(server or ""), **settings)
