"""`llmqgym load`: the capacity of a server for a workload, what binds it, and whether a simulation agrees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmqgym.cli.chosen import choose, with_settings

if TYPE_CHECKING:
    from llmqgym.load import Capacity
    from llmqgym.load.check import Check
    from llmqgym.scenario import ScenarioConfig
    from llmqgym.traffic import Lengths

Text = str | None

_BINDING = {
    "tokens": "tokens: every pass has max_batched_tokens",
    "slots": "slots: max_running requests run",
    "kv": "kv: all blocks are held",
    "compute": "compute: more requests in a pass would slow the passes down by more",
}
#: Loads for which the fluid's state is shown.
_SHOWN = (0.5, 0.8)


def load(
    scenario: Annotated[
        Text, typer.Option(help="A shipped scenario: see `llmqgym list scenarios`. Default: chat.")
    ] = None,
    config: Annotated[Text, typer.Option(help="A scenario in a TOML file of your own.")] = None,
    trace: Annotated[Text, typer.Option(help="The lengths of this trace, plain or .gz.")] = None,
    workload: Annotated[Text, typer.Option(help="Those of this traffic: see `llmqgym list workloads`.")] = None,
    profile: Annotated[Text, typer.Option(help="Hardware: NAME or NAME:k=v,..")] = None,
    server: Annotated[Text, typer.Option(help="Server settings: k=v,..")] = None,
    check: Annotated[bool, typer.Option(help="Simulate at loads of 0.95 and 1.05: does the queue grow?")] = False,
    policy: Annotated[Text, typer.Option(help="For --check: NAME or NAME:k=v,.. Default: the scenario's.")] = None,
    predictor: Annotated[Text, typer.Option(help="For --check: see `llmqgym list predictors`.")] = None,
    requests: Annotated[int | None, typer.Option(help="For --check: requests a run. Default: 50,000 or more.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    json: Annotated[Text, typer.Option(help="Write the results as JSON, '-' for stdout only.")] = None,
) -> None:
    """Print the largest rate that a server can sustain for a workload, and which of its resources binds there."""
    from llmqgym.cli.output import console, put_json
    from llmqgym.files import check_outputs
    from llmqgym.traffic import capacity_of, lengths_of

    chosen = choose(scenario, config, trace, workload)
    chosen = with_settings(chosen, server, profile=profile, policy=policy, predictor=predictor, seed=seed)
    check_outputs([json], [getattr(chosen.workload, "trace", None), config])
    lengths = lengths_of(chosen)
    found = capacity_of(chosen, lengths)
    checked = _check(chosen, lengths, found, requests) if check else None
    document = _document(chosen, len(lengths[0]), found, checked)
    if json is not None:
        put_json(json, document)
    if json != "-":
        console().print(_figures(document))
        console().print(_states(document))


def _check(chosen: ScenarioConfig, lengths: Lengths, found: Capacity, num_requests: int | None) -> Check:
    from baselines.registry import make_policy
    from llmqgym.cli.output import waiting_for_the_kernel
    from llmqgym.hardware import load_profile
    from llmqgym.load.check import Bench, check, requests_wanted, shuffled_rows
    from llmqgym.simulator import load_kernel

    num = requests_wanted(found) if num_requests is None else num_requests
    rows = shuffled_rows(len(lengths[0]), num, chosen.seed)
    prompts, outputs = (tokens[rows] for tokens in lengths)
    policy, profile = make_policy(chosen.policy), load_profile(chosen.profile)
    with waiting_for_the_kernel():
        load_kernel()
    return check(found, Bench(prompts, outputs, profile, chosen.server, policy, chosen.seed, chosen.predictor))


def _document(chosen: ScenarioConfig, num_requests: int, found: Capacity, checked: Check | None) -> dict[str, Any]:
    from dataclasses import asdict

    from llmqgym import __version__
    from llmqgym.traffic import mean_rate_per_s

    rate_per_s = mean_rate_per_s(chosen, found)
    capacity = {name: value for name, value in vars(found).items() if name not in ("fluid", "use")}
    return {
        "scenario": chosen.name,
        "profile_spec": chosen.profile,
        "policy_spec": chosen.policy,
        "num_requests": num_requests,
        "capacity": {**capacity, "use": asdict(found.use)},
        "workload_rate_per_s": rate_per_s,
        "workload_rho": None if rate_per_s is None else found.rho_of(rate_per_s),
        "states": [{"rho": rho, **asdict(found.at(found.rate_at(rho)))} for rho in _SHOWN],
        "check": None if checked is None else asdict(checked),
        "version": __version__,
    }


def _figures(document: dict[str, Any]) -> Any:
    from llmqgym.cli.output import pairs

    capacity, checked = document["capacity"], document["check"]
    use = ", ".join(f"{name} {share:.1%}" for name, share in capacity["use"].items())
    rows = [
        ("workload", f"{document['scenario']}, {document['num_requests']:,} requests"),
        ("profile", document["profile_spec"]),
        ("capacity", f"{capacity['rate_per_s']:.4g} requests/s (load 1)"),
        ("binding", _BINDING[capacity["binding"]]),
        ("use at capacity", use),
        (
            "pass at capacity",
            f"{capacity['iteration_s'] * 1e3:.4g} ms, {capacity['arrivals_per_iteration']:.3g} requests enter",
        ),
    ]
    if capacity["saturated_rate_per_s"] < 0.999 * capacity["rate_per_s"]:
        rows.append(("full passes", f"{capacity['saturated_rate_per_s']:.4g} requests/s, which is less"))
    if document["workload_rho"] is not None:
        rows.append(
            ("this workload", f"{document['workload_rate_per_s']:.4g} requests/s: load {document['workload_rho']:.3f}")
        )
    if capacity["num_never_fit"]:
        rows.append(("left out", f"{capacity['num_never_fit']:,} requests that can never fit the KV cache"))
    if checked is not None:
        rows.append(
            (
                f"under {document['policy_spec']}",
                f"load 0.95: {checked['below']}, load 1.05: {checked['above']} (Poisson arrivals)",
            )
        )
        if checked["largest_stable_rho"] is not None:
            rho = checked["largest_stable_rho"]
            rows.append(("largest stable load", f"{rho:.2f}: {rho * capacity['rate_per_s']:.4g} requests/s"))
    return pairs(rows)


def _states(document: dict[str, Any]) -> Any:
    from rich import box
    from rich.table import Table

    from llmqgym.cli.output import duration

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("load", "requests/s", "pass", "running", "KV cache"):
        table.add_column(name, justify="right")
    for state in document["states"]:
        numbers = [f"{state['rho']:g}", f"{state['rate_per_s']:.4g}", duration(state["iteration_s"])]
        running, kv_cache = state["mean_num_requests_running"], state["kv_cache_usage_perc"]
        table.add_row(*numbers, f"{running:.3g}", f"{kv_cache:.1%}")
    return table
