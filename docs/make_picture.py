"""Draw docs/policies.svg: mean response time against load for the baselines, on the built-in chat traffic.

Run: python docs/make_picture.py. The README shows the result.
"""

from __future__ import annotations

from pathlib import Path

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.run import simulate
from llmqgym.svg import Panel, Scale, legend, page, spanning
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
    lines = {policy: [(rate, mean_e2e_s(policy, rate)) for rate in RATES_PER_S] for policy in SHOWN}
    times = [time for line in lines.values() for _, time in line]
    panel = Panel(62, 34, 560, 300, Scale(RATES_PER_S[0], RATES_PER_S[-1]), spanning(times, log=True))
    title = "Chat traffic on one A100 with Llama-3-8B, 96 slots, 8,000 KV blocks"
    parts = panel.frame(title, "requests per second", "mean response time, s")
    entries = []
    for policy, colour in SHOWN.items():
        oracle = make_policy(policy).oracle
        dash = "2 3" if oracle else ""
        parts += panel.line(lines[policy], colour, dash)
        entries.append((policy + (" (oracle)" if oracle else ""), colour, dash))
    svg = page(820, 375, [*parts, *legend(640, 120, entries)])
    (Path(__file__).parent / "policies.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
