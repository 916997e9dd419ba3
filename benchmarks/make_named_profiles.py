"""Make llmqgym/hardware/named/*.json, the nine shipped profiles, from the figures in shared/profiles.

    PYTHONPATH=. .venv/bin/python benchmarks/make_named_profiles.py [--source ../shared/profiles]

Run from the repository's root; it rewrites the nine files and prints how far each is from the samples. Everything is
taken from that folder (fits.json, token_tables.csv, splitwise_measured.csv.gz, README.md) and from the tables of GPUs
and models in llmqgym/hardware.

Two terms are not in those fits, and a profile carries them apart:

* `lm_head_ms`: llmqgym.hardware.roofline.lm_head_ms.
* `overhead_ms`: for the two pairs that Splitwise measured end to end (Llama-2-70B, tp4) the median over its decode
  points of batch <= 16 of (measured - table - attention - LM head), not below 0. For the other pairs 0, and it says so.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from llmqgym.hardware.check import check_all
from llmqgym.hardware.documents import profile_from, text_of
from llmqgym.hardware.endtoend import decode_time_ms, prefill_time_ms
from llmqgym.hardware.gpus import PCIE_4, PCIE_5, Gpu, find_gpu
from llmqgym.hardware.models import Model, published_model
from llmqgym.hardware.profile import DEFAULT_HOST_MEMORY_BYTES, HardwareProfile
from llmqgym.hardware.roofline import LM_HEAD_EFFICIENCY, lm_head_ms
from llmqgym.hardware.samples import MEASURED, Point, read_measured

NAMED = Path(__file__).resolve().parents[1] / "llmqgym" / "hardware" / "named"
#: Point batches over which the overhead is calibrated; README: beyond, the sums miss more than an overhead.
CALIBRATION_BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path("../shared/profiles"), help="folder of the figures")
    source = parser.parse_args().source
    fits = json.loads((source / "fits.json").read_text(encoding="utf-8"))
    knots = read_knots(source / "token_tables.csv")
    bands = end_to_end_bands(source / "README.md")
    measured = read_measured(source / MEASURED)
    NAMED.mkdir(exist_ok=True)
    for config, fit in fits.items():
        document = make_document(config, fit, knots[config], bands)
        calibrate(document, measured.get(config, []))
        (NAMED / f"{document['name']}.json").write_text(text_of(document), encoding="utf-8")
    for row in check_all(source):
        print(f"{row['name']:26} n {row['n']:5} mean {row['mean']:.2%} p95 {row['p95']:.2%} max {row['max']:.2%}")


def make_document(config: str, fit: dict[str, Any], knots: list[tuple[int, float]], bands: str) -> dict[str, Any]:
    """The document of one pair, its overhead still 0."""
    gpu_name, model_name, parallel = config.split("/")
    gpu, model, tensor_parallel = find_gpu(gpu_name), published_model(model_name), int(parallel.removeprefix("tp"))
    name = f"{gpu_name}-{model.name}" + (f"-tp{tensor_parallel}" if tensor_parallel > 1 else "")
    return {
        "name": name,
        "kind": "token_table",
        "origin": "composed",
        "source": source_text(config, gpu, tensor_parallel),
        "known_error": (
            f"The sums without LM head and overhead against end-to-end measurements of a 2023 stack: {bands}"
            + does_not_fit(gpu, model, tensor_parallel)
        ),
        "gpu": gpu_name,
        "model": model_name,
        "tensor_parallel": tensor_parallel,
        "kv_token_capacity": fit["kv_token_cap"],
        "kv_bytes_per_token": model.kv_bytes_per_token(),
        "link_bytes_per_s": gpu.link_bytes_per_s * tensor_parallel,
        "host_memory_bytes": DEFAULT_HOST_MEMORY_BYTES,
        "max_context_tokens": fit["max_ctx"],
        "max_batch_tokens": knots[-1][0],
        "lm_head_ms": round(lm_head_ms(gpu, model, tensor_parallel), 6),
        "overhead_ms": 0.0,
        "kinds": {"token_table": table_block(fit["fits"], knots), "linear": linear_block(fit["fits"])},
    }


def source_text(config: str, gpu: Gpu, tensor_parallel: int) -> str:
    scaled = " (H100 Llama-3-8B scaled from H100 Llama-2-7B)" if config.startswith("h100/Meta-Llama-3-8B") else ""
    return (
        f"{config}: linear operators from microsoft/vidur's per-operator profiles (MIT, MLSys'24){scaled}; "
        "attention from NVIDIA AIConfigurator 0.12.0 (Apache-2.0), vLLM FlashAttention; "
        "composed per operator, fitted by least squares. LM head: 2 bytes x vocabulary x hidden / tp "
        f"at {LM_HEAD_EFFICIENCY:.0%} of {gpu.memory_bytes_per_s / 1e12:g} TB/s. "
        f"Host link: {link_text(gpu, tensor_parallel)}."
    )


def link_text(gpu: Gpu, tensor_parallel: int) -> str:
    link = {PCIE_4: "PCIe 4.0 x16", PCIE_5: "PCIe 5.0 x16"}[gpu.link_bytes_per_s]
    return link if tensor_parallel == 1 else f"{link} of each of the {tensor_parallel} GPUs, all at once"


def does_not_fit(gpu: Gpu, model: Model, tensor_parallel: int) -> str:
    """A warning for the pairs whose weights no real server of this kind could hold."""
    weight_bytes = model.weight_bytes()
    memory_bytes = gpu.memory_bytes * tensor_parallel
    if weight_bytes < memory_bytes:
        return ""
    return (
        f" Hypothetical: {weight_bytes / 1e9:.0f} GB of weights do not fit in {memory_bytes / 1e9:.0f} GB; "
        "the times and the KV capacity are as if they did."
    )


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
    integers = bare.to_integers(1)
    small = [point for point in measured if point.batch <= CALIBRATION_BATCH]
    misses = [point.token_ms - decode_time_ms(integers, point) for point in small]
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
    integers = profile.to_integers(1)
    decode = [(point.batch, decode_time_ms(integers, point) / point.token_ms - 1) for point in measured]
    prompts = [point for point in measured if point.batch == 1 and 512 <= point.prompt <= 2048]
    return {
        f"decode, batch <= {CALIBRATION_BATCH}": [error for batch, error in decode if batch <= CALIBRATION_BATCH],
        f"decode, batch > {CALIBRATION_BATCH}": [error for batch, error in decode if batch > CALIBRATION_BATCH],
        "one prompt of 512-2048 tokens": [prefill_time_ms(integers, p) / p.prompt_ms - 1 for p in prompts],
    }


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


if __name__ == "__main__":
    main()
