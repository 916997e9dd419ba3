"""The command line: what it prints and writes, and how it refuses bad input."""

from __future__ import annotations

import csv
import errno
import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llmqgym import files
from llmqgym.cli.app import app
from llmqgym.cli.output import duration
from llmqgym.validation.vllm_logs import GOLDEN

HEADER = "arrival_time_s,prompt_tokens,output_tokens\n"
SMALL = ["--scenario", "textbook-queue", "--requests", "20"]


def cli(*args):
    return CliRunner().invoke(app, [str(arg) for arg in args])


def refused(*args):
    """The message of a run that must end with exit code 2 and one line on stderr."""
    result = cli(*args)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_simulate_prints_tables():
    result = cli("simulate", *SMALL)
    assert result.exit_code == 0, result.output
    for word in ("ttft", "e2e", "p99", "finished 20", "outcome: finished."):
        assert word in result.stdout


def test_simulate_writes_everything(tmp_path):
    out, table, log = tmp_path / "o.json", tmp_path / "r.csv.gz", tmp_path / "l.jsonl"
    result = cli(
        "simulate", "--requests", 30, "--seed", 5, "--rate", 3, "--policy", "sprpt", "--predictor", "lognormal:sigma=1",
        "--server", "num_kv_blocks=900,max_running=8", "--json", out, "--per-request", table, "--log", log,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    document = json.loads(out.read_text(), parse_constant=pytest.fail)
    for key in (
        "num_requests",
        "num_finished",
        "num_rejected",
        "num_unfinished",
        "num_preemptions",
        "wall_s",
        "version",
    ):
        assert key in document
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        assert set(document[name]) == {"mean", "p50", "p90", "p95", "p99", "max"}
    config = document["config"]
    assert (config["seed"], config["predictor"], config["policy"]["name"]) == (5, "lognormal:sigma=1", "sprpt")
    assert (config["server"]["num_kv_blocks"], config["profile"]["origin"]) == (900, "composed")
    assert config["workload"]["source"]["rate_per_s"] == 3
    with gzip.open(table, "rt", newline="") as file:
        assert len(list(csv.DictReader(file))) == 30
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [lines[0]["kind"], lines[-1]["kind"]] == ["header", "footer"]
    assert lines[0]["params"]["num_gpu_blocks"] == 901
    assert sorted(os.listdir(tmp_path)) == ["l.jsonl", "o.json", "r.csv.gz"]


def test_json_to_stdout_is_only_json_and_step_by_step_agrees():
    documents = [json.loads(cli("simulate", *SMALL, "--json", "-", *more).stdout) for more in ((), ("--step-by-step",))]
    for document in documents:
        document.pop("wall_s")
        assert document.pop("num_events") > 0
    assert documents[0] == documents[1]


@pytest.mark.parametrize("name", ["t02_preempt_fcfs", "t17_budget_starves_decode", "t03_preempt_prio"])
def test_a_reference_log_is_replayed_to_the_letter(name, tmp_path):
    with gzip.open(GOLDEN / f"{name}.jsonl.gz", "rt") as file:
        golden = file.readlines()
    params = json.loads(golden[0])["params"]
    names = {"max_num_seqs": "max_running", "max_num_batched_tokens": "max_batched_tokens"}
    same = ("block_size", "chunked_prefill", "long_prefill_token_threshold", "watermark", "reserve_full_isl")
    server = {**{new: params[old] for old, new in names.items()}, **{key: params[key] for key in same}}
    server["num_kv_blocks"] = params["num_gpu_blocks"] - 1
    settings = ",".join(f"{key}={value}" for key, value in server.items())
    policy = {"fcfs": "vllm", "priority": "vllm-priority"}[params["policy"]]
    out = tmp_path / "out.jsonl.gz"
    result = cli(
        "simulate", "--trace", GOLDEN / f"{name}.csv", "--server", settings, "--profile", "iterations",
        "--policy", policy, "--log", out,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    with gzip.open(out, "rt") as file:
        written = file.readlines()
    assert written[1:] == golden[1:]
    header = json.loads(written[0])
    assert header["params"] == params
    assert header["trace"] == json.loads(golden[0])["trace"]


def test_traces_are_cut_and_rescaled(tmp_path):
    trace = tmp_path / "t.csv"
    trace.write_text(HEADER + "".join(f"{i},8,4\n" for i in range(40)))
    args = ("simulate", "--trace", trace, "--window", "10:30", "--requests", 5, "--rate", 2, "--json", "-")
    document = json.loads(cli(*args).stdout)
    assert document["num_requests"] == 5
    assert document["config"]["scenario"] == "trace"
    assert len(document["config"]["workload"]["source"]["transforms"]) == 3
    thinned = json.loads(cli("simulate", "--trace", trace, "--thin", 0.5, "--time-scale", 2, "--json", "-").stdout)
    assert 10 < thinned["num_requests"] < 30


def test_predictions_of_a_trace_are_kept(tmp_path):
    trace = tmp_path / "t.csv"
    trace.write_text("arrival_time_s,prompt_tokens,output_tokens,predicted_output_tokens\n0,8,4,9\n")
    args = ("simulate", "--trace", trace, "--json", "-", "--per-request", tmp_path / "r.csv")
    assert json.loads(cli(*args).stdout)["config"]["predictor"] == "trace"
    assert (tmp_path / "r.csv").read_text().splitlines()[1].split(",")[13] == "9.0"
    assert json.loads(cli(*args, "--predictor", "none").stdout)["config"]["predictor"] == "none"


def test_corrections_and_rejections_are_named(tmp_path):
    trace = tmp_path / "t.csv"
    trace.write_text(HEADER + "0,8,0\n1,900,4\n")
    result = cli("simulate", "--trace", trace, "--server", "num_kv_blocks=5")
    assert "1 rejected: they can never fit the KV cache; 1 corrected: output_tokens_raised_to_1." in result.stdout


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("nan,8,4\n", "line 2, column 'arrival_time_s': 'nan'"),
        ("-1,8,4\n", "below 0"),
        ("5,8,4\n3,8,4\n", "sort the trace by arrival"),
        ("", "no rows"),
        ("0,-8,4\n", "below 0"),
        ("0,8\n", "line 2 has 2 cells"),
    ],
)
def test_bad_traces(tmp_path, body, message):
    trace, out = tmp_path / "t.csv", tmp_path / "o.json"
    trace.write_text(HEADER + body)
    assert message in refused("simulate", "--trace", trace, "--json", out)
    assert os.listdir(tmp_path) == ["t.csv"]


