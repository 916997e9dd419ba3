"""TensorBoard runs hold what the board holds, under vLLM's names."""

from __future__ import annotations

import sys

import pytest
from boards import large, scenario

from llmqgym.errors import InputError
from llmqgym.leaderboard.report.board import Board
from llmqgym.leaderboard.report.scalars import scalars, write_runs


def test_without_tensorboard_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(InputError, match=r"TensorBoard is not installed.*llmqgym\[train\]"):
        write_runs(tmp_path / "runs", large(5, 1))
    assert not (tmp_path / "runs").exists()


def test_names_steps_and_values():
    document = large(4, 1)
    document["scenarios"] = [scenario("chat", rho=0.7)]
    found = {tag: (step, value) for tag, step, value in scalars(Board(document), "vllm")}
    cell = document["cells"][0]
    assert found["chat/e2e_request_latency_seconds/mean"] == (70, cell["metrics"]["mean_e2e_s"]["mean"])
    assert found["chat/time_to_first_token_seconds/p99"] == (70, cell["metrics"]["p99_ttft_s"]["mean"])
    assert found["chat/request_time_per_output_token_seconds/mean"] == (70, 0.031)
    assert found["chat/gap_to_bound/mean_e2e_s"] == (70, cell["gap"]["mean_e2e_s"]["mean"])
    assert found["chat/num_unfinished"] == (70, 0)
    assert len(found) == len(cell["metrics"]) + 4


@pytest.mark.filterwarnings("ignore")  # TensorBoard's own
def test_read_back(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed: the extra [train]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams import metadata

    document = large(6, 2)
    write_runs(tmp_path, document)
    folders = write_runs(tmp_path, document)  # again: replaced, not doubled
    assert [folder.name for folder in folders] == [each["spec"].replace(":", "_") for each in document["policies"]]
    for folder, policy in zip(folders, document["policies"], strict=True):
        assert len(list(folder.iterdir())) == 1
        read = EventAccumulator(str(folder))
        read.Reload()
        wanted = list(scalars(Board(document), policy["spec"]))
        tags = {*read.Tags()["tensors"], *read.Tags()["scalars"]}
        assert tags == {metadata.EXPERIMENT_TAG, metadata.SESSION_START_INFO_TAG, *(tag for tag, _, _ in wanted)}
        experiment = metadata.parse_experiment_plugin_data(
            read.summary_metadata[metadata.EXPERIMENT_TAG].plugin_data.content
        )
        shown = [info.name.tag for info in experiment.metric_infos]
        assert len(shown) == 2 * 4
        assert set(shown) <= {tag for tag, _, _ in scalars(Board(document), "vllm")}
        for tag, step, value in wanted:
            (event,) = read.Scalars(tag) if tag in read.Tags()["scalars"] else read.Tensors(tag)
            stored = event.value if hasattr(event, "value") else event.tensor_proto.float_val[0]
            assert event.step == step
            assert stored == pytest.approx(value, rel=1e-6)
        told = metadata.parse_session_start_info_plugin_data(
            read.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
        ).hparams
        assert told["policy"].string_value == policy["spec"]
        assert told["oracle"].bool_value is policy["oracle"]
