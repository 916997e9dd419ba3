"""The shipped agents against the best named baseline, on requests that nobody has trained on.

    python benchmarks/agent_results.py [--agents noisy-1,universal] [--loads] [--markdown docs/results.md]

For each agent and each scenario that it is for: every baseline is tried on three workloads, and the best five that are
no oracles, the best oracle and the agent then meet `--seeds` workloads of `--requests` requests each. The difference is
that of the agent to the one that is best on those, seed by seed, with Student's 95 % interval. The workloads' seeds are
neither those of training nor those that an agent is measured on while it learns.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from results_page import put_section, table

from agents.contestant import AgentContestant
from agents.statistics import paired
from baselines.registry import POLICIES, make_policy
from llmqgym.env.config import DEFAULT_PREDICTOR
from llmqgym.errors import InputError
from llmqgym.files import write_json
from llmqgym.run import simulate
from llmqgym.scenario import ScenarioConfig, load_scenario, read_scenario, with_traffic
from llmqgym.traffic import at_load, build_workload
from llmqgym.workload.source import RequestSource

FIRST_SEED, SCREENING_SEEDS, KEPT = 800_000_000, 3, 5
#: A baseline with a setting chosen for the scenario, said beside the table: it is no longer the named one.
TUNED = {"kv-bound": "volume-sf:protect=0.05"}
#: Other loads that agents for one scenario meet, over the scenario's.
LOADS = (0.9, 1.05)
#: A baseline that is slower than this on the first workload is left out, and so said.
PATIENCE_S = 30.0
DEFAULT_SCENARIOS = (
    "chat", "code", "long-context", "reasoning", "bursty", "kv-bound", "noisy-1", "multi-tenant",
)  # fmt: skip
SATURATED, SATURATED_AGENT = "configs/agent/scenario/kv-saturated.toml", "kv-saturated"
COLUMNS = (
    "agent", "scenario", "mean E2E, s", "p99 E2E, s", "best baseline", "its mean, s", "its p99, s", "difference",
    "95 % interval", "best oracle", "its difference",
)  # fmt: skip


def workloads(
    name: str, num_seeds: int, num_requests: int, load: float = 1.0
) -> list[tuple[ScenarioConfig, RequestSource]]:
    """A scenario's traffic by seed, at so many times its load."""
    base = load_scenario(name)
    if load != 1.0:
        base = with_traffic(base, None, None, rho=load * base.workload.rho)
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + num_seeds):
        traffic = dataclasses.replace(base.workload, num_requests=num_requests)
        predictor = base.predictor or DEFAULT_PREDICTOR
        scenario, _ = at_load(dataclasses.replace(base, seed=seed, workload=traffic, predictor=predictor))
        found.append((scenario, build_workload(scenario)))
    return found


def summary_of(spec: str, scenario: ScenarioConfig, workload: RequestSource) -> dict[str, Any]:
    """Of a baseline's run."""
    return simulate(
        workload,
        policy=make_policy(spec),
        server=scenario.server,
        profile=scenario.profile,
        predictor=scenario.predictor,
        seed=scenario.seed,
    ).summary


def of_policy(spec: str, scenario: ScenarioConfig, workload: RequestSource) -> tuple[float, float]:
    """(mean, p99) E2E in seconds."""
    summary = summary_of(spec, scenario, workload)
    return summary["e2e_s"]["mean"], summary["e2e_s"]["p99"]


def best_baselines(
    traffic: list[tuple[ScenarioConfig, RequestSource]], oracles: bool, number: int
) -> tuple[list[str], dict[str, float], str]:
    """The best few of all oracles, or of all others, the means of all of these, and who was left out."""
    means: dict[str, float] = {}
    left_out = []
    for spec, entry in POLICIES.items():
        if entry.oracle != oracles:
            continue
        found, began_s = [], time.perf_counter()
        try:
            for scenario, workload in traffic[:SCREENING_SEEDS]:
                found.append(of_policy(spec, scenario, workload)[0])
                if time.perf_counter() - began_s > PATIENCE_S:
                    left_out.append(spec)
                    break
            else:
                means[spec] = float(np.mean(found))
        except InputError:
            left_out.append(spec)  # it needs what these requests do not have
    return sorted(means, key=means.__getitem__)[:number], means, ", ".join(left_out)


