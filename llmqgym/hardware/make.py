"""Make a profile of a GPU and a model: from AIConfigurator's tables where they have the pair, else from a roofline."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from llmqgym.errors import InputError, unknown
from llmqgym.hardware.aiconfigurator import MeasuredOperators, NotInTables, release
from llmqgym.hardware.capacity import kv_token_capacity
from llmqgym.hardware.deviation import against_shipped, errors_over, in_words
from llmqgym.hardware.documents import Document, profile_from
from llmqgym.hardware.gpus import GPUS, Gpu, find_gpu
from llmqgym.hardware.models import BYTES, MODELS, find_model, published_model
from llmqgym.hardware.profile import DEFAULT_HOST_MEMORY_BYTES, HardwareProfile
from llmqgym.hardware.roofline import ALL_REDUCE_2023_MS, ALL_REDUCE_MS, LM_HEAD_EFFICIENCY, Roofline, lm_head_ms
from llmqgym.hardware.shard import Operators, Shard, check_ways, token_table

MAKERS = ("aiconfigurator", "roofline")
SOURCES = ("auto", *MAKERS)
#: The pairs on which the two makers are compared.
COMPARED = (("llama-3.1-8b", 1), ("llama-3.1-70b", 2), ("llama-3.1-70b", 4), ("llama-3.1-70b", 8))


class Made(NamedTuple):
    """A made profile: its document, which source it is from and why that one."""

    document: Document
    source: str  #: 'aiconfigurator' or 'roofline'
    why: str


def make_profile(
    gpu: str,
    model: str,
    *,
    tensor_parallel: int = 1,
    weight_precision: str = "bf16",
    kv_precision: str = "bf16",
    memory_utilisation: float = 0.9,
    source: str = "auto",
) -> Made:
    """A profile document for `gpu` and `model`, names of gpus.GPUS and models.MODELS.

    Precisions are 'bf16' or 'fp8'; `memory_utilisation` is the share of the memory for weights, activations and KV
    cache, in (0, 1]; `source` is one of SOURCES. Raises InputError for an unknown name, a tp that does not divide the
    model, weights that do not fit, or tables that are asked for and lack the pair.
    """
    for kind, name in (("weight precision", weight_precision), ("kv precision", kv_precision)):
        if name not in BYTES:
            raise unknown(kind, name, BYTES)
    if source not in SOURCES:
        raise unknown("source", source, SOURCES)
    specification, shape = find_gpu(gpu), find_model(model)
    check_ways(shape, tensor_parallel)
    shard = Shard(shape, tensor_parallel, weight_precision, kv_precision)
    capacity = kv_token_capacity(specification, shard, memory_utilisation)
    block, fit, chosen, why = _times(Roofline(specification, shard), source)
    document = _document(specification, shard, block, chosen)
    document["kv_token_capacity"] = capacity
    document["source"] += f" KV capacity: {memory_utilisation:g} of the memory less weights and activations."
    document["known_error"] = " ".join(filter(None, (_known_error(chosen), _beyond(specification, shard, chosen), fit)))
    return Made(document, chosen, why)


def twin_of(profile: HardwareProfile, maker: str) -> HardwareProfile:
    """The profile that `maker`, 'aiconfigurator' or 'roofline', makes for the pair of a shipped one.

    A roofline takes the all-reduce of the stack behind the shipped ones, not today's. The profile knows no capacity, so
    that a pair whose weights do not fit has one too. Raises InputError for another maker, NotInTables where the tables
    lack the pair.
    """
    return _unlimited(profile.gpu, profile.model, profile.tensor_parallel, maker, ALL_REDUCE_2023_MS)


def measured_twins(configs: Iterable[str], maker: str) -> list[HardwareProfile]:
    """The profiles that `maker` makes for pairs named as in the samples, e.g. 'a100/Llama-2-70b-hf/tp2'."""
    parts = (config.split("/") for config in configs)
    return [
        _unlimited(gpu, model, int(ways.removeprefix("tp")), maker, ALL_REDUCE_2023_MS) for gpu, model, ways in parts
    ]


def roofline_against_tables() -> list[dict[str, Any]]:
    """Errors of the roofline against the profiles from AIConfigurator's tables, on every GPU that has them.

    One row for each GPU and pair of COMPARED: gpu, model, tensor_parallel, and the errors by kind of iteration.
    Raises NotInTables when the tables are not installed.
    """
    rows = []
    for gpu in (gpu for gpu in GPUS.values() if gpu.tables):
        for name, ways in COMPARED:
            measured, bound = (_unlimited(gpu.name, MODELS[name].published, ways, maker) for maker in MAKERS)
            rows.append({"gpu": gpu.name, "model": name, "tensor_parallel": ways, **errors_over([(measured, bound)])})
    return rows


def _unlimited(
    gpu: str, published: str, tensor_parallel: int, maker: str, all_reduce_latency_ms: float = ALL_REDUCE_MS
) -> HardwareProfile:
    if maker not in MAKERS:
        raise unknown("maker", maker, MAKERS)
    specification = find_gpu(gpu)
    shard = Shard(published_model(published), tensor_parallel, "bf16", "bf16")
    roofline = Roofline(specification, shard, all_reduce_latency_ms=all_reduce_latency_ms)
    operators: Operators = roofline if maker == "roofline" else MeasuredOperators(roofline)
    return profile_from(_document(specification, shard, token_table(shard, operators)[0], maker))


def _times(roofline: Roofline, source: str) -> tuple[Document, str, str, str]:
    """The table block, how well its attention fits, the source it is from and why."""
    if source == "roofline":
        return *token_table(roofline.shard, roofline), source, "asked for"
    try:
        block, fit = token_table(roofline.shard, MeasuredOperators(roofline))
    except NotInTables as missing:
        if source == "aiconfigurator":
            raise InputError(f"{missing}: --source roofline needs no tables.") from missing
        return *token_table(roofline.shard, roofline), "roofline", str(missing)
    return block, fit, "aiconfigurator", f"release {release()} has this GPU, these heads and this tp"


def _document(gpu: Gpu, shard: Shard, block: Document, source: str) -> Document:
    """Everything but the KV capacity and the known error."""
    model, ways = shard.model, shard.tensor_parallel
    return {
        "name": _name(gpu, shard),
        "kind": "token_table",
        "origin": "derived" if source == "roofline" else "composed",
        "source": f"{gpu.name}/{model.published}/tp{ways}: {_source_text(gpu, shard, source)}",
        "known_error": "",
        "gpu": gpu.name,
        "model": model.published,
        "tensor_parallel": ways,
        "kv_bytes_per_token": model.kv_bytes_per_token(shard.kv_precision, ways),
        "link_bytes_per_s": gpu.link_bytes_per_s * ways,
        "host_memory_bytes": DEFAULT_HOST_MEMORY_BYTES,
        "max_context_tokens": model.max_context_tokens,
        "max_batch_tokens": block["knots_tokens"][-1],
        "lm_head_ms": round(lm_head_ms(gpu, model, ways), 6),
        "overhead_ms": 0.0,
        "kinds": {"token_table": block},
    }


def _name(gpu: Gpu, shard: Shard) -> str:
    parts = [gpu.name, shard.model.name]
    parts += [f"tp{shard.tensor_parallel}"] * (shard.tensor_parallel > 1)
    parts += [shard.weight_precision] * (shard.weight_precision != "bf16")
    parts += [f"kv-{shard.kv_precision}"] * (shard.kv_precision != "bf16")
    return "-".join(parts)


def _source_text(gpu: Gpu, shard: Shard, source: str) -> str:
    numbers = f"weights {shard.weight_precision}, KV cache {shard.kv_precision}"
    head = f"LM head at {LM_HEAD_EFFICIENCY:.0%} of {gpu.memory_bytes_per_s / 1e12:g} TB/s"
    links = f"host links {shard.tensor_parallel} x {gpu.link_bytes_per_s / 1e9:g} GB/s"
    if source == "roofline":
        return f"roofline from the {gpu.source} and the model's config.json; {numbers}; {head}; {links}."
    return (
        f"matrices, attention and all-reduce from NVIDIA AIConfigurator {release()} (Apache-2.0), vLLM; norms and "
        f"activations from a roofline ({gpu.source}); composed per operator; {numbers}; {head}; {links}."
    )


@cache
def _known_error(source: str) -> str:
    """How far the profiles of this source are from the shipped ones, computed anew whenever one is made."""
    errors = against_shipped(lambda profile: twin_of(profile, source))
    measured = "its constants are fitted to those" if source == "roofline" else "A100 and H100, older kernels"
    return (
        f"The same maker against the {errors['num_profiles']} shipped profiles ({measured}): {in_words(errors)}. "
        "Other GPUs and models: not held against measurements. "
        "overhead_ms is 0: set it for an engine whose CPU side shows."
    )


def _beyond(gpu: Gpu, shard: Shard, source: str) -> str:
    """What the roofline cannot know of this pair."""
    if source != "roofline" or shard.tensor_parallel == 1:
        return ""
    latency_ms, older_ms = (2 * shard.model.layers * latency for latency in (ALL_REDUCE_MS, ALL_REDUCE_2023_MS))
    text = (
        f"{latency_ms:.1f} ms of every iteration are the latency of all-reduces in CUDA graphs; in the error above "
        f"they have that of the shipped profiles' 2023 stack, which would be {older_ms:.1f} ms here."
    )
    if gpu.peer_bytes_per_s == gpu.link_bytes_per_s and shard.tensor_parallel > 2:
        text += " More than two GPUs on PCIe share its switches: prefills take two to five times as long as here."
    return text
