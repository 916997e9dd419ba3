"""What a process of its own may be given to do; importable there by name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from llmqgym.errors import InputError


def square(number: int) -> int:
    """Or what befalls those who are not squared."""
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 14:
        raise InputError("14 is out of bounds.")
    if number == 15:
        raise ZeroDivisionError("by nought")
    return number * number


def say_and_wait(path: Path | None) -> int:
    """Write who does this, and go on for ever; at once for None."""
    if path is not None:
        path.with_suffix(".half").write_text(str(os.getpid()))
        os.replace(path.with_suffix(".half"), path)
        while True:
            time.sleep(0.1)
    return 0