def of_baselines(name: str, seeds: int, requests: int) -> dict[str, Any]:
    """What the best baselines make of a scenario's workloads: (mean, p99) E2E by workload."""
    traffic = workloads(name, seeds, requests)
    kept, means, left_out = best_baselines(traffic, False, KEPT)
    runs = {spec: [of_policy(spec, *each) for each in traffic] for spec in kept}
    (oracle,), *_ = best_baselines(traffic, True, 1)
    return {
        "seeds": seeds, "requests": requests, "runs": runs, "screened": means, "left_out": left_out, "oracle": oracle,
        "oracle_runs": [of_policy(oracle, *each) for each in traffic],
    }  # fmt: skip


def compare(
    agent: str, name: str, measured: dict[str, Any], traffic: list[tuple[ScenarioConfig, RequestSource]]
) -> dict[str, Any]:
    """An agent on a scenario's traffic, beside what the baselines have made of it (`runs` of `measured`)."""
    contestant = AgentContestant(f"ppo:{agent}")
    began_s = time.perf_counter()
    summaries = [contestant.run(workload, scenario).summary for scenario, workload in traffic]
    ours = np.array([(each["e2e_s"]["mean"], each["e2e_s"]["p99"]) for each in summaries])
    runs = {spec: np.array(values) for spec, values in measured["runs"].items()}
    best = min(runs, key=lambda spec: runs[spec][:, 0].mean())
    mean, low, high = paired(ours[:, 0], runs[best][:, 0])
    return measured | {
        "agent": Path(agent).name, "path": agent, "scenario": name, "wall_s": time.perf_counter() - began_s,
        "ours": ours.tolist(), "best": best, "difference": mean, "low": low, "high": high,
    }  # fmt: skip


def row(found: dict[str, Any]) -> tuple[str, ...]:
    runs = np.array(found["runs"][found["best"]])
    ours, theirs = np.mean(found["ours"], axis=0), runs.mean(axis=0)
    knowing, _, _ = paired(np.array(found["oracle_runs"])[:, 0], runs[:, 0])
    return (
        found["agent"], found["scenario"], f"{ours[0]:.3f}", f"{ours[1]:.1f}", found["best"], f"{theirs[0]:.3f}",
        f"{theirs[1]:.1f}", f"{found['difference']:+.2%}", f"[{found['low']:+.2%}, {found['high']:+.2%}]",
        found["oracle"], f"{knowing:+.2%}",
    )  # fmt: skip


def section(found: list[dict[str, Any]]) -> str:
    """The text of the page."""
    first = found[0]
    head = (
        f"`python benchmarks/agent_results.py`: {first['seeds']} workloads of {first['requests']:,} requests for each "
        "scenario, the same for all; nobody was\ntrained on their seeds, nor were baselines chosen on all of them. The "
        "best baseline is that of the least mean E2E among all\nthat are no oracles, as they are by default. A "
        "difference below 0 is in the agent's favour; means and 95 % intervals over the\nworkloads, paired. The best "
        "oracle knows true lengths; its difference is to the same baseline.\n\n"
    )
    return head + "\n".join(table(COLUMNS, [row(each) for each in found]))


def tuned(found: list[dict[str, Any]]) -> str:
    """What those agents are beside a tuned baseline whose scenario has one."""
    lines = []
    for each in found:
        spec = TUNED.get(each["scenario"])
        if spec is not None:
            theirs = [of_policy(spec, *one)[0] for one in workloads(each["scenario"], each["seeds"], each["requests"])]
            mean, low, high = paired(np.array(each["ours"])[:, 0], np.array(theirs))
            lines.append(
                f"* `{each['agent']}` on {each['scenario']} beside `{spec}`, whose share was chosen for it "
                f"({np.mean(theirs):.3f} s): {mean:+.2%} [{low:+.2%}, {high:+.2%}]"
            )
    return "\n\n" + "\n".join(lines) if lines else ""


def other_loads(found: list[dict[str, Any]]) -> str:
    """What agents for one scenario are worth when there is less, or more, than usual."""
    columns = ("agent", "load", "mean E2E, s", "best baseline", "its mean, s", "difference", "95 % interval")
    rows = []
    for each in found:
        rho = load_scenario(each["scenario"]).workload.rho
        for load in LOADS:
            traffic = workloads(each["scenario"], each["seeds"], each["requests"], load)
            runs = {spec: [of_policy(spec, *one) for one in traffic] for spec in each["runs"]}
            agent, _, mean, _, best, its, _, *difference = row(
                compare(each["path"], each["scenario"], {**each, "runs": runs}, traffic)
            )[:9]
            rows.append((agent, f"{load * rho:.2f}", mean, best, its, *difference))
    head = (
        f"`python benchmarks/agent_results.py --loads`: the same at {' and '.join(map(str, LOADS))} times the "
        "scenario's load (rho), beside the\nbest of the five baselines that were best at its own.\n\n"
    )
    return head + "\n".join(table(columns, rows))


