"""What is measured of a policy, as a reader meets it: label, unit, which way is better, and vLLM's name for it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One column of the board."""

    key: str  # in a cell's `metrics`
    label: str
    unit: str = ""
    scale: float = 1.0  # from the document's unit to the shown one
    board: str = "mean"  # or "tail"
    higher_is_better: bool = False
    exported: str = ""  # its name outside: vLLM's where vLLM has one
    meaning: str = ""

    @property
    def title(self) -> str:
        """Label and unit.

        >>> Measure("mean_tpot_s", "TPOT", "ms").title
        'TPOT (ms)'
        """
        return f"{self.label} ({self.unit})" if self.unit else self.label


E2E, TTFT = "mean_e2e_s", "mean_ttft_s"
TAIL_E2E, TAIL_TTFT = "p99_e2e_s", "p99_ttft_s"
#: vLLM's histograms (its v1/metrics/loggers.py), whose means and quantiles these are.
_LATENCIES = {
    "e2e": ("E2E", "s", 1.0, "e2e_request_latency_seconds", "from arrival to the last token"),
    "ttft": ("TTFT", "s", 1.0, "time_to_first_token_seconds", "from arrival to the first token, queueing included"),
    "tpot": ("TPOT", "ms", 1e3, "request_time_per_output_token_seconds", "each further token, mean over a request"),
    "queue": ("queueing", "s", 1.0, "request_queue_time_seconds", "from arrival to the first time in the batch"),
}
_RATES = (
    Measure("mean_slowdown", "slowdown", meaning="E2E over the time alone on an idle server", exported="slowdown/mean"),
    Measure("goodput_requests_per_s", "goodput", "1/s", higher_is_better=True, exported="goodput_requests_per_second",
            meaning="finished requests that met every stated limit"),
    Measure("wasted_token_ratio", "wasted", "%", 100.0, exported="wasted_token_ratio",
            meaning="tokens computed again after a preemption, of all"),
    Measure("p99_slowdown", "p99 slowdown", board="tail", exported="slowdown/p99",
            meaning="E2E over the time alone on an idle server"),
    Measure("requests_per_s", "throughput", "1/s", higher_is_better=True, exported="requests_per_second",
            meaning="finished requests"),
    Measure("jain_index", "Jain", higher_is_better=True, exported="jain_index",
            meaning="Jain's index over tenants: 1 is even"),
    Measure("mean_vtc_service_gap_per_s", "VTC gap", "tokens/s", exported="vtc_service_gap_tokens_per_second",
            meaning="between the services of two tenants with requests in the queue"),
    Measure("num_preemptions", "preemptions", exported="num_preemptions", meaning="a run"),
)  # fmt: skip
_BY_KEY = {measure.key: measure for measure in _RATES}


def measure_of(key: str) -> Measure:
    """The measure that a key of `metrics` stands for; a key that nobody has described is shown by its own name.

    >>> measure_of("p99_ttft_s").title, measure_of("p99_ttft_s").board
    ('p99 TTFT (s)', 'tail')
    >>> measure_of("something_new").label
    'something_new'
    """
    statistic, _, rest = key.partition("_")
    latency = _LATENCIES.get(rest.removesuffix("_s"))
    if latency is None or not rest.endswith("_s"):
        return _BY_KEY.get(key, Measure(key, key, exported=key))
    label, unit, scale, exported, meaning = latency
    board = "mean" if statistic == "mean" else "tail"
    name = f"{statistic} {label}"
    return Measure(key, name, unit, scale, board, exported=f"{exported}/{statistic}", meaning=meaning)


def measures_in(keys: Iterable[str]) -> list[Measure]:
    """Those of all cells, the main ones first, each once."""
    latencies = [f"{statistic}_{of}_s" for statistic in ("mean", "p99", "p90", "p50") for of in _LATENCIES]
    first = (*latencies, *_BY_KEY)
    found = list(dict.fromkeys(keys))
    ordered = [key for key in first if key in found]
    return [measure_of(key) for key in (*ordered, *(key for key in found if key not in ordered))]


def digits(value: float | None) -> str:
    """Three digits, thousands apart; '-' where there is nothing.

    >>> digits(12.345), digits(0.01234), digits(12345.6), digits(0.0), digits(None)
    ('12.3', '0.0123', '12,346', '0', '-')
    """
    if value is None:
        return "-"
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-4:
        return f"{value:.2e}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")
