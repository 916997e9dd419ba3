"""`llmqgym explain`: what an agent has learnt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmqgym.cli.agent import FILE

if TYPE_CHECKING:
    from llmqgym.scenario import ScenarioConfig

#: Whose order the agent's is compared with, and by which name.
_INDICES = {
    "shortest remaining first": "sprpt", "volume first": "volume-sf", "Gittins": "gittins", "oldest first": "vllm",
}  # fmt: skip


def explain(
    file: Annotated[str, FILE],
    scenario: Annotated[
        str | None, typer.Option(help="Where it is watched. Default: where it was trained, the first of several.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the requests that it meets, and of the states looked into.")] = 0,
    svg: Annotated[str | None, typer.Option(help="Draw its scores into this file.")] = None,
    json: Annotated[str | None, typer.Option(help="Write the numbers as JSON, '-' for stdout only.")] = None,
) -> None:
    """Say what an agent's scores depend on, beside the indices of shortest remaining, volume and Gittins."""
    from agents.contestant import load_agent
    from agents.explain import explain
    from agents.explain_picture import picture_of
    from agents.explain_text import sentences_of
    from agents.watching import watch
    from baselines.registry import make_policy
    from llmqgym.cli.output import put_json
    from llmqgym.files import atomic_text, check_outputs

    check_outputs([svg, json])
    agent = load_agent(file)
    chosen = _scenario(scenario or agent.training.scenario.partition(",")[0])
    watched = watch(agent, chosen, seed)
    found = explain(agent, watched, {name: make_policy(spec) for name, spec in _INDICES.items()}, seed)
    document: dict[str, Any] = {**found, "scenario": chosen.name, "seed": seed, "sentences": sentences_of(found)}
    if svg is not None:
        with atomic_text(svg) as out:
            out.write(picture_of(document))
    if json is not None:
        put_json(json, document)
    if json != "-":
        typer.echo(f"{agent.name} on {chosen.name}:")
        for sentence in document["sentences"]:
            typer.echo(f"  {sentence}")


def _scenario(name: str) -> ScenarioConfig:
    from llmqgym.errors import InputError
    from llmqgym.scenario import load_scenario

    try:
        return load_scenario(name)
    except InputError as error:
        raise InputError(f"where the agent is to be watched: {error} Give --scenario.") from error