def test_a_truncated_gz(tmp_path):
    trace = tmp_path / "t.csv.gz"
    trace.write_bytes(gzip.compress((HEADER + "".join(f"{i},{i % 97 + 1},4\n" for i in range(999))).encode())[:-300])
    assert "truncated" in refused("simulate", "--trace", trace)
    assert "truncated" in refused("trace", "info", trace)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--policy", "vlm"], "did you mean 'vllm'"),
        (["--scenario", "chatt"], "did you mean 'chat'"),
        (["--profile", "a100-llama-3"], "unknown profile"),
        (["--predictor", "perfekt"], "did you mean 'perfect'"),
        (["--server", "blok_size=4"], "did you mean 'block_size'"),
        (["--server", "max_running=0"], "max_running is 0"),
        (["--trace", "nowhere.csv"], "no such file"),
        (["--config", "nowhere.toml"], "cannot be read"),
        (["--config", "a.toml", "--scenario", "chat"], "one of the two"),
        (["--rate", "nan"], "rate_per_s is nan"),
        (["--requests", "0"], "num_requests is 0"),
        (["--seed", "-1"], "seed is -1"),
        (["--window", "5"], "START:END"),
        (["--thin", "0.5"], "is for traces"),
        (["--json", "nowhere/o.json"], "no folder"),
        (["--json", "same", "--log", "same"], "given twice"),
    ],
)
def test_bad_arguments(args, message):
    assert message in refused("simulate", *args)


def test_an_output_never_replaces_the_trace(tmp_path):
    trace = tmp_path / "t.csv"
    trace.write_text(HEADER + "0,8,4\n")
    assert "is also read" in refused("simulate", "--trace", trace, "--per-request", trace)
    assert trace.read_text() == HEADER + "0,8,4\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("option", ["--json", "--per-request", "--log"])
def test_a_full_device(option):
    assert "No space left on device" in refused("simulate", *SMALL, option, "/dev/full")
    assert not Path("/dev/full").is_file()


