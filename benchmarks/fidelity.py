"""Generated workloads against traces, predictors against real ones, loads against simulations, profiles against
measurements.

    python benchmarks/fidelity.py [--traces FOLDER] [--profiles FOLDER] [--markdown docs/results.md]

Traces and measurements are not part of the project; without them there is nothing to compare with.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from results_page import put_section, table
from scipy.stats import kendalltau

from baselines.registry import make_policy
from llmqgym.hardware import load_profile
from llmqgym.hardware.check import check_report
from llmqgym.hardware.endtoend import is_shown
from llmqgym.load.check import Bench, check, requests_wanted, shuffled_rows
from llmqgym.scenario import load_scenario
from llmqgym.shipped import shipped_names
from llmqgym.traffic import capacity_of, lengths_of
from llmqgym.workload.compare import compare
from llmqgym.workload.lengths import draw_outputs
from llmqgym.workload.named import NAMED
from llmqgym.workload.predictors import Draws, make_predictor
from llmqgym.workload.predictors.follow import follow_requests
from llmqgym.workload.predictors.report import report
from llmqgym.workload.traces.predictions import read_predictions

#: Kinds of iterations.
KINDS = ("decode", "prefill", "mixed")
#: Of the datasets of the published table of Kendall's tau by sigma, the file.
TAU_FILES = {
    "azure23_conv": "dev/azure23_conv",
    "sharegpt_v3": "dev/sharegpt_v3_lengths",
    "mooncake_conversation": "dev/mooncake_conversation",
    "deepseek_r1_morning": "dev/servegen_deepseek_r1_morning_1h",
    "ssjf_vicuna": "predictors/ssjf_bert_pred",
}


def workloads(traces: Path) -> str:
    """Named workloads against their traces."""
    lengths, arrivals = [], []
    for name, named in NAMED.items():
        if not named.trace:
            continue
        found = compare(named, traces / "dev" / f"{named.trace}.csv.gz", dequantised=name == "long_context_kimi")
        for what in ("prompt_tokens", "output_tokens"):
            figures = found[what]["figures"]
            differences = (f"{figures[figure]['difference']:+.1%}" for figure in ("mean", "p50", "p90", "p99"))
            lengths.append((name, what.removesuffix("_tokens"), *differences, f"{found[what]['ks']:.3f}"))
        if found["arrivals"] is not None:
            cells = (
                f"{row['trace']:.3g} / {row['generated']:.3g} ± {row['spread']:.2g}"
                for figure, row in found["arrivals"].items()
                if figure != "rate_per_s"
            )
            arrivals.append((name, *cells))
    head = ("workload", "length", "mean", "p50", "p90", "p99", "KS")
    second = ("workload", "CV of the gaps", "dispersion, 1 s", "10 s", "60 s")
    return "\n".join(
        [
            "Generated less real, relative (131,072 generated requests).",
            "",
            *table(head, lengths),
            "",
            "Arrivals: trace / generated ± standard deviation from run to run (16 runs of the trace's length).",
            "",
            *table(second, arrivals),
        ]
    )


def predictors(traces: Path) -> str:
    """Kendall's tau by sigma, the SSJF channel, and TRAIL's errors."""
    facts = json.loads((traces / "generator_params.json").read_text())["predictor_facts"]["sigma_to_kendall_tau"]
    rows = []
    for dataset, file in TAU_FILES.items():
        truth = read_predictions(traces / f"{file}.csv.gz").output_tokens
        worst = 0.0
        for sigma, tau in facts[dataset]["tau_by_sigma"].items():
            said = make_predictor(f"lognormal:sigma={sigma}").predict(truth, Draws(0)).point
            worst = max(worst, abs(float(kendalltau(truth, said).statistic) - tau))
        rows.append((dataset, str(len(facts[dataset]["tau_by_sigma"])), f"{worst:.4f}"))
    real = report("bins", read_predictions(traces / "predictors" / "ssjf_bert_pred.csv.gz"), 0)
    figures = ("kendall_tau_b", "mae_tokens", "class_accuracy", "class_within_one")
    ssjf = [
        (name, *(f"{real[name][figure]:.4g}" for figure in figures if figure in real[name]))
        for name in ("predicted", "real")
    ]
    trail = []
    for spec in ("refreshing", "refreshing:persistence=0"):
        predictor = make_predictor(spec)
        truth = draw_outputs(predictor.usual_lengths, 100_000, 0)
        looks = predictor.looks(0)
        assert looks is not None
        found = follow_requests(truth, predictor.predict(truth, Draws(0)).point, looks)
        keys = ("first_mae", "mae", "classifier_mae", "bin_accuracy", "worst_sum")
        trail.append((f"`{spec}`", *(f"{found[key]:.3g}" for key in keys)))
    return "\n".join(
        [
            "`lognormal(sigma)` against the published table of Kendall's tau: largest difference over the sigmas.",
            "",
            *table(("lengths of", "sigmas", "largest difference"), rows),
            "",
            "The SSJF channel (`bins`) on the lengths of the real predictor's file, beside that predictor.",
            "",
            *table(("", *(figure for figure in figures if figure in real["real"])), ssjf),
            "",
            "TRAIL's refreshed predictions on its lengths; reported: 46.1 first, 33.9 the classifier.",
            "",
            *table(("", "first MAE", "refreshed MAE", "classifier", "bin accuracy", "posterior off 1"), trail),
        ]
    )


def loads() -> str:
    """The fluid's capacity of each shipped scenario, and what a simulation at 0.95 and 1.05 of it says."""
    rows = []
    for name in shipped_names():
        scenario = load_scenario(name)
        lengths = lengths_of(scenario)
        found = capacity_of(scenario, lengths)
        chosen = shuffled_rows(len(lengths[0]), requests_wanted(found), 0)
        prompts, outputs = (tokens[chosen] for tokens in lengths)
        bench = Bench(prompts, outputs, load_profile(scenario.profile), scenario.server, make_policy("vllm"))
        verdict = check(found, bench)
        largest = "" if verdict.largest_stable_rho is None else f"{verdict.largest_stable_rho:.2f}"
        rows.append((name, f"{found.rate_per_s:.4g}", found.binding, verdict.below, verdict.above, largest))
    head = ("scenario", "capacity, requests/s", "binds", "at 0.95", "at 1.05", "largest stable")
    return "\n".join(
        ["Under policy vllm, Poisson arrivals (`llmqgym load --scenario NAME --check`).", "", *table(head, rows)]
    )


