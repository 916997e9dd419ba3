"""Draw docs/policies.svg: mean response time against load for the baselines, on the built-in chat traffic.

Run: python docs/make_picture.py (needs the extra `plots`). The README shows the result.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.run import simulate
from llmqgym.workload.generate import poisson_lognormal
from llmqgym.workload.predictors import apply_predictor

SHOWN = {
    "static": "#9e9e9e",
    "sprpt:mode=recompute": "#a83279",
    "prefill-first": "#c58b3a",
    "vllm": "#2b6cb0",
    "spjf": "#2f9e77",
    "sprpt:mode=swap": "#d48ac0",
    "srpt:mode=swap": "#111111",
}
RATES_PER_S = (2.0, 3.0, 4.0, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.0)
SERVER = ServerConfig(num_kv_blocks=8000, max_running=96)


def mean_e2e_s(policy: str, rate_per_s: float) -> float:
    """Mean response time of 20,000 requests, the same for every policy."""
    workload = poisson_lognormal(
        20_000, rate_per_s, seed=1, prompt_median=600, prompt_sigma=1.0, output_median=160, output_sigma=0.8
    )
    workload = apply_predictor(workload, "lognormal:sigma=0.5", seed=2)
    result = simulate(workload, policy=make_policy(policy), server=SERVER)
    return float(result.summary["e2e_s"]["mean"])


def main() -> None:
    plt.rcParams.update(
        {"font.size": 11, "svg.hashsalt": "llmqgym", "axes.spines.top": False, "axes.spines.right": False}
    )
    figure, axes = plt.subplots(figsize=(9.6, 4.2))
    for policy, colour in SHOWN.items():
        oracle = make_policy(policy).oracle
        line = axes.plot(
            RATES_PER_S,
            [mean_e2e_s(policy, rate) for rate in RATES_PER_S],
            color=colour,
            linewidth=2,
            linestyle=":" if oracle else "-",
            marker="o",
            markersize=3.5,
        )[0]
        line.set_label(policy + (" (oracle)" if oracle else ""))
    axes.set_yscale("log")
    axes.set_xlabel("requests per second")
    axes.set_ylabel("mean response time, s")
    axes.set_title("Chat traffic on one A100 with Llama-3-8B, 96 slots, 8,000 KV blocks", fontsize=11, loc="left")
    axes.grid(visible=True, axis="y", alpha=0.25)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.6))
    figure.tight_layout()
    figure.savefig(Path(__file__).parent / "policies.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
