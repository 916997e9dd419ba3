"""The C twin (twin.c): compiled into a temporary folder, called through ctypes, and compared with the kernel."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from llmqgym.config import ServerConfig
from llmqgym.hardware import IntegerProfile
from llmqgym.kernel import tables
from llmqgym.totals import Totals

HERE = Path(__file__).resolve().parent
FLAGS = ("-O3", "-march=native", "-ffp-contract=off", "-shared", "-fPIC")


class BenchmarkError(RuntimeError):
    """The benchmark cannot run, or its candidates do not agree."""


_SETTINGS = [
    "num_kv_blocks",
    "block_size",
    "max_running",
    "max_batched_tokens",
    "chunked_prefill",
    "long_prefill_token_threshold",
    "watermark_blocks",
    "reserve_full_isl",
    "idle_step_ps",
    "until_ps",
    "base",
    "token",
    "decode_base",
    "decode",
    "kv",
    "prefill_base",
    "root",
    "square",
    "tile",
    "tail",
    "table_len",
    "table",
]
_TOTALS = [
    "outcome",
    "clock_ps",
    "num_iterations",
    "num_events",
    "num_departures",
    "num_finished",
    "num_rejected",
    "processed_tokens",
    "lost_tokens",
    "num_preemptions",
]
_INTEGRALS = ("integral_requests", "integral_running", "integral_kv_blocks")


def _check_layouts(loaded: ctypes.CDLL) -> None:
    for name, dtype in (("arrival", tables.ARRIVAL), ("departure", tables.DEPARTURE)):
        in_c = getattr(loaded, f"twin_{name}_bytes")()
        if in_c != dtype.itemsize:
            raise BenchmarkError(
                f"{name}_t in twin.c has {in_c} bytes, {name.upper()} in kernel/tables.py {dtype.itemsize}: write "
                "the new fields into twin.c."
            )


class _Settings(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in _SETTINGS]


class _Totals(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int64) for name in _TOTALS] + [
        (f"{name}_{half}", ctypes.c_int64) for name in _INTEGRALS for half in ("high", "low")
    ]


class CTwin:
    """benchmarks/twin.c, compiled into a temporary folder and loaded. Raises BenchmarkError without a C compiler."""

    def __init__(self, optimisation: tuple[str, ...] = FLAGS) -> None:
        self.compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if self.compiler is None:
            raise BenchmarkError(
                "no C compiler (cc, gcc or clang) on the PATH: the twin in C, which sets the limit, needs one."
            )
        with tempfile.TemporaryDirectory(prefix="llmqgym-twin-") as folder:
            library = Path(folder) / "twin.so"
            command = [self.compiler, *optimisation, "-o", str(library), str(HERE / "twin.c"), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise BenchmarkError(f"{' '.join(command)} failed:\n{done.stderr}")
            loaded = ctypes.CDLL(str(library))
            _check_layouts(loaded)
            self._run = loaded.twin_run
        version = subprocess.run([self.compiler, "--version"], capture_output=True, text=True, check=False).stdout
        self.description = f"{version.splitlines()[0] if version else self.compiler} {' '.join(optimisation)}"

    def settings(self, server: ServerConfig, profile: IntegerProfile, until_ps: int = tables.HORIZON_PS) -> _Settings:
        """What the twin needs to know; keeps the profile's table alive."""
        blocks = profile.num_kv_blocks if server.num_kv_blocks is None else server.num_kv_blocks
        settings = _Settings(num_kv_blocks=blocks, watermark_blocks=server.watermark_blocks(blocks), until_ps=until_ps)
        settings.idle_step_ps = round(server.idle_step_s * tables.PS_PER_S)
        for name in _SETTINGS[:8]:
            if name not in ("num_kv_blocks", "watermark_blocks"):
                setattr(settings, name, int(getattr(server, name)))
        for name in _SETTINGS[10:20]:
            setattr(settings, name, getattr(profile, name))
        table = np.array(profile.table, np.int64)
        settings.table, settings.table_len = table.ctypes.data, len(table)
        settings._table = table
        return settings

    def run(self, settings: _Settings, requests: np.ndarray) -> tuple[_Totals, np.ndarray]:
        """Simulate; totals and DEPARTURE rows."""
        totals, departures = _Totals(), np.empty(len(requests), tables.DEPARTURE)
        outcome = self._run(
            ctypes.byref(settings), ctypes.c_void_p(requests.ctypes.data), ctypes.c_int64(len(requests)),
            ctypes.c_void_p(departures.ctypes.data), ctypes.byref(totals),
        )  # fmt: skip
        if outcome < 0:
            raise BenchmarkError("the C twin ran out of memory.")
        return totals, departures[: totals.num_departures]


# What a run says, in one form for all candidates.

Facts = dict[str, Any]
_ALIKE = [
    "outcome",
    "clock_ps",
    "num_iterations",
    "num_events",
    "num_finished",
    "num_rejected",
    "processed_tokens",
    "lost_tokens",
]


def facts_of_c(totals: _Totals) -> Facts:
    facts: Facts = {name: getattr(totals, name) for name in _ALIKE}
    facts["outcome"] = tables.Outcome(totals.outcome).name.lower()
    facts["num_preemptions"] = totals.num_preemptions
    for name in _INTEGRALS:
        facts[name] = (getattr(totals, f"{name}_high") << 64) + (getattr(totals, f"{name}_low") & (2**64 - 1))
    return facts


def facts_of_kernel(totals: Totals) -> Facts:
    facts: Facts = {name: getattr(totals, name) for name in (*_ALIKE, *_INTEGRALS)}
    return facts | {"num_preemptions": totals.num_preemptions[0]}


def by_id(rows: np.ndarray) -> np.ndarray:
    return rows[np.argsort(rows["id"], kind="stable")]


def same_departures(a: np.ndarray, b: np.ndarray) -> bool:
    """Bit for bit, nan equal to nan."""
    a, b = by_id(a), by_id(b)
    return len(a) == len(b) and all(
        np.array_equal(a[name], b[name], equal_nan=a[name].dtype.kind == "f") for name in tables.DEPARTURE.names or ()
    )