def hardware(profiles: Path) -> str:
    """Shipped and made profiles against samples, end-to-end measurements and tables."""
    found = check_report(profiles, "roofline")
    made = {row["name"]: row for row in found["made"]["samples"]}
    samples = [
        (row["config"], f"{row['mean']:.2%}", f"{row['max']:.1%}", f"{twin['mean']:.1%}", f"{twin['max']:.0%}")
        for row, twin in zip(found["samples"], made.values(), strict=True)
    ]
    measured = [
        (
            row["profile"],
            row["phase"],
            *map(str, (row["prompt_tokens"], row["batch"])),
            f"{row['measured_ms']:.1f}",
            *(f"{row[error]:+.0%}" for error in ("bare_error", "full_error")),
        )
        for row in found["end_to_end"]
        if is_shown(row)
    ]
    lines = [
        "Shipped profiles, and the roofline of the same pairs, against the composed samples (relative errors).",
        "",
        *table(("pair", "shipped, mean", "max", "roofline, mean", "max"), samples),
        "",
        "Shipped profiles against Splitwise's end-to-end measurements: bare sums, and with LM head and overhead.",
        "",
        *table(("profile", "phase", "prompt", "batch", "measured, ms", "bare", "full"), measured),
    ]
    if "against_tables" in found["made"]:
        rows = [
            (
                f"{row['gpu']}/{row['model']}/tp{row['tensor_parallel']}",
                *(f"{row[kind]['bias']:+.0%}" for kind in KINDS),
            )
            for row in found["made"]["against_tables"]
        ]
        lines += [
            "",
            "The roofline against AIConfigurator's tables: mean difference.",
            "",
            *table(("pair", *KINDS), rows),
        ]
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--traces", type=Path, default=Path("../shared/traces"))
    parser.add_argument("--profiles", type=Path, default=Path("../shared/profiles"))
    parser.add_argument("--markdown", type=Path, metavar="OUT", help="write the tables there (docs/results.md)")
    given = parser.parse_args()
    np.seterr(all="raise", under="ignore")
    sections: dict[str, Any] = {
        "Workloads against their traces": lambda: workloads(given.traces),
        "Predictors": lambda: predictors(given.traces),
        "Loads": loads,
        "Hardware": lambda: hardware(given.profiles),
    }
    for title, write in sections.items():
        text = f"`python benchmarks/fidelity.py`\n\n{write()}"
        print(f"## {title}\n\n{text}\n")
        if given.markdown is not None:
            put_section(given.markdown, title, text)


if __name__ == "__main__":
    main()