@pytest.mark.parametrize("name", ["o.json", "o.jsonl.gz"])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, name):
    class Full:
        def __init__(self, raw):
            self.raw = raw

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.raw.close()

        def write(self, data):
            self.raw.write(bytes(data)[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def __getattr__(self, attribute):
            return getattr(self.raw, attribute)

    out = tmp_path / name
    out.write_text("before")
    monkeypatch.setattr(files, "open", lambda *args: Full(open(*args)), raising=False)  # noqa: SIM115
    option = "--json" if name.endswith("json") else "--log"
    assert "No space left on device" in refused("simulate", *SMALL, option, out)
    assert out.read_text() == "before"
    assert os.listdir(tmp_path) == [name]


def test_an_error_while_writing_removes_the_temporary_file(tmp_path):
    def fail_halfway():
        with files.atomic_text(tmp_path / "x.txt") as file:
            file.write("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert os.listdir(tmp_path) == []


def test_lists():
    assert "kv-bound" in cli("list", "scenarios").stdout
    policies = cli("list", "policies").stdout.splitlines()
    assert any(line.split()[:4] == ["srpt", "sizes", "ORACLE:", "truth"] for line in policies)
    assert any(line.split()[:4] == ["sprpt", "sizes", "point", "prediction"] for line in policies)
    assert "h100-llama-2-70b-tp4" in cli("list", "profiles").stdout
    assert "did you mean 'policies'" in refused("list", "policy")


def test_policy_page():
    page = cli("policy", "show", "orca_dai").stdout
    assert page.startswith("orca: ")
    assert "arXiv 2504.07347" in page
    assert "other names: orca-dai" in page
    assert "(ORACLE)" in cli("policy", "show", "mc-sf-true").stdout
    assert "alias of:    vtc:lift=false" in cli("policy", "show", "lcf").stdout
    assert "did you mean 'trail'" in refused("policy", "show", "tral")


def test_trace_info():
    result = cli("trace", "info", GOLDEN / "w02_fcfs_pressure.csv")
    assert result.exit_code == 0
    assert "vllm_reference" in result.stdout
    document = json.loads(cli("trace", "info", GOLDEN / "w02_fcfs_pressure.csv", "--json", "-").stdout)
    assert document["num_requests"] > 100


def test_profile_check(tmp_path):
    assert "cannot read samples" in refused("profile", "check", "--folder", tmp_path)


def test_durations():
    assert [duration(t) for t in (0.0, 2e-5, 0.5, 90.0, 8000.0)] == ["0 s", "20 us", "500 ms", "90 s", "2.22 h"]


def test_help_and_lists_import_nothing_heavy():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom llmqgym.cli.app import app\n"
        "for line in ('--help', 'simulate --help', 'list policies', 'list profiles', 'list scenarios'):\n"
        "    assert CliRunner().invoke(app, line.split()).exit_code == 0, line\n"
        "heavy = {'numba', 'numpy', 'scipy', 'torch', 'gymnasium'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    root = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, env={**os.environ, "PYTHONPATH": str(root)})


def test_module_and_version():
    from llmqgym import __version__

    assert cli("--version").stdout.strip() == f"llmqgym {__version__}"


def test_a_load_becomes_a_rate(tmp_path):
    document = json.loads(
        cli("simulate", "--workload", "chat", "--rho", "0.5", "--requests", "300", "--json", "-").stdout
    )
    load = document["config"]["load"]
    assert load["binding"] == "slots"
    assert document["config"]["workload"]["source"]["rate_per_s"] == pytest.approx(0.5 * load["capacity_per_s"])
    trace = tmp_path / "t.csv"
    trace.write_text("arrival_time_s,prompt_tokens,output_tokens\n" + "".join(f"{i},500,100\n" for i in range(200)))
    of_trace = json.loads(cli("simulate", "--trace", str(trace), "--rho", "0.5", "--json", "-").stdout)
    rate = 0.5 * of_trace["config"]["load"]["capacity_per_s"]
    assert f"rate_per_s={rate!r}" in of_trace["config"]["workload"]["source"]["transforms"][0]
    shown = cli("simulate", "--workload", "chat", "--rho", "0.5", "--requests", "300").stdout
    assert "slots bind" in shown
    both = cli("simulate", "--workload", "chat", "--rho", "0.5", "--rate", "3")
    assert both.exit_code == 2
    assert "give one" in both.stderr


def test_a_workload_is_compared_with_a_trace(tmp_path):
    trace = tmp_path / "t.csv"
    trace.write_text("arrival_time_s,prompt_tokens,output_tokens\n" + "".join(f"{i},500,100\n" for i in range(200)))
    result = cli("workload", "compare", "chat_azure23", str(trace), "--json", str(tmp_path / "c.json"))
    assert result.exit_code == 1
    assert "interarrival_cv" in result.stdout
    report = json.loads((tmp_path / "c.json").read_text())
    assert report["matches"] is False
    assert report["prompt_tokens"]["figures"]["p50"]["trace"] == 500
    assert "unknown workload" in cli("workload", "compare", "chat_azur", str(trace)).stderr


@pytest.mark.parametrize(("what", "name"), [("workloads", "long_context_kimi"), ("predictors", "refreshing")])
def test_workloads_and_predictors_are_listed(what, name):
    assert name in cli("list", what).stdout
