"""The environment's C twin (env_twin.c): compiled against the layout of the kernel's records, and held against it."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from c_twin import FLAGS, HERE, BenchmarkError

from llmqgym.env.config import make_config
from llmqgym.env.servers import Servers
from llmqgym.kernel import tables
from llmqgym.kernel.act import act

_RECORDS = ("ARRIVAL", "REQUEST", "HIDDEN", "ENTRY", "CHUNK", "DEPARTURE", "PROFILE", "SIMULATOR", "AGENT")
COLUMNS = ("servers", "C, ns a decision", "kernel, ns a decision", "x C")
SIZES = (64, 256, 1024)
CHECKED_STEPS, ROUNDS, STEPS = 600, 11, 60


def record_in_c(name: str) -> str:
    """A C type with the fields of a table at the same places."""
    dtype = getattr(tables, name)
    fields = []
    for field, (kind, offset, *_) in dtype.fields.items():
        base, shape = kind.subdtype or (kind, ())
        if base.itemsize != 8 or offset % 8:
            raise BenchmarkError(f"{field} of {name} is no word of eight bytes: teach env_twin.py its type.")
        fields.append(f"{'double' if base.kind == 'f' else 'int64_t'} {field}{''.join(f'[{n}]' for n in shape)};")
    size = f'_Static_assert(sizeof({name}_t) == {dtype.itemsize}, "{name}");'
    align = f" __attribute__((aligned({tables.CACHE_LINE_BYTES})))" if dtype.itemsize % 64 == 0 else ""
    return f"typedef struct{align} {{ {' '.join(fields)} }} {name}_t;\n{size}\n"


class EnvTwin:
    """benchmarks/env_twin.c, compiled and loaded. Raises BenchmarkError without a C compiler."""

    def __init__(self) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            raise BenchmarkError("no C compiler (cc, gcc or clang) on the PATH.")
        with tempfile.TemporaryDirectory(prefix="llmqgym-twin-") as folder:
            source, library = Path(folder) / "env_twin.c", Path(folder) / "env_twin.so"
            types = "".join(record_in_c(name) for name in _RECORDS)
            text = (HERE / "env_twin.c").read_text(encoding="utf-8")
            source.write_text(f"#include <stdint.h>\n{types}{text}", encoding="utf-8")
            command = [compiler, *FLAGS, "-o", str(library), str(source), "-lm"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise BenchmarkError(f"{' '.join(command)} failed:\n{done.stderr}")
            self._act = ctypes.CDLL(str(library)).env_twin_act

    def act(self, agents: np.ndarray) -> None:
        """Step the servers. Raises BenchmarkError for what the twin does not know."""
        if self._act(ctypes.c_void_p(agents.ctypes.data), ctypes.c_int64(len(agents))):
            raise BenchmarkError("the twin met what it does not know.")


def make_servers(num: int, num_requests: int) -> Servers:
    """At their first decision, each with arrivals of its own."""
    servers = Servers(make_config(scenario="chat", num_requests=num_requests), num)
    for place in range(num):
        servers.begin(place, np.random.default_rng(place))
    return servers


def check(twin: EnvTwin, num: int = 8) -> None:
    """The same arrivals and commands (the oldest where it may enter; now and then one that is not allowed) on both:
    raises BenchmarkError unless every observation, mask, term and reward has the same bits."""
    ours, theirs = make_servers(num, 300), make_servers(num, 300)
    rng = np.random.default_rng(0)
    for step in range(CHECKED_STEPS):
        commands = np.where(rng.random(num) < 0.1, rng.integers(0, 17, num), ours.masks[:, 1])
        for servers in (ours, theirs):
            servers.agents["command"] = commands
        act(ours.agents)
        twin.act(theirs.agents)
        for name in ("observations", "masks", "terms"):
            if getattr(ours, name).tobytes() != getattr(theirs, name).tobytes():
                raise BenchmarkError(f"{name} differ in step {step}.")
        for name in ("reward", "dt_ps", "outcome", "invalid"):
            if ours.agents[name].tobytes() != theirs.agents[name].tobytes():
                raise BenchmarkError(f"{name} differs in step {step}.")


def _timed(step: Any, servers: Servers) -> float:
    """Seconds of processor time a decision: the oldest is admitted wherever it may be."""
    total = 0.0
    for _ in range(STEPS):
        servers.agents["command"] = servers.masks[:, 1]
        began = time.process_time()
        step(servers.agents)
        total += time.process_time() - began
    return total / STEPS / len(servers)


def rows() -> list[tuple[str, ...]]:
    """The rows of the table: both on servers of their own in the same states, in turn, the best of the rounds."""
    twin = EnvTwin()
    check(twin)
    found = []
    for num in SIZES:
        servers = {step: make_servers(num, 1500) for step in (twin.act, act)}
        best = dict.fromkeys(servers, float("inf"))
        for _ in range(ROUNDS):
            for step, its in servers.items():
                best[step] = min(best[step], _timed(step, its))
        c, kernel = best[twin.act], best[act]
        found.append((f"{num:,}", f"{1e9 * c:.0f}", f"{1e9 * kernel:.0f}", f"{kernel / c:.2f}"))
    return found


if __name__ == "__main__":
    for row in [COLUMNS, *rows()]:
        print(*row, sep=" | ")
