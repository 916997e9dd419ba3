"""Boards made by hand: their document, from the means that a test says."""

from __future__ import annotations

from typing import Any

import numpy as np

Parts = list[dict[str, Any]]

SHARES = (*np.round(np.arange(0.0, 1.0, 0.01), 2).tolist(), 0.995, 0.999)


def ends(mean: float, half: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - half, "high": mean + half}


def policy(spec: str, *, oracle: bool = False, needs: str = "nothing") -> dict[str, Any]:
    return {
        "spec": spec, "family": "sizes", "needs": [needs], "oracle": oracle, "summary": f"what {spec} does",
        "settings": {},
    }  # fmt: skip


def cell(scenario: str, spec: str, mean_s: float, tail_s: float, *, half: float = 0.1, **other: Any) -> dict[str, Any]:
    """`half` is the half-width of every interval, as a share of the mean."""
    shares = {"mean": 1.0, "p50": 0.7, "p90": 2.1}
    metrics: dict[str, Any] = {f"{of}_e2e_s": share * mean_s for of, share in shares.items()} | {"p99_e2e_s": tail_s}
    metrics |= {f"{of}_ttft_s": 0.3 * share * mean_s for of, share in shares.items()} | {"p99_ttft_s": 0.5 * tail_s}
    metrics |= {f"{of}_tpot_s": value for of, value in zip((*shares, "p99"), (0.031, 0.03, 0.04, 0.05), strict=True)}
    metrics |= {"mean_slowdown": 2.5, "p99_slowdown": 9.0, "goodput_requests_per_s": 5.0, "requests_per_s": 6.0}
    metrics |= {"wasted_token_ratio": 0.01, "num_preemptions": 41.0, "jain_index": 0.97}
    metrics = {key: ends(value, half * value) for key, value in metrics.items()}
    scale = mean_s / 3
    quantiles = [[share, float(scale * -np.log(1 - share) + 0.2)] for share in SHARES]
    return {
        "scenario": scenario, "policy": spec, "num_runs": 5, "skipped": None, "censored": False, "num_unfinished": 0,
        "num_rejected": 0, "stability": "stable", "metrics": metrics, "gap": {}, "rank": {}, "difference_to_best": {},
        "difference_to_vllm": {}, "ratio_to_vllm": {}, "largest_stable": None,
        "quantiles": {"e2e_s": quantiles, "ttft_s": [[p, 0.3 * v] for p, v in quantiles]},
    } | other  # fmt: skip


def scenario(name: str, *, bound_s: float = 2.0, **other: Any) -> dict[str, Any]:
    return {
        "name": name, "base": name, "summary": f"the traffic {name}", "rho": 0.9, "rate_per_s": 7.25,
        "num_requests": 10_000, "num_measured": 9_000, "profile": "a100-llama-3-8b",
        "predictor": "lognormal:sigma=0.5", "config": {},
        "bound": {"mean_e2e_s": ends(bound_s, 0.05), "mean_ttft_s": ends(0.2 * bound_s, 0.01)},
    } | other  # fmt: skip


def board(policies: Parts, scenarios: Parts, cells: Parts) -> dict[str, Any]:
    """The document, with gaps, differences and ranks worked out from the cells' own intervals."""
    oracles = {each["spec"] for each in policies if each["oracle"]}
    for of in scenarios:
        those = [each for each in cells if each["scenario"] == of["name"] and not each["skipped"]]
        for key in ("mean_e2e_s", "p99_e2e_s", "mean_ttft_s", "p99_ttft_s"):
            _compare(those, key, oracles)
        for each in those:
            each["gap"] = None if each["censored"] else _gaps(each, of)
    return {
        "suite": "quick", "reference": "vllm", "version": "0.1.0", "dynamics": "abc", "commit": "0123456789abcdef",
        "command": "llmqgym leaderboard", "seeds": [0, 1, 2, 3, 4], "scenarios": scenarios, "policies": policies,
        "cells": cells, "overall": [], "recommendation": None,
    }  # fmt: skip


def _gaps(cell: dict[str, Any], scenario: dict[str, Any]) -> dict[str, Any]:
    bounds = {key: bound["mean"] for key, bound in scenario["bound"].items()}
    return {
        key: {end: value / bound - 1 for end, value in cell["metrics"][key].items()} for key, bound in bounds.items()
    }


def _compare(cells: Parts, key: str, oracles: set[str]) -> None:
    whole = [each for each in cells if not each["censored"]]
    reference = next((each["metrics"][key] for each in whole if each["policy"] == "vllm"), None)
    able = [each for each in whole if each["policy"] not in oracles]
    winner = min(able, key=lambda each: each["metrics"][key]["mean"], default=None)
    best = winner and winner["metrics"][key]
    for each in cells:
        own = each["metrics"][key]
        for name, other, to in (("best", best, winner and winner["policy"]), ("vllm", reference, "vllm")):
            half = 0.0 if own is other else (own["high"] - own["low"]) / 2
            there = other is not None and each in whole
            difference = {"to": to, **ends(own["mean"] - other["mean"], half)} if there else None
            each[f"difference_to_{name}"][key] = difference
            if name == "vllm":
                each["ratio_to_vllm"][key] = ends(own["mean"] / other["mean"], half / other["mean"]) if there else None
        if each in able:
            better = sum(other["metrics"][key]["high"] < own["low"] for other in able)
            worse = sum(other["metrics"][key]["low"] > own["high"] for other in able)
            each["rank"][key] = [1 + better, len(able) - worse]


def large(num_policies: int = 20, num_scenarios: int = 8) -> dict[str, Any]:
    """As many as the default suite has."""
    rng = np.random.default_rng(3)
    names = ["chat", "code", "long-context", "reasoning", "bursty", "kv-bound", "noisy-1", "noisy-2"][:num_scenarios]
    specs = ["vllm", *(f"policy-{place}:mode=swap" for place in range(num_policies - 3)), "srpt", "sjf"]
    policies = [policy(spec, oracle=spec in ("srpt", "sjf"), needs="point prediction") for spec in specs]
    cells = []
    for name in names:
        for spec in specs:
            mean_s, tail_s, half = rng.lognormal(2.0, 0.5), rng.lognormal(3.5, 0.6), rng.uniform(0.01, 0.2)
            cells.append(cell(name, spec, float(mean_s), float(tail_s), half=float(half)))
    cells[3] |= {"censored": True, "num_unfinished": 1234, "stability": "growing"}
    cells[1] = {
        "scenario": names[0], "policy": specs[1], "num_runs": 0, "skipped": "needs tenants: there is one tenant",
    }  # fmt: skip
    document = board(policies, [scenario(name) for name in names], cells)
    for place, spec in enumerate(specs):
        score = {"iqm_ratio_to_vllm": ends(0.5 + place / 15, 0.05), "prob_improvement": ends(0.9 - place / 30, 0.05)}
        row = {"policy": spec, "num_scenarios": len(names), "num_compared": len(names), "num_growing": 0}
        document["overall"].append(row | dict.fromkeys(("mean_e2e_s", "p99_e2e_s"), score | {"num_first": 1}))
    return document
