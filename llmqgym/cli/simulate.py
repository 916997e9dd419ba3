"""`llmqgym simulate`: replay a workload on a simulated server and report."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from llmqgym.run import RunResult
    from llmqgym.scenario import ScenarioConfig

Text = str | None
_OUT = "; '.gz' compresses it"


def simulate(
    scenario: Annotated[
        Text, typer.Option(help="A shipped scenario: see `llmqgym list scenarios`. Default: chat.")
    ] = None,
    config: Annotated[Text, typer.Option(help="A scenario in a TOML file of your own.")] = None,
    trace: Annotated[Text, typer.Option(help="Replay this trace, plain or .gz.")] = None,
    workload: Annotated[Text, typer.Option(help="Generate this traffic: see `llmqgym list workloads`.")] = None,
    profile: Annotated[Text, typer.Option(help="Hardware: NAME or NAME:k=v,..")] = None,
    policy: Annotated[Text, typer.Option(help="Scheduling policy: NAME or NAME:k=v,..")] = None,
    predictor: Annotated[
        Text, typer.Option(help="none, perfect or lognormal:sigma=1. Default: the trace's own.")
    ] = None,
    requests: Annotated[int | None, typer.Option(help="How many requests; of a trace the first so many.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests per second; rescales the time of a trace.")] = None,
    rho: Annotated[
        float | None, typer.Option(help="The rate as a share of what profile and server can bear: `llmqgym load`.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    server: Annotated[Text, typer.Option(help="Server settings: k=v,..")] = None,
    window: Annotated[Text, typer.Option(help="Of a trace: only arrivals in START:END seconds.")] = None,
    time_scale: Annotated[float | None, typer.Option(help="Of a trace: multiply its times.")] = None,
    thin: Annotated[float | None, typer.Option(help="Of a trace: keep this share of its requests.")] = None,
    json: Annotated[Text, typer.Option(help=f"Write the results as JSON, '-' for stdout only{_OUT}.")] = None,
    per_request: Annotated[Text, typer.Option(help=f"Write a CSV row for each request{_OUT}.")] = None,
    log: Annotated[Text, typer.Option(help=f"Write every decision as JSON lines{_OUT}.")] = None,
    step_by_step: Annotated[bool, typer.Option(help="Advance by single iterations: slower, same result.")] = False,
) -> None:
    """Replay a workload on a simulated server and print what it was like."""
    from llmqgym.files import check_outputs

    chosen = _base(scenario, config, trace)
    start_s, end_s = _window(window)
    chosen = _with_traffic(
        chosen, trace, workload, num_requests=requests, rate_per_s=rate, rho=rho, time_scale=time_scale,
        thin_share=thin, window_start_s=start_s, window_end_s=end_s,
    )  # fmt: skip
    chosen = _with_settings(chosen, server, profile=profile, policy=policy, predictor=predictor, seed=seed)
    check_outputs([json, per_request, log], [getattr(chosen.workload, "trace", None), config])
    result = _run(chosen, step_by_step=step_by_step, per_request=per_request, log=log is not None)
    _write(result, chosen, json=json, log=log)


def _base(scenario: str | None, config: str | None, trace: str | None) -> ScenarioConfig:
    from llmqgym.errors import InputError
    from llmqgym.scenario import DEFAULT_SCENARIO, ScenarioConfig, TraceTraffic, load_scenario, read_scenario

    if scenario is not None and config is not None:
        raise InputError(f"both --scenario {scenario} and --config {config}: give one of the two.")
    if config is not None:
        return read_scenario(config)
    if scenario is None and trace is not None:
        return ScenarioConfig(name="trace", workload=TraceTraffic(trace))
    return load_scenario(scenario or DEFAULT_SCENARIO)


def _with_traffic(
    chosen: ScenarioConfig, trace: str | None, workload: str | None, **settings: float | int | None
) -> ScenarioConfig:
    from llmqgym.scenario import with_traffic

    return with_traffic(chosen, trace, workload, **settings)


def _with_settings(chosen: ScenarioConfig, server: str | None, **settings: Any) -> ScenarioConfig:
    from llmqgym.scenario import with_settings
    from llmqgym.specs import parse_pairs

    return with_settings(chosen, parse_pairs(server or ""), **settings)


def _window(text: str | None) -> tuple[float | None, float | None]:
    """START:END in seconds; either may be left out."""
    from llmqgym.errors import InputError

    if text is None:
        return None, None
    start, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return float(start or 0), float(end) if end else None
    except ValueError:
        raise InputError(f"cannot read the window {text!r}: write START:END in seconds, e.g. 600:1200.") from None


def _run(chosen: ScenarioConfig, *, step_by_step: bool, per_request: str | None, log: bool) -> RunResult:
    """The run, which writes the per-request table on its way."""
    from baselines.registry import make_policy
    from llmqgym.cli.output import progress_bar, waiting_for_the_kernel
    from llmqgym.hardware import load_profile
    from llmqgym.metrics.per_request import per_request_table
    from llmqgym.run import simulate
    from llmqgym.simulator import load_kernel
    from llmqgym.traffic import build_workload

    policy, profile = make_policy(chosen.policy), load_profile(chosen.profile)
    workload = build_workload(chosen)
    with waiting_for_the_kernel():
        load_kernel()
    rows = nullcontext() if per_request is None else per_request_table(per_request)
    with rows as table, progress_bar(len(workload)) as on_progress:
        return simulate(
            workload,
            policy=policy,
            server=chosen.server,
            profile=profile,
            predictor=chosen.predictor,
            seed=chosen.seed,
            step_by_step=step_by_step,
            log=log,
            on_progress=on_progress,
            keep_departures=False,
            on_departures=None if table is None else table.add,
        )


def _write(result: RunResult, chosen: ScenarioConfig, *, json: str | None, log: str | None) -> None:
    """The other files, the JSON last: where it is, the others are whole. Then the tables, unless stdout is taken."""
    from llmqgym.cli.output import print_run, put_json
    from llmqgym.metrics.decision_log import write_log

    document = result.document()
    specs = {"scenario": chosen.name, "profile_spec": chosen.profile, "policy_spec": chosen.policy}
    document["config"] = {**specs, **document["config"]}
    if log is not None:
        write_log(log, result.log_lines())
    if json is not None:
        put_json(json, document)
    if json != "-":
        print_run(document)
