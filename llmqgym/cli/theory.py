"""`llmqgym theory`: the closed form of a policy's mean response, and the simulated textbook queue beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from llmqgym.textbook import Asked, Comparison, Queue

Text = str | None

#: Short names of the theory's laws and predictions.
_LAWS = {"exp": "exponential", "weib": "weibull", "logn": "lognormal"}
_PREDICTORS = {"expo": "exponential", "exact": "perfect", "logn": "lognormal", "unif": "uniform"}
_COLORS = {"agree": "green", "differ": "red", "too few jobs": "yellow", "nothing to compare": "dim"}


def theory(
    law: Annotated[str, typer.Option(help="Of sizes: exp, weibull[:shape=S] or lognormal:sigma=S, of mean 1.")] = "exp",
    predictor: Annotated[
        str, typer.Option(help="perfect, exponential, lognormal:sigma=S, uniform:a=A or bias:k=K.")
    ] = "perfect",
    load: Annotated[float, typer.Option(help="Between 0 and 1.")] = 0.8,
    policy: Annotated[
        list[str] | None, typer.Option(help="NAME or NAME:k=v,..; several times, or a list of names. Default: all.")
    ] = None,
    simulate: Annotated[int, typer.Option(help="Jobs to simulate, 0: the formula only.")] = 200_000,
    seed: Annotated[int, typer.Option(help="Of the jobs, which are the same for every policy.")] = 0,
    within: Annotated[float, typer.Option(help="Half-width asked of the 95 % interval, as a share.")] = 0.02,
    json: Annotated[Text, typer.Option(help="Write the results as JSON, '-' for stdout only.")] = None,
) -> None:
    """Print a policy's mean response by formula and by simulation of the textbook queue, and whether they agree.

    Times are in mean jobs, thresholds too. Policies: fcfs, las, sjf, psjf, srpt, spjf, pspjf, sprpt, sprpt-bounce,
    spt, trail:cutoff=C, one-bit and one-bit-true (threshold=T, default the best; variant=front, in-order or
    no-preemption), skip-predict:threshold=T.
    """
    from llmqgym.checks import check_count, check_real
    from llmqgym.cli.output import put_json
    from llmqgym.files import check_outputs
    from llmqgym.textbook import TWINS, Queue, ask
    from llmqgym.theory import make_law, make_prediction
    from llmqgym.theory.load import check_load

    check_outputs([json])
    if simulate:
        check_count("simulate", simulate, 10**9, 1000)
    check_count("seed", seed, 2**63 - 1, 0)
    check_real("within", within, 1e-6, 1)
    made = Queue(make_law(_long(law, _LAWS)), check_load(load), make_prediction(_long(predictor, _PREDICTORS)))
    asked = [ask(spec, made) for spec in (_specs(policy) if policy else TWINS)]
    found = _compare(asked, simulate, seed, within)
    document = _document(made, law, predictor, simulate, seed, within, found)
    if json is not None:
        put_json(json, document)
    if json != "-":
        _print(document)


def _long(spec: str, names: dict[str, str]) -> str:
    """A spec with its short name written out."""
    name, colon, settings = spec.partition(":")
    return names.get(name.strip().lower(), name.strip().lower()) + colon + settings


def _specs(given: list[str]) -> list[str]:
    """Single specs: a comma begins another one unless k=v follows, which goes on with the last."""
    specs: list[str] = []
    for text in given:
        for number, part in enumerate(text.split(",")):
            goes_on = number > 0 and "=" in part and ":" not in part and ":" in specs[-1]
            if goes_on:
                specs[-1] += f",{part}"
            else:
                specs.append(part)
    return specs


def _compare(asked: list[Asked], num_jobs: int, seed: int, within: float) -> list[Comparison]:
    from baselines.registry import make_policy
    from llmqgym.cli.output import progress_bar, waiting_for_the_kernel
    from llmqgym.simulator import load_kernel
    from llmqgym.textbook import compare

    if num_jobs:
        with waiting_for_the_kernel():
            load_kernel()
    found: list[Comparison] = []
    with progress_bar(max(num_jobs, 1) * len(asked)) as tell:
        for each in asked:
            done = num_jobs * len(found)
            on_progress = None if tell is None else lambda num, done=done: tell(done + num)
            found.append(compare(each, make_policy, num_jobs, seed, within=within, on_progress=on_progress))
    return found


def _document(
    queue: Queue, law: str, predictor: str, num_jobs: int, seed: int, within: float, found: list[Comparison]
) -> dict[str, Any]:
    from llmqgym import __version__

    return {
        "law": law,
        "second_moment": queue.law.second_moment,
        "predictor": predictor,
        "load": queue.load,
        "num_jobs": num_jobs,
        "seed": seed,
        "within": within,
        "policies": [_row(each) for each in found],
        "version": __version__,
    }


def _row(found: Comparison) -> dict[str, Any]:
    simulated = found.simulated
    row: dict[str, Any] = {
        "policy": found.asked.label,
        "settings": dict(found.asked.settings),
        "formula": found.formula,
        "simulated": None,
        "half_width_95": None,
        "inside_95": None,
        "preemptions_per_job": None,
        "verdict": found.agreement.value,
        "remark": found.remark,
    }
    if simulated is not None:
        row |= {
            "simulated": simulated.mean,
            "half_width_95": simulated.half_width_95,
            "preemptions_per_job": simulated.preemptions_per_job,
            "policy_spec": found.policy_spec,
        }
        if found.formula is not None:
            row["inside_95"] = bool(abs(simulated.mean - found.formula) <= simulated.half_width_95)
    return row


def _print(document: dict[str, Any]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    from llmqgym.cli.output import console, pairs

    jobs = f"{document['num_jobs']:,} jobs, seed {document['seed']}" if document["num_jobs"] else "none"
    about = [
        ("sizes", f"{document['law']}, mean 1, E[X^2] {document['second_moment']:.4g}"),
        ("predictions", document["predictor"]),
        ("load", f"{document['load']:g}"),
        ("simulated", jobs),
    ]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("mean response, in mean jobs")
    for name in ("formula", "simulated", "± 95 %", "difference", "preemptions"):
        table.add_column(name, justify="right")
    table.add_column("")
    for row in document["policies"]:
        color = _COLORS[row["verdict"]]
        table.add_row(escape(row["policy"]), *_numbers(row), f"[{color}]{row['verdict']}[/{color}]")
    out = console()
    out.print(pairs(about))
    out.print(table)
    remarks: dict[str, list[str]] = {}
    for row in document["policies"]:
        remarks.setdefault(row["remark"], []).append(row["policy"].partition(":")[0])
    for remark, policies in remarks.items():
        if remark:
            out.print(f"{', '.join(policies)}: {remark}.", markup=False, highlight=False)


def _numbers(row: dict[str, Any]) -> list[str]:
    formula, simulated = row["formula"], row["simulated"]
    difference = "-" if formula is None or simulated is None else f"{simulated / formula - 1:+.2%}"
    shown = ["-" if value is None else f"{value:.4f}" for value in (formula, simulated, row["half_width_95"])]
    preemptions = row["preemptions_per_job"]
    return [*shown, difference, "-" if preemptions is None else f"{preemptions:.3f}"]
