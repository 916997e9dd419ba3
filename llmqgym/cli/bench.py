"""`llmqgym bench`: the speed measurements of the source checkout."""

from __future__ import annotations

import typer


def bench(context: typer.Context) -> None:
    """Measure the simulator's speed (needs a source checkout); further arguments go to benchmarks/speed.py."""
    import runpy
    import sys
    from pathlib import Path

    import llmqgym
    from llmqgym.errors import InputError

    checkout = Path(llmqgym.__file__).resolve().parent.parent
    script = checkout / "benchmarks" / "speed.py"
    if not script.is_file():
        raise InputError(f"there is no {script}: benchmarks need a source checkout: clone it and run them there.")
    sys.argv = [str(script), *context.args]
    sys.path[:0] = [str(checkout), str(script.parent)]
    runpy.run_path(str(script), run_name="__main__")
