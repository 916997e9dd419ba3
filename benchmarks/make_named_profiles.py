"""Make llmqgym/hardware/named/*.json, the nine shipped profiles, from the figures in shared/profiles.

    PYTHONPATH=. .venv/bin/python benchmarks/make_named_profiles.py [--source ../shared/profiles]

Run from the repository's root; it rewrites the nine files and prints how far each is from the samples. Everything is
taken from that folder (fits.json, token_tables.csv, splitwise_measured.csv.gz, README.md) except what is typed below:
the shape of each model (its published config.json) and of each GPU (its data sheet).

Two terms are not in those fits, and a profile carries them apart:

* `lm_head_ms`: time to read the output embedding once, vocabulary x hidden x 2 bytes / tensor_parallel over
  LM_HEAD_EFFICIENCY x the GPU's memory bandwidth (a few logits rows per iteration: bound by memory).
* `overhead_ms`: for the two pairs that Splitwise measured end to end (Llama-2-70B, tp4) the median over its decode
  points of batch <= 16 of (measured - table - attention - LM head), not below 0. For the other pairs 0, and it says so.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from llmqgym.hardware.check import check_all
from llmqgym.hardware.documents import profile_from
from llmqgym.hardware.profile import PS_PER_MS, HardwareProfile

NAMED = Path(__file__).resolve().parents[1] / "llmqgym" / "hardware" / "named"
BYTES_PER_ELEMENT = 2  # fp16 and bf16
LM_HEAD_EFFICIENCY = 0.8  # share of the peak bandwidth that a large read reaches; assumed
HOST_MEMORY_BYTES = 64 * 2**30  # our default for swapped KV
#: Point batches over which the overhead is calibrated; README: beyond, the sums miss more than an overhead.
CALIBRATION_BATCH = 16


class Gpu(NamedTuple):
    """Data sheet of a GPU and the usable bandwidth of its host link (README, 'Swap')."""

    splitwise: str
    memory_bytes: float
    memory_bytes_per_s: float
    link_bytes_per_s: float
    link: str


class Model(NamedTuple):
    """Shape of a model, from its config.json."""

    short: str
    layers: int
    kv_heads: int
    head_dim: int
    hidden: int
    vocabulary: int
    parameters: float


class Point(NamedTuple):
    """Medians of one Splitwise setting: prompt, batch and output in tokens, times in ms."""

    prompt: int
    batch: int
    output: int
    token_ms: float
    prompt_ms: float


GPUS = {
    "a100": Gpu("a100-80gb", 80e9, 2.039e12, 25e9, "PCIe 4.0 x16"),  # A100-SXM4-80GB
    "h100": Gpu("h100-80gb", 80e9, 3.35e12, 50e9, "PCIe 5.0 x16"),  # H100-SXM5-80GB
}
MODELS = {
    "Llama-2-7b-hf": Model("llama-2-7b", 32, 32, 128, 4096, 32_000, 6.74e9),
    "Meta-Llama-3-8B": Model("llama-3-8b", 32, 8, 128, 4096, 128_256, 8.03e9),
    "Llama-2-70b-hf": Model("llama-2-70b", 80, 8, 128, 8192, 32_000, 68.98e9),
    "Meta-Llama-3-70B": Model("llama-3-70b", 80, 8, 128, 8192, 128_256, 70.55e9),
}
#: The one model that Splitwise measured end to end and that has fits, with the name it bears there.
SPLITWISE_MODELS = {"Llama-2-70b-hf": "llama2-70b"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path("../shared/profiles"), help="folder of the figures")
    source = parser.parse_args().source
    fits = json.loads((source / "fits.json").read_text(encoding="utf-8"))
    knots = read_knots(source / "token_tables.csv")
    bands = end_to_end_bands(source / "README.md")
    NAMED.mkdir(exist_ok=True)
    for config, fit in fits.items():
        document = make_document(config, fit, knots[config], bands)
        calibrate(document, read_splitwise(source / "splitwise_measured.csv.gz", config))
        text = json.dumps(document, indent=1, ensure_ascii=False)
        (NAMED / f"{document['name']}.json").write_text(compact(text) + "\n", encoding="utf-8")
    for row in check_all(source):
        print(f"{row['name']:26} n {row['n']:5} mean {row['mean']:.2%} p95 {row['p95']:.2%} max {row['max']:.2%}")


def make_document(config: str, fit: dict[str, Any], knots: list[tuple[int, float]], bands: str) -> dict[str, Any]:
    """The document of one pair, its overhead still 0."""
    gpu_name, model_name, parallel = config.split("/")
    gpu, model, tensor_parallel = GPUS[gpu_name], MODELS[model_name], int(parallel.removeprefix("tp"))
    name = f"{gpu_name}-{model.short}" + (f"-tp{tensor_parallel}" if tensor_parallel > 1 else "")
    return {
        "name": name,
        "kind": "token_table",
        "origin": "composed",
        "source": source_text(config, gpu),
        "known_error": (
            f"The sums without LM head and overhead against end-to-end measurements of a 2023 stack: {bands}"
            + does_not_fit(gpu, model, tensor_parallel)
        ),
        "gpu": gpu_name,
        "model": model_name,
        "tensor_parallel": tensor_parallel,
        "kv_token_capacity": fit["kv_token_cap"],
        "kv_bytes_per_token": 2 * model.layers * model.kv_heads * model.head_dim * BYTES_PER_ELEMENT,
        "link_bytes_per_s": gpu.link_bytes_per_s,
        "host_memory_bytes": HOST_MEMORY_BYTES,
        "max_context_tokens": fit["max_ctx"],
        "max_batch_tokens": knots[-1][0],
        "lm_head_ms": round(lm_head_ms(gpu, model, tensor_parallel), 6),
        "overhead_ms": 0.0,
        "kinds": {"token_table": table_block(fit["fits"], knots), "linear": linear_block(fit["fits"])},
    }


def source_text(config: str, gpu: Gpu) -> str:
    scaled = " (H100 Llama-3-8B scaled from H100 Llama-2-7B)" if config.startswith("h100/Meta-Llama-3-8B") else ""
    return (
        f"{config}: linear operators from microsoft/vidur's per-operator profiles (MIT, MLSys'24){scaled}; "
        "attention from NVIDIA AIConfigurator 0.12.0 (Apache-2.0), vLLM FlashAttention; "
        "composed per operator, fitted by least squares. LM head: 2 bytes x vocabulary x hidden / tp "
        f"at {LM_HEAD_EFFICIENCY:.0%} of {gpu.memory_bytes_per_s / 1e12:g} TB/s. Host link: {gpu.link}."
    )


def does_not_fit(gpu: Gpu, model: Model, tensor_parallel: int) -> str:
    """A warning for the pairs whose weights no real server of this kind could hold."""
    weight_bytes = model.parameters * BYTES_PER_ELEMENT
    memory_bytes = gpu.memory_bytes * tensor_parallel
    if weight_bytes < memory_bytes:
        return ""
    return (
        f" Hypothetical: {weight_bytes / 1e9:.0f} GB of weights do not fit in {memory_bytes / 1e9:.0f} GB; "
        "the times and the KV capacity are as if they did."
    )


def lm_head_ms(gpu: Gpu, model: Model, tensor_parallel: int) -> float:
    weight_bytes = model.vocabulary * model.hidden * BYTES_PER_ELEMENT / tensor_parallel
    return weight_bytes / (LM_HEAD_EFFICIENCY * gpu.memory_bytes_per_s) * 1e3


def table_block(fits: dict[str, Any], knots: list[tuple[int, float]]) -> dict[str, Any]:
    fit = fits["dense_token_table_plus_attention"]
    decode, prefill = fit["decode_attn_ms_const_B_S"], fit["prefill_attn_ms_const_sqrtF_F"]
    return {
        "known_error": fit_error(fit),
        **dict(zip(("decode_base_ms", "decode_ms", "kv_ms"), decode, strict=True)),
        **dict(zip(("prefill_base_ms", "root_ms", "square_ms"), prefill, strict=True)),
        "knots_tokens": [tokens for tokens, _ in knots],
        "knots_ms": [time_ms for _, time_ms in knots],
    }


def linear_block(fits: dict[str, Any]) -> dict[str, Any]:
    keys = ("base_ms", "token_ms", "decode_ms", "kv_ms", "square_ms")
    return {"known_error": fit_error(fits["linear"]), **dict(zip(keys, fits["linear"]["coef"], strict=True))}


def fit_error(fit: dict[str, Any]) -> str:
    mean, p95, largest = (fit[f"{what}_rel_pct"] for what in ("mean", "p95", "max"))
    return f"Against its own samples: mean {mean} %, p95 {p95} %, max {largest} %."


def calibrate(document: dict[str, Any], measured: list[Point]) -> None:
    """Set the overhead where the pair was measured, and say in `known_error` what is left; say 0 otherwise."""
    if not measured:
        document["known_error"] += " overhead_ms is 0: this pair was not measured end to end; set it for an old engine."
        return
    bare = profile_from(document)
    small = [point for point in measured if point.batch <= CALIBRATION_BATCH]
    misses = [point.token_ms - decode_time_ms(bare, point) for point in small]
    overhead_ms = max(0.0, round(statistics.median(misses), 3))
    document["overhead_ms"] = overhead_ms
    full = replace(bare, overhead_ms=overhead_ms)
    left = "; ".join(f"{what} {min(e):+.0%} to {max(e):+.0%}" for what, e in what_is_left(full, measured).items())
    document["known_error"] += (
        f" With LM head and an overhead_ms of {overhead_ms:g} calibrated on Splitwise's measurements (2023 stack; set "
        f"overhead_ms=0 for an engine with asynchronous scheduling) its token_table is off by: {left}."
    )


def what_is_left(profile: HardwareProfile, measured: list[Point]) -> dict[str, list[float]]:
    """Relative errors of the calibrated profile against the measurements, by regime."""
    decode = [(point.batch, decode_time_ms(profile, point) / point.token_ms - 1) for point in measured]
    prompts = [point for point in measured if point.batch == 1 and 512 <= point.prompt <= 2048]
    return {
        f"decode, batch <= {CALIBRATION_BATCH}": [error for batch, error in decode if batch <= CALIBRATION_BATCH],
        f"decode, batch > {CALIBRATION_BATCH}": [error for batch, error in decode if batch > CALIBRATION_BATCH],
        "one prompt of 512-2048 tokens": [prefill_time_ms(profile, p) / p.prompt_ms - 1 for p in prompts],
    }


def decode_time_ms(profile: HardwareProfile, point: Point) -> float:
    """The profile's decode time at the mean context of the measured run, prompt + output / 2."""
    kv_tokens = point.batch * (point.prompt + point.output // 2)
    return profile.to_integers(1).iteration_ps(0, 0, point.batch, kv_tokens) / PS_PER_MS


def prefill_time_ms(profile: HardwareProfile, point: Point) -> float:
    tokens = point.batch * point.prompt
    return profile.to_integers(1).iteration_ps(tokens, tokens * point.prompt, 0, 0) / PS_PER_MS


def read_knots(path: Path) -> dict[str, list[tuple[int, float]]]:
    knots: dict[str, list[tuple[int, float]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            knots[row["config"]].append((int(row["num_tokens"]), float(row["linear_ms"])))
    return {config: sorted(pairs) for config, pairs in knots.items()}


def end_to_end_bands(readme: Path) -> str:
    """The README's own sentence on how low the sums are, so that it is copied and not typed."""
    text = readme.read_text(encoding="utf-8")
    start = text.index("decode, batch up to 16:")
    return " ".join(text[start : text.index("\n", start)].split())


def read_splitwise(path: Path, config: str) -> list[Point]:
    """Medians over the repetitions of each setting of this pair; empty where it was not measured."""
    gpu, model, parallel = config.split("/")
    pair = (SPLITWISE_MODELS.get(model), GPUS[gpu].splitwise, parallel.removeprefix("tp"))
    groups: dict[tuple[int, int, int], list[tuple[float, float]]] = defaultdict(list)
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if (row["model"], row["hardware"], row["tensor_parallel"]) == pair:
                setting = (int(row["prompt_size"]), int(row["batch_size"]), int(row["token_size"]))
                groups[setting].append((float(row["token_time"]), float(row["prompt_time"])))
    return [
        Point(*setting, *(statistics.median(times) for times in zip(*rows, strict=True)))
        for setting, rows in sorted(groups.items())
    ]


def compact(text: str) -> str:
    """Put lists of numbers on one line."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        if inside:
            lines[-1] += line.strip()
        else:
            lines.append(line)
        inside = line.endswith("[") or (inside and not line.strip().startswith("]"))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
