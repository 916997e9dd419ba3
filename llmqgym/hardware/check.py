"""How well a profile's integers meet the sampled iteration times that it was fitted to."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmqgym.errors import InputError, unknown
from llmqgym.hardware.documents import named_profiles
from llmqgym.hardware.integers import IntegerProfile
from llmqgym.hardware.profile import PS_PER_MS, HardwareProfile
from llmqgym.hardware.registry import load_profile

SAMPLES = "sampled_iteration_times.csv.gz"
COLUMNS = ("config", "prefill_tokens", "prefill_prior_kv", "decode_batch", "decode_kv_tokens", "kind", "iter_ms")
NOTE = "compared without lm_head_ms and overhead_ms: the composed samples contain neither"


class Sample(NamedTuple):
    """One iteration: p prefill tokens after k in the cache, B decodes holding S KV tokens, and its time."""

    kind: str  #: 'decode', 'prefill' or 'mixed'
    prefill_tokens: int
    prefill_prior_kv: int
    decode_batch: int
    decode_kv_tokens: int
    iter_ms: float


def check(profile: HardwareProfile, samples_path: str | Path) -> dict[str, Any]:
    """Relative errors of the profile's integer times against the samples of its (gpu, model, tensor parallel).

    Returns name, config, note, n and the mean, p95 and max of |t / sample - 1| as fractions, overall and under
    `by_kind`. Raises InputError when the file cannot be read or has no sample of this pair.
    """
    return _check(profile, _read_samples(Path(samples_path)))


def check_all(folder: str | Path) -> list[dict[str, Any]]:
    """`check` of every shipped profile against the samples in `folder`."""
    samples = _read_samples(Path(folder) / SAMPLES)
    return [_check(load_profile(name), samples) for name in named_profiles()]


def config_of(profile: HardwareProfile) -> str:
    """The name of the profile's pair in the samples, e.g. 'a100/Meta-Llama-3-8B/tp1'."""
    return f"{profile.gpu}/{profile.model}/tp{profile.tensor_parallel}"


def _check(profile: HardwareProfile, samples: dict[str, list[Sample]]) -> dict[str, Any]:
    config = config_of(profile)
    if config not in samples:
        raise unknown(f"config of profile {profile.name!r} in the samples", config, samples)
    rows = samples[config]
    integers = replace(profile, lm_head_ms=0.0, overhead_ms=0.0).to_integers(1)
    errors = np.array([_error(integers, row) for row in rows])
    kinds = np.array([row.kind for row in rows])
    by_kind = {str(kind): _summary(errors[kinds == kind]) for kind in np.unique(kinds)}
    return {"name": profile.name, "config": config, "note": NOTE, **_summary(errors), "by_kind": by_kind}


def _error(integers: IntegerProfile, sample: Sample) -> float:
    two_f = sample.prefill_tokens * (2 * sample.prefill_prior_kv + sample.prefill_tokens)
    time = integers.iteration_ps(sample.prefill_tokens, two_f, sample.decode_batch, sample.decode_kv_tokens)
    return abs(time / PS_PER_MS / sample.iter_ms - 1.0)


def _summary(errors: np.ndarray) -> dict[str, Any]:
    return {
        "n": len(errors),
        "mean": float(errors.mean()),
        "p95": float(np.percentile(errors, 95)),
        "max": float(errors.max()),
    }


def _read_samples(path: Path) -> dict[str, list[Sample]]:
    """Samples by config from a .csv or .csv.gz."""
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            return _parse_samples(path, file)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read samples {str(path)!r} ({error}): name a .csv or .csv.gz file.") from error


def _parse_samples(path: Path, lines: Iterable[str]) -> dict[str, list[Sample]]:
    reader = csv.DictReader(lines)
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"samples {str(path)!r} lack the columns {', '.join(missing)}: the header is {COLUMNS}.")
    samples: dict[str, list[Sample]] = {}
    for row in reader:
        samples.setdefault(row["config"], []).append(_sample(path, reader.line_num, row))
    return samples


def _sample(path: Path, line: int, row: dict[str, Any]) -> Sample:
    try:
        p, k, batch, kv_tokens = (int(row[column]) for column in COLUMNS[1:5])
        iter_ms = float(row["iter_ms"])
    except (TypeError, ValueError) as error:
        raise InputError(f"samples {str(path)!r}, line {line}: {error}: write numbers.") from error
    if min(p, k, batch, kv_tokens) < 0 or not 0.0 < iter_ms < float("inf"):
        raise InputError(f"samples {str(path)!r}, line {line}: counts must be >= 0 and iter_ms > 0: correct it.")
    return Sample(row["kind"], p, k, batch, kv_tokens, iter_ms)
