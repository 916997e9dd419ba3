"""The slow, obvious twins of the streamed metrics: each looks at the whole table of departures at once."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np

from llmqgym.kernel.tables import PS_PER_S, Mode, Status
from llmqgym.metrics.latencies import latencies

Rows = Any


def distribution(values: np.ndarray) -> dict[str, float]:
    values = values[~np.isnan(values)]
    quantiles = dict(zip(("p50", "p90", "p95", "p99"), np.percentile(values, [50, 90, 95, 99]).tolist(), strict=True))
    return {"mean": float(values.mean()), **quantiles, "max": float(values.max())}


def left_ps(rows: Rows, clock_ps: int) -> np.ndarray:
    return np.where(rows["finish_ps"] >= 0, rows["finish_ps"], clock_ps)


def speeds(rows: Rows) -> np.ndarray:
    """Output tokens per second of each tenant's finished requests."""
    found = []
    for tenant in np.unique(rows["tenant"]):
        done = rows[(rows["tenant"] == tenant) & (rows["finish_ps"] >= 0)]
        spent_s = ((done["finish_ps"] - done["arrival_ps"]) / PS_PER_S).sum()
        found.append(done["output_tokens"].sum() / spent_s if spent_s else 0.0)
    return np.array(found)


def service_gap(rows: Rows, clock_ps: int, width_s: float = 30.0) -> dict[str, float] | None:
    bins = int(clock_ps / PS_PER_S / width_s) + 1
    if bins < 3:
        return None
    tenants = np.unique(rows["tenant"]).tolist()
    served, wanted = np.zeros((2, len(tenants), bins))
    for row, left in zip(rows, left_ps(rows, clock_ps) / PS_PER_S, strict=True):
        tenant = tenants.index(row["tenant"])
        wanted[tenant, int(row["arrival_ps"] / PS_PER_S / width_s)] += row["prompt_tokens"] + 2 * row["output_tokens"]
        start = row["first_token_ps"] / PS_PER_S
        if start < 0:
            continue
        end = max(left, start + 1e-12)
        cost = row["prompt_tokens"] + 2 * row["generated_tokens"]
        for at in range(int(start / width_s), min(int(end / width_s), bins - 1) + 1):
            inside = min(end, (at + 1) * width_s) - max(start, at * width_s)
            served[tenant, at] += cost * inside / (end - start)
    service, demand = ((x[:, 1:-1] + x[:, 2:]) / (2 * width_s) for x in (served, wanted))
    gaps = np.minimum(service.max(axis=0) - service, np.abs(demand - service)).sum(axis=0)
    return {"mean": float(gaps.mean()), "max": float(gaps.max()), "var": float(gaps.var())}


def stability(rows: Rows, clock_ps: int) -> str:
    """From the number in the system at 800 exact times."""
    if len(rows) < 1000:
        return "undecided"
    arrivals, leaves = np.sort(rows["arrival_ps"]), np.sort(left_ps(rows, clock_ps))
    times = np.linspace(arrivals[0], arrivals[-1], 800)
    here = np.searchsorted(arrivals, times, "right") - np.searchsorted(leaves, times, "right")
    second, third, last = here.reshape(4, -1)[1:].mean(axis=1)
    return "growing" if second < third < last and last - second > 0.015 * len(rows) / 2 else "stable"


def per_request(departures: Rows) -> str:
    """The per-request table by csv.writer."""
    rows = departures[np.argsort(departures["id"], kind="stable")]
    times = latencies(rows)
    table: dict[str, list[Any]] = {
        "id": rows["id"].tolist(),
        "status": [Status(status).name.lower() for status in rows["status"].tolist()],
    }
    for name in ("arrival", "first_scheduled", "first_token", "finish"):
        known_s = np.where(rows[f"{name}_ps"] >= 0, rows[f"{name}_ps"] / PS_PER_S, np.nan)
        table[f"{name}_s"] = _known(known_s)
    table |= {name: _known(getattr(times, name)) for name in ("queue_s", "ttft_s", "tpot_s", "e2e_s")}
    table |= {name: rows[name].tolist() for name in ("prompt_tokens", "output_tokens", "generated_tokens")}
    table["predicted_output_tokens"] = _known(rows["predicted_output_tokens"])
    table |= {name: rows[name].tolist() for name in ("priority", "tenant")}
    for mode in Mode:
        table[f"num_preemptions_{mode.name.lower()}"] = rows["num_preemptions"][:, mode].tolist()
    table |= {name: rows[name].tolist() for name in ("lost_tokens", "swapped_blocks", "prefix_hit_tokens")}
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return file.getvalue()


def _known(values: np.ndarray) -> list[Any]:
    return ["" if value != value else value for value in values.tolist()]
