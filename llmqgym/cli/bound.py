"""`llmqgym bound`: how low the mean latencies of a workload could be on a server, whatever the schedule."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmqgym.cli.chosen import choose, with_settings

if TYPE_CHECKING:
    from llmqgym.bounds import LatencyBounds
    from llmqgym.scenario import ScenarioConfig
    from llmqgym.workload.workload import Workload

Text = str | None

_MEANING = {
    "alone": "nobody waits for anybody",
    "shortest_first": "shortest remaining first on the server as one fast machine",
    "mean_busy": "mean busy times on that machine, and the decodes that must follow",
    "prefill_first": "shortest prompt first on that machine, then decodes with no waiting",
    "crowding": "as many in the system as passes must share to keep up",
}


def bound(
    scenario: Annotated[
        Text, typer.Option(help="A shipped scenario: see `llmqgym list scenarios`. Default: chat.")
    ] = None,
    config: Annotated[Text, typer.Option(help="A scenario in a TOML file of your own.")] = None,
    trace: Annotated[Text, typer.Option(help="The requests of this trace, plain or .gz.")] = None,
    workload: Annotated[Text, typer.Option(help="Those of this traffic: see `llmqgym list workloads`.")] = None,
    profile: Annotated[Text, typer.Option(help="Hardware: NAME or NAME:k=v,..")] = None,
    server: Annotated[Text, typer.Option(help="Server settings: k=v,..")] = None,
    requests: Annotated[int | None, typer.Option(help="How many requests; of a trace the first so many.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests per second; rescales the time of a trace.")] = None,
    rho: Annotated[
        float | None, typer.Option(help="The rate as a share of what profile and server can bear: `llmqgym load`.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    policy: Annotated[
        Text, typer.Option(help="Simulate this policy beside it: NAME or NAME:k=v,..; 'scenario': the scenario's.")
    ] = None,
    predictor: Annotated[Text, typer.Option(help="For --policy: see `llmqgym list predictors`.")] = None,
    json: Annotated[Text, typer.Option(help="Write the results as JSON, '-' for stdout only.")] = None,
) -> None:
    """Print certified lower bounds on the mean latencies of a workload: no schedule of the server is below them."""
    from llmqgym.cli.output import put_json
    from llmqgym.files import check_outputs
    from llmqgym.scenario import with_traffic
    from llmqgym.traffic import at_load, build_workload
    from llmqgym.workload.workload import as_table

    chosen = choose(scenario, config, trace, workload)
    chosen = with_traffic(chosen, None, None, num_requests=requests, rate_per_s=rate, rho=rho)
    of_policy = None if policy == "scenario" else policy
    chosen = with_settings(chosen, server, profile=profile, policy=of_policy, predictor=predictor, seed=seed)
    check_outputs([json], [getattr(chosen.workload, "trace", None), config])
    chosen, _ = at_load(chosen)
    table = as_table(build_workload(chosen))
    document = _document(chosen, _bounds(chosen, table), None if policy is None else _policy(chosen, table))
    if json is not None:
        put_json(json, document)
    if json != "-":
        _print(document)


def _bounds(chosen: ScenarioConfig, table: Workload) -> LatencyBounds:
    from llmqgym.bounds import ideal_hits, latency_bounds
    from llmqgym.hardware import load_profile

    integers = load_profile(chosen.profile).to_integers(chosen.server.block_size)
    server = chosen.server
    hits = ideal_hits(table.requests, table.hashes, server.block_size) if server.prefix_caching else None
    return latency_bounds(table.requests, integers, server, hits)


def _policy(chosen: ScenarioConfig, table: Workload) -> dict[str, Any]:
    """What the policy comes to."""
    from baselines.registry import make_policy
    from llmqgym.cli.output import progress_bar, waiting_for_the_kernel
    from llmqgym.run import simulate
    from llmqgym.simulator import load_kernel

    made = make_policy(chosen.policy)
    with waiting_for_the_kernel():
        load_kernel()
    with progress_bar(len(table)) as on_progress:
        summary = simulate(
            table,
            policy=made,
            server=chosen.server,
            profile=chosen.profile,
            predictor=chosen.predictor,
            seed=chosen.seed,
            on_progress=on_progress,
            keep_departures=False,
        ).summary
    means = {name: summary[name]["mean"] for name in ("e2e_s", "ttft_s")}
    return {"spec": chosen.policy, "outcome": summary["outcome"], "num_unfinished": summary["num_unfinished"], **means}


def _document(chosen: ScenarioConfig, found: LatencyBounds, policy: dict[str, Any] | None) -> dict[str, Any]:
    from llmqgym import __version__

    best = {"e2e_s": found.best_e2e_s, "ttft_s": found.best_ttft_s}
    complete = policy is not None and not policy["num_unfinished"] and policy["outcome"] == "finished"
    shares = {name: bound / policy[name] for name, bound in best.items()} if policy is not None and complete else None
    return {
        "scenario": chosen.name,
        "profile_spec": chosen.profile,
        "seed": chosen.seed,
        "num_requests": found.num_requests,
        "num_never_fit": found.num_never_fit,
        "prefix_caching": chosen.server.prefix_caching,
        "bounds": {"e2e_s": found.e2e_s, "ttft_s": found.ttft_s},
        "best": best,
        "policy": policy,
        "share_of_policy": shares,
        "version": __version__,
    }


def _print(document: dict[str, Any]) -> None:
    from llmqgym.cli.output import console, pairs

    rows = [
        ("workload", f"{document['scenario']}, {document['num_requests']:,} requests, seed {document['seed']}"),
        ("profile", document["profile_spec"]),
    ]
    if document["num_never_fit"]:
        rows.append(("left out", f"{document['num_never_fit']:,} requests that can never fit the KV cache"))
    if document["prefix_caching"]:
        rows.append(("prefix caching", "ideal hits subtracted; unless chunks are taken back: docs/bounds.md"))
    out = console()
    out.print(pairs(rows))
    out.print(_table(document))
    policy = document["policy"]
    if policy is not None and document["share_of_policy"] is None:
        ended = f"{policy['outcome']}, {policy['num_unfinished']:,} requests unfinished"
        remark = f"{policy['spec']}: {ended}: its means are not of all requests, and no gap is shown."
        out.print(remark, markup=False, highlight=False)


def _table(document: dict[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    from llmqgym.cli.output import duration

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("lower bound")
    for name in ("mean e2e", "mean ttft"):
        table.add_column(name, justify="right")
    table.add_column("why")
    bounds, best = document["bounds"], document["best"]
    for name, meaning in _MEANING.items():
        table.add_row(name.replace("_", " "), *(duration(bounds[of].get(name)) for of in ("e2e_s", "ttft_s")), meaning)
    table.add_section()
    table.add_row("best", *(duration(best[of]) for of in ("e2e_s", "ttft_s")), "no schedule is below")
    if document["policy"] is not None:
        policy, shares = document["policy"], document["share_of_policy"]
        table.add_row(policy["spec"], *(duration(policy[of]) for of in ("e2e_s", "ttft_s")), "simulated")
        if shares is not None:
            table.add_row("best / policy", *(f"{shares[of]:.1%}" for of in ("e2e_s", "ttft_s")), "1 would be optimal")
    return table
