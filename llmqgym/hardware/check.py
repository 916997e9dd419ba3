"""How well profiles meet the public figures: the samples they were fitted to, and end-to-end measurements."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from llmqgym.errors import unknown
from llmqgym.hardware.aiconfigurator import has_tables
from llmqgym.hardware.documents import named_profiles
from llmqgym.hardware.endtoend import NOTE as END_TO_END_NOTE
from llmqgym.hardware.endtoend import end_to_end
from llmqgym.hardware.integers import IntegerProfile
from llmqgym.hardware.make import measured_twins, roofline_against_tables, twin_of
from llmqgym.hardware.profile import PS_PER_MS, HardwareProfile
from llmqgym.hardware.registry import load_profile
from llmqgym.hardware.samples import MEASURED, SAMPLES, Sample, config_of, read_measured, read_samples

NOTE = "compared without lm_head_ms and overhead_ms: the composed samples contain neither"


def check(profile: HardwareProfile, samples_path: str | Path) -> dict[str, Any]:
    """Relative errors of the profile's integer times against the samples of its (gpu, model, tensor parallel).

    Returns name, config, note, n and the mean, p95 and max of |t / sample - 1| as fractions, overall and under
    `by_kind`. Raises InputError when the file cannot be read or has no sample of this pair.
    """
    return _check(profile, read_samples(Path(samples_path)))


def check_all(folder: str | Path) -> list[dict[str, Any]]:
    """`check` of every shipped profile against the samples in `folder`."""
    samples = read_samples(Path(folder) / SAMPLES)
    return [_check(load_profile(name), samples) for name in named_profiles()]


def check_report(folder: str | Path, maker: str | None = None) -> dict[str, Any]:
    """Everything there is to hold profiles against in `folder`: a document of three parts.

    `samples` is check_all; `end_to_end` the shipped profiles against Splitwise's measurements, a row for each setting;
    `made`, where `maker` is 'roofline' or 'aiconfigurator', the same two of the profiles that it makes for the shipped
    pairs and for the measured ones, and `against_tables`, the roofline against AIConfigurator's tables if installed.
    Raises InputError when a file cannot be read or the maker lacks its tables.
    """
    samples = read_samples(Path(folder) / SAMPLES)
    measured = read_measured(Path(folder) / MEASURED)
    shipped = [load_profile(name) for name in named_profiles()]
    report: dict[str, Any] = {
        "note": NOTE,
        "end_to_end_note": END_TO_END_NOTE,
        "samples": [_check(profile, samples) for profile in shipped],
        "end_to_end": end_to_end(shipped, measured),
    }
    if maker is not None:
        report["made"] = {
            "maker": maker,
            "samples": [_check(twin_of(profile, maker), samples) for profile in shipped],
            "end_to_end": end_to_end(measured_twins(measured, maker), measured),
        }
        if maker == "roofline" and has_tables():
            report["made"]["against_tables"] = roofline_against_tables()
    return report


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
