"""The kernel makes the very decisions of the real vLLM scheduler: every log, step by step, without a mismatch."""

from __future__ import annotations

import gzip
from functools import partial
from pathlib import Path

from llmqgym.errors import InputError
from llmqgym.validation.beside import beside
from llmqgym.validation.check import Check, Measured
from llmqgym.validation.vllm_logs import GOLDEN, mismatches, names_in, read_log

GROUP = "vllm"


def golden(name: str, quick: bool) -> Measured:
    """Differences from a log of the project."""
    log = read_log(name)
    found = mismatches(log)
    return Measured(len(found), note=found[0][:300] if found else f"{len(log.steps):,} steps")


def others(quick: bool) -> Measured:
    """Differences from the logs beside the project that are not among its own; asynchronous ones are left out."""
    folder = beside("vllm_reference")
    found: list[str] = []
    same = asynchronous = compared = 0
    for name in names_in(folder):
        if _is_ours(name, folder):
            same += 1
            continue
        log = read_log(name, folder)
        if log.params.get("async_scheduling"):
            asynchronous += 1
            continue
        compared += 1
        try:
            found += mismatches(log)
        except InputError as error:
            found.append(f"{name}: {error}")
    note = f"{compared} other logs, {same} that the project has, {asynchronous} of asynchronous scheduling left out"
    return Measured(len(found), note="; ".join([note, *(line[:300] for line in found[:1])]))


def _is_ours(name: str, folder: Path) -> bool:
    ours, theirs = (base / f"{name}.jsonl.gz" for base in (GOLDEN, folder))
    return ours.exists() and _unzipped(ours) == _unzipped(theirs)


def _unzipped(path: Path) -> bytes:
    with gzip.open(path) as file:
        return file.read()


CHECKS = (
    *(
        Check(
            group=GROUP,
            name=f"mismatches of log {name}",
            source="vLLM 0.33 scheduler, golden/README.md",
            expected=0,
            tolerance=0,
            quick_tolerance=0,
            measure=partial(golden, name),
        )
        for name in names_in(GOLDEN)
    ),
    Check(
        group=GROUP,
        name="mismatches of other logs in ../shared/vllm_reference",
        source="vLLM 0.33 scheduler, vllm_reference/README.md",
        expected=0,
        tolerance=0,
        quick_tolerance=0,
        measure=others,
        cost_s=5,
    ),
)