def saturated(agent: str) -> str:
    """The section on the server that never gets through: requests a second."""
    scenario = read_scenario(SATURATED)
    workload = build_workload(scenario)
    grid = {f"paced:share={share:.2f}": 0.0 for share in np.arange(0.80, 1.001, 0.02)}
    speeds = dict.fromkeys(("vllm", "reserve", *grid), 0.0)
    for spec in speeds:
        speeds[spec] = summary_of(spec, scenario, workload)["requests_per_s"]
    paced, greedy = max(grid, key=speeds.__getitem__), max(("vllm", "reserve"), key=speeds.__getitem__)
    ours = AgentContestant(f"ppo:{agent}").run(workload, scenario).summary
    speed = ours["requests_per_s"]
    rows = [(spec, f"{speeds[spec]:.3f}", f"{speed / speeds[spec]:.3f}") for spec in ("vllm", "reserve", paced)]
    text = (
        f"`python benchmarks/agent_results.py`: {len(workload):,} requests of\n{SATURATED}, all alike. `paced` is the "
        f"best of a grid of {len(grid)} shares.\nThe agent `{Path(agent).name}`, which began as first come first "
        f"served, finishes **{speed:.3f} requests/s** with {ours['num_preemptions']} preemptions:\n"
        f"{speed / speeds[paced]:.3f} of paced admission, {speed / speeds[greedy]:.3f} of the better of vllm and "
        "reserve.\n\n"
    )
    return text + "\n".join(table(("policy", "requests/s", "agent's over it"), rows))


def plan(names: list[str]) -> list[tuple[str, str]]:
    """(agent, scenario): a universal agent meets all default ones, others that of their training."""
    found = []
    for name in names:
        trained_on = AgentContestant(f"ppo:{name}").agent.training.scenario.split(", ")
        scenarios = DEFAULT_SCENARIOS if len(trained_on) > 1 else tuple(trained_on)
        found += [(name, scenario) for scenario in scenarios]
    return found


def main() -> None:
    from agents.shipped import shipped_agents

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", help="names or files, separated by commas; all shipped ones otherwise")
    parser.add_argument("--scenario", help="only this one")
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--loads", action="store_true", help="also at other loads")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path, help="everything that was found, as JSON")
    parser.add_argument("--baselines", type=Path, help="JSON in which the baselines' runs are kept, or will be")
    args = parser.parse_args()
    names = args.agents.split(",") if args.agents else shipped_agents()
    found: list[dict[str, Any]] = []
    known: dict[str, Any] = {}
    if args.baselines is not None and args.baselines.is_file():
        known = json.loads(args.baselines.read_text(encoding="utf-8"))
    alone = [name for name in names if Path(name).name == SATURATED_AGENT]
    for agent, scenario in plan([name for name in names if name not in alone]):
        if args.scenario in (None, scenario):
            if scenario not in known:
                known[scenario] = of_baselines(scenario, args.seeds, args.requests)
                if args.baselines is not None:
                    write_json(args.baselines, known)
            traffic = workloads(scenario, known[scenario]["seeds"], known[scenario]["requests"])
            found.append(compare(agent, scenario, known[scenario], traffic))
            print(" | ".join(row(found[-1])), flush=True)
    texts: dict[str, str] = {}
    if alone:
        texts["Agents on a server that never gets through"] = saturated(alone[0])
    if found:
        texts["Agents against the best baselines"] = section(found) + tuned(found)
        alone_on = [each for each in found if sum(other["path"] == each["path"] for other in found) == 1]
        if alone_on and args.loads:
            texts["Agents at other loads"] = other_loads(alone_on)
    for text in texts.values():
        print(text)
    if not texts:
        sys.exit("nothing to compare: no shipped agent, or none for that scenario.")
    if args.json is not None:
        write_json(args.json, {"found": json.loads(json.dumps(found))})
    if args.markdown is not None:
        for title, text in texts.items():
            put_section(args.markdown, title, text)


if __name__ == "__main__":
    main()
