"""The public measurements that profiles are held against, read strictly: composed samples and end-to-end times."""

from __future__ import annotations

import csv
import gzip
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from llmqgym.errors import InputError
from llmqgym.hardware.profile import HardwareProfile

SAMPLES, MEASURED = "sampled_iteration_times.csv.gz", "splitwise_measured.csv.gz"
SAMPLE_COLUMNS = (
    "config", "prefill_tokens", "prefill_prior_kv", "decode_batch", "decode_kv_tokens", "kind", "iter_ms",
)  # fmt: skip
MEASURED_COLUMNS = (
    "model", "hardware", "tensor_parallel", "prompt_size", "batch_size", "token_size", "prompt_time", "token_time",
)  # fmt: skip
#: Names of the measured models and GPUs there, and here.
_MEASURED_MODELS = {"llama2-70b": "Llama-2-70b-hf"}
_MEASURED_GPUS = {"a100-80gb": "a100", "h100-80gb": "h100"}

Row = dict[str, Any]
Read = TypeVar("Read")


class Sample(NamedTuple):
    """One iteration: p prefill tokens after k in the cache, B decodes holding S KV tokens, and its time."""

    kind: str  #: 'decode', 'prefill' or 'mixed'
    prefill_tokens: int
    prefill_prior_kv: int
    decode_batch: int
    decode_kv_tokens: int
    iter_ms: float


class Point(NamedTuple):
    """One end-to-end setting: tokens of prompt and output, requests in the batch, and the medians of its times."""

    prompt: int
    batch: int
    output: int
    prompt_ms: float  #: until the first token
    token_ms: float  #: for each further one


def config_of(profile: HardwareProfile) -> str:
    """The name of the profile's pair in the samples, e.g. 'a100/Meta-Llama-3-8B/tp1'."""
    return f"{profile.gpu}/{profile.model}/tp{profile.tensor_parallel}"


def read_samples(path: Path) -> dict[str, list[Sample]]:
    """Samples by config from a .csv or .csv.gz. Raises InputError with the line."""
    samples: dict[str, list[Sample]] = defaultdict(list)
    for config, sample in _read(path, SAMPLE_COLUMNS, _sample):
        samples[config].append(sample)
    return dict(samples)


def read_measured(path: Path) -> dict[str, list[Point]]:
    """Points by config from Splitwise's measurements, each the median over its repetitions; other models are left out.

    Raises InputError with the line.
    """
    times: dict[tuple[str, tuple[int, ...]], list[tuple[float, float]]] = defaultdict(list)
    for key, both in _read(path, MEASURED_COLUMNS, _measurement):
        if key is not None:
            times[key].append(both)
    points: dict[str, list[Point]] = defaultdict(list)
    for (config, (prompt, batch, output)), rows in sorted(times.items()):
        medians = [statistics.median(column) for column in zip(*rows, strict=True)]
        points[config].append(Point(prompt, batch, output, *medians))
    return dict(points)


def _read(path: Path, columns: tuple[str, ...], convert: Callable[[Row], Read]) -> list[Read]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as file:
            return _parse(path, file, columns, convert)
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read samples {str(path)!r} ({error}): name a .csv or .csv.gz file.") from error


def _parse(path: Path, lines: Iterable[str], columns: tuple[str, ...], convert: Callable[[Row], Read]) -> list[Read]:
    reader = csv.DictReader(lines)
    missing = [column for column in columns if column not in (reader.fieldnames or ())]
    if missing:
        raise InputError(f"samples {str(path)!r} lack the columns {', '.join(missing)}: the header is {columns}.")
    rows = []
    for row in reader:
        try:
            rows.append(convert(row))
        except (TypeError, ValueError) as error:
            raise InputError(f"samples {str(path)!r}, line {reader.line_num}: {error}: correct it.") from error
    return rows


def _sample(row: Row) -> tuple[str, Sample]:
    p, k, batch, kv_tokens = (_count(row, column) for column in SAMPLE_COLUMNS[1:5])
    return row["config"], Sample(row["kind"], p, k, batch, kv_tokens, _time(row, "iter_ms"))


def _measurement(row: Row) -> tuple[tuple[str, tuple[int, ...]] | None, tuple[float, float]]:
    """The config (None: not ours) with the setting, and the two times."""
    setting = tuple(_count(row, column) for column in ("prompt_size", "batch_size", "token_size"))
    ways, times = _count(row, "tensor_parallel"), (_time(row, "prompt_time"), _time(row, "token_time"))
    model, gpu = _MEASURED_MODELS.get(row["model"]), _MEASURED_GPUS.get(row["hardware"])
    return (None if model is None or gpu is None else (f"{gpu}/{model}/tp{ways}", setting)), times


def _count(row: Row, column: str) -> int:
    count = int(row[column])
    if count < 0:
        raise ValueError(f"{column} is {count}, counts must be >= 0")
    return count


def _time(row: Row, column: str) -> float:
    time = float(row[column])
    if not 0.0 < time < float("inf"):
        raise ValueError(f"{column} is {time}, {column} > 0 and finite is wanted")
    return time
