"""`llmqgym bound`: what it prints and writes, and how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner, Result

from llmqgym.cli.app import app


def cli(*args: object) -> Result:
    return CliRunner().invoke(app, ["bound", *(str(arg) for arg in args)])


def test_it_prints_each_bound_the_best_and_the_policy(tmp_path: Path) -> None:
    out = tmp_path / "b.json"
    result = cli("--scenario", "textbook-queue", "--requests", 300, "--policy", "srpt:mode=hold", "--json", out)
    assert result.exit_code == 0, result.output
    for word in ("alone", "shortest first", "mean busy", "crowding", "best", "srpt:mode=hold", "best / policy"):
        assert word in result.stdout
    document = json.loads(out.read_text())
    assert document["best"]["e2e_s"] == max(document["bounds"]["e2e_s"].values())
    assert 0.9 < document["share_of_policy"]["e2e_s"] <= 1
    assert document["num_requests"] == 300


def test_a_load_makes_the_bounds_larger() -> None:
    light, heavy = (json.loads(cli("--requests", 2000, "--rho", rho, "--json", "-").stdout) for rho in (0.3, 0.95))
    assert light["policy"] is None
    assert light["best"]["e2e_s"] < heavy["best"]["e2e_s"]


def test_an_unfinished_run_shows_no_gap() -> None:
    server = "max_batched_tokens=8,chunked_prefill=false"
    result = cli("--requests", 20, "--rate", 5, "--server", server, "--policy", "scenario")
    assert result.exit_code == 0, result.output
    assert "no gap is shown" in result.stdout


def test_nothing_that_fits_is_refused() -> None:
    result = cli("--requests", 5, "--rate", 5, "--server", "num_kv_blocks=1")
    assert result.exit_code == 2
    assert "nothing to bound" in result.stderr
