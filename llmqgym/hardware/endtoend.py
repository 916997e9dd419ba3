"""Profiles against end-to-end measurements, with and without LM head and overhead: what a sum of operators misses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from llmqgym.hardware.integers import IntegerProfile
from llmqgym.hardware.profile import PS_PER_MS, HardwareProfile
from llmqgym.hardware.samples import Point, config_of

NOTE = (
    "against Splitwise's end-to-end measurements (Llama-2-70B on a 2023 stack, medians of repetitions): bare is the "
    "composed sum, full has lm_head_ms and overhead_ms too"
)
#: What the short table shows: decode by batch at this setting, prefill of one request by prompt.
SHOWN_PROMPT, SHOWN_OUTPUT = 512, 128


def end_to_end(profiles: Iterable[HardwareProfile], measured: dict[str, list[Point]]) -> list[dict[str, Any]]:
    """One row for each profile whose pair was measured, each phase and each setting.

    A row has profile, phase ('prefill' or 'decode'), prompt_tokens, batch, output_tokens, measured_ms, bare_ms,
    full_ms, and the errors of both, ms / measured - 1.
    """
    rows = []
    for profile in profiles:
        bare, full = (each.to_integers(1) for each in (replace(profile, lm_head_ms=0.0, overhead_ms=0.0), profile))
        for phase in ("prefill", "decode"):
            for point in measured.get(config_of(profile), ()):
                rows.append({"profile": profile.name, "phase": phase, **_row(bare, full, phase, point)})
    return rows


def is_shown(row: dict[str, Any]) -> bool:
    """Whether the short table shows this row."""
    if row["output_tokens"] != SHOWN_OUTPUT:
        return False
    return bool(row["batch"] == 1 if row["phase"] == "prefill" else row["prompt_tokens"] == SHOWN_PROMPT)


def decode_time_ms(integers: IntegerProfile, point: Point) -> float:
    """The profile's decode time at the mean context of the measured run, prompt + output / 2."""
    kv_tokens = point.batch * (point.prompt + point.output // 2)
    return integers.iteration_ps(0, 0, point.batch, kv_tokens) / PS_PER_MS


def prefill_time_ms(integers: IntegerProfile, point: Point) -> float:
    """The profile's time for all prompts of the batch in one pass."""
    tokens = point.batch * point.prompt
    return integers.iteration_ps(tokens, tokens * point.prompt, 0, 0) / PS_PER_MS


def _row(bare: IntegerProfile, full: IntegerProfile, phase: str, point: Point) -> dict[str, Any]:
    time_of = prefill_time_ms if phase == "prefill" else decode_time_ms
    measured_ms = point.prompt_ms if phase == "prefill" else point.token_ms
    bare_ms, full_ms = time_of(bare, point), time_of(full, point)
    return {
        "prompt_tokens": point.prompt,
        "batch": point.batch,
        "output_tokens": point.output,
        "measured_ms": measured_ms,
        "bare_ms": bare_ms,
        "bare_error": bare_ms / measured_ms - 1.0,
        "full_ms": full_ms,
        "full_error": full_ms / measured_ms - 1.0,
    }
