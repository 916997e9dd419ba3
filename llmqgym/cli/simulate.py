"""`llmqgym simulate`: replay a workload on a simulated server and report."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llmqgym.cli.chosen import choose, with_settings

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
    policy: Annotated[
        Text, typer.Option(help="Scheduling policy: NAME or NAME:k=v,.. or an agent: ppo:NAME, ppo:FILE.")
    ] = None,
    predictor: Annotated[
        Text, typer.Option(help="See `llmqgym list predictors`; 'trace': the trace's own, as by default.")
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
    runs: Annotated[int, typer.Option(help="So many runs, with seeds SEED, SEED+1, ..: means over them.")] = 1,
    processes: Annotated[
        int | None, typer.Option(help="Of the runs so many at a time. Default: one for each CPU.")
    ] = None,
) -> None:
    """Replay a workload on a simulated server and print what it was like."""
    from llmqgym.files import check_outputs
    from llmqgym.scenario import with_traffic
    from llmqgym.traffic import at_load

    chosen = choose(scenario, config, trace, workload)
    start_s, end_s = _window(window)
    chosen = with_traffic(
        chosen, None, None, num_requests=requests, rate_per_s=rate, rho=rho, time_scale=time_scale,
        thin_share=thin, window_start_s=start_s, window_end_s=end_s,
    )  # fmt: skip
    chosen = with_settings(chosen, server, profile=profile, policy=policy, predictor=predictor, seed=seed)
    check_outputs([json, per_request, log], [getattr(chosen.workload, "trace", None), config])
    _check_runs(runs, processes, per_request=per_request, log=log)
    if runs > 1:
        _write_runs(_run_all(chosen, runs, processes, step_by_step=step_by_step), json)
        return
    chosen, load = at_load(chosen)
    result = _run(chosen, step_by_step=step_by_step, per_request=per_request, log=log is not None)
    _write(result, chosen, load, json=json, log=log)


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


def _check_runs(runs: int, processes: int | None, **of_one_run: str | None) -> None:
    """Raises InputError for options that contradict the number of runs."""
    from llmqgym.errors import InputError

    if runs < 1:
        raise InputError(f"runs is {runs}: give 1 or more.")
    if runs == 1 and processes is not None:
        raise InputError(f"processes is {processes} for one run, which has a single one: give --runs too.")
    for name, path in of_one_run.items():
        if runs > 1 and path is not None:
            option = f"--{name.replace('_', '-')}"
            raise InputError(
                f"{option} is of a single run, and runs is {runs}: leave it out, or run each --seed alone."
            )


def _run_all(chosen: ScenarioConfig, runs: int, processes: int | None, *, step_by_step: bool) -> list[dict[str, Any]]:
    from dataclasses import replace

    from llmqgym.cli.contestants import make_decider, make_policy
    from llmqgym.cli.output import progress_bar, waiting_for_the_kernel
    from llmqgym.parallel import run_all
    from llmqgym.simulator import load_kernel

    scenarios = [replace(chosen, seed=chosen.seed + place) for place in range(runs)]
    with waiting_for_the_kernel():
        load_kernel()
    with progress_bar(runs) as on_progress:
        return run_all(
            scenarios,
            make_policy=make_policy,
            make_decider=make_decider,
            processes=processes,
            step_by_step=step_by_step,
            on_progress=on_progress,
        )


def _run(chosen: ScenarioConfig, *, step_by_step: bool, per_request: str | None, log: bool) -> RunResult:
    """The run, which writes the per-request table on its way."""
    from llmqgym.cli.contestants import make_decider, make_policy
    from llmqgym.cli.output import progress_bar, waiting_for_the_kernel
    from llmqgym.hardware import load_profile
    from llmqgym.metrics.per_request import per_request_table
    from llmqgym.run import simulate
    from llmqgym.simulator import load_kernel
    from llmqgym.traffic import build_workload

    policy, profile = make_policy(chosen.policy), load_profile(chosen.profile)
    decider = make_decider(chosen)
    workload = build_workload(chosen)
    with waiting_for_the_kernel():
        load_kernel()
    rows = nullcontext() if per_request is None else per_request_table(per_request)
    with rows as table, progress_bar(len(workload)) as on_progress:
        return simulate(
            workload,
            policy=policy,
            decider=decider,
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


def _write(
    result: RunResult, chosen: ScenarioConfig, load: dict[str, Any] | None, *, json: str | None, log: str | None
) -> None:
    """The other files, the JSON last: where it is, the others are whole. Then the tables, unless stdout is taken."""
    from llmqgym.cli.output import print_run, put_json
    from llmqgym.metrics.decision_log import write_log
    from llmqgym.parallel import describe

    document = describe(result, chosen, load)
    if log is not None:
        write_log(log, result.log_lines())
    if json is not None:
        put_json(json, document)
    if json != "-":
        print_run(document)


def _write_runs(documents: list[dict[str, Any]], json: str | None) -> None:
    from llmqgym.cli.output import print_runs, put_json
    from llmqgym.metrics.across_runs import across_runs

    across = across_runs(documents)
    if json is not None:
        put_json(json, {"runs": documents, "mean": across})
    if json != "-":
        print_runs(documents, across)
