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


def test_prefix_caching_is_bounded_with_its_hits(tmp_path: Path) -> None:
    trace = tmp_path / "shared.csv"
    rows = [f"{i / 50},{400 + i % 7},{3 + i % 5},{i % 2},384" for i in range(200)]
    head = "arrival_time_s,prompt_tokens,output_tokens,prefix_group,prefix_tokens"
    trace.write_text("\n".join([head, *rows]) + "\n")
    run = ("--trace", trace, "--policy", "vllm", "--json", "-", "--server")
    with_hits, without = (cli(*run, f"prefix_caching={flag}") for flag in ("true", "false"))
    assert with_hits.exit_code == without.exit_code == 0, with_hits.output
    hit, whole = json.loads(with_hits.stdout), json.loads(without.stdout)
    assert hit["best"]["ttft_s"] < 0.5 * whole["best"]["ttft_s"]
    assert hit["share_of_policy"]["ttft_s"] <= 1
    assert "ideal hits subtracted" in cli("--trace", trace, "--server", "prefix_caching=true").stdout


def test_nothing_that_fits_is_refused() -> None:
    result = cli("--requests", 5, "--rate", 5, "--server", "num_kv_blocks=1")
    assert result.exit_code == 2
    assert "nothing to bound" in result.stderr
