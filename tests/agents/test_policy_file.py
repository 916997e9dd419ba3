"""Policy files: what is written is read, what is not whole is refused, and safetensors itself reads them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drawn_agents import drawn_agent

from agents.policy_file import document_of, read_agent, write_agent
from agents.tensors import tensor_bytes, tensors_of
from agents.trained_agent import TrainedAgent, Training, versions_now
from llmqgym.errors import InputError
from llmqgym.files import OutputError
from llmqgym.machine import machine


def written(folder: Path, network: str = "scorer") -> Path:
    write_agent(folder / "agent", drawn_agent(network))
    return folder / "agent"


def changed(path: Path, *keys: str, to: Any = None, drop: bool = False) -> None:
    """The JSON with another value at a place, or without it."""
    file = path.with_suffix(".json")
    document = json.loads(file.read_text())
    section = document
    for key in keys[:-1]:
        section = section[key]
    if drop:
        del section[keys[-1]]
    else:
        section[keys[-1]] = to
    file.write_text(json.dumps(document))


@pytest.mark.parametrize("network", ["scorer", "mlp"])
@pytest.mark.parametrize("ending", ["", ".json", ".safetensors"])
def test_there_and_back(tmp_path: Path, network: str, ending: str) -> None:
    agent = drawn_agent(network)
    training = Training("chat", "train.py --seed 3", 3, 1000, 12.5, machine(), versions_now(), {"num_envs": 8})
    full = TrainedAgent(
        "full.v1", agent.brain, agent.view, training, "of everything", ({"steps": 1},), {"mean_e2e_s": [1.0]}
    )
    write_agent(tmp_path / f"full.v1{ending}", full)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["full.v1.json", "full.v1.safetensors"]
    read = read_agent(tmp_path / f"full.v1{ending}")
    assert document_of(read) == document_of(full)
    assert all((read.brain.tensors[name] == each).all() for name, each in full.brain.tensors.items())
    first = [each.read_bytes() for each in sorted(tmp_path.iterdir())]
    write_agent(tmp_path / "full.v1", read)
    assert [each.read_bytes() for each in sorted(tmp_path.iterdir())] == first


def test_safetensors_reads_and_writes_the_same(tmp_path: Path) -> None:
    theirs = pytest.importorskip("safetensors.numpy", reason="safetensors is of the extra train")
    tensors = drawn_agent().brain.tensors
    read = theirs.load(tensor_bytes(tensors))
    assert sorted(read) == sorted(tensors)
    back = tensors_of(theirs.save(dict(tensors), metadata={"made": "by them"}))
    for name, tensor in tensors.items():
        assert (read[name] == tensor).all()
        assert (back[name] == tensor).all()


@pytest.mark.parametrize(
    ("keys", "to", "message"),
    [
        (("format",), 2, "its format is 2, this llmqgym reads 1"),
        (("sumary",), "x", "unknown key 'sumary': did you mean 'summary'"),
        (("name",), "", "name is empty"),
        (("name",), 3, "must be of type str"),
        (("curve",), [1], "curve must be a list of objects"),
        (("network", "name"), "transformer", "unknown network 'transformer'"),
        (("network", "hidden"), 9, "tensor 'encoder.waiting.row.weight' is float32"),
        (("network", "hidden"), 10**9, "whole number from 1 to 4096"),
        (("network", "depth"), 2, "unknown key of network 'depth'"),
        (("view", "window"), 0, "window is 0"),
        (("view", "oldest"), 5, "oldest is 5"),
        (("view", "running"), True, "view running is True"),
        (("view", "shortage"), "nobody", "unknown shortage 'nobody'"),
        (("view", "preempt_mode"), "swop", "did you mean 'swap'"),
        (("fields", "server", "kv_used"), 2.0, "field kv_used of server had the scale 2.0, now it has None"),
        (("fields", "waiting", "age_s"), 9.0, "field age_s of waiting had the scale 9.0, now it has 10.0: it would"),
        (("fields", "waiting", "age"), 9.0, r"unknown field of waiting \(the agent was trained on\) 'age'"),
        (("fields", "absent"), -2.0, "requests that are not there are -2.0"),
        (("fields", "running"), [], "fields running is"),
        (("weights", "sha256"), "0", "not the weights that agent.json speaks of"),
        (("training", "seed"), "1", "training seed is '1'"),
        (("training", "wall_s"), None, "training wall_s is None"),
        (("training", "versions"), [], "training versions is"),
    ],
)
def test_a_value_that_is_wrong(tmp_path: Path, keys: tuple[str, ...], to: Any, message: str) -> None:
    path = written(tmp_path)
    changed(path, *keys, to=to)
    with pytest.raises(InputError, match=message) as caught:
        read_agent(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    "keys",
    [("summary",), ("view",), ("view", "oldest"), ("fields", "absent"), ("fields", "server"), ("training", "command"),
     ("fields", "server", "kv_used"), ("weights", "num"), ("network", "hidden"), ("evaluation",)],
)  # fmt: skip
def test_a_key_that_is_missing(tmp_path: Path, keys: tuple[str, ...]) -> None:
    path = written(tmp_path)
    changed(path, *keys, drop=True)
    with pytest.raises(InputError, match=r"there is no key|its fields of server are"):
        read_agent(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": NaN}', b"\xff\xfe", b"[" * 100_000])
def test_json_that_is_none(tmp_path: Path, content: bytes) -> None:
    path = written(tmp_path)
    path.with_suffix(".json").write_bytes(content)
    with pytest.raises(InputError, match=r"agent.json: (not JSON|it holds list)"):
        read_agent(path)


def with_header(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HOSTILE = {
    "empty": b"",
    "short": b"\x01\x00",
    "long header": struct.pack("<Q", 2**63) + b"{}",
    "header beyond the end": struct.pack("<Q", 100) + b"{}",
    "no json": with_header(b"{'a': 1}"),
    "no object": with_header(b"[]"),
    "deep": with_header(b"[" * 200_000),
    "twice": with_header(b'{"a": 1, "a": 2}'),
    "pickle": b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "no entry": with_header(b'{"a": 1}'),
    "extra key": with_header(json.dumps({"a": {**ONE, "code": "x"}}).encode(), bytes(8)),
    "float64": with_header(json.dumps({"a": {**ONE, "dtype": "F64"}}).encode(), bytes(8)),
    "negative": with_header(json.dumps({"a": {**ONE, "shape": [-2]}}).encode(), bytes(8)),
    "shape of text": with_header(json.dumps({"a": {**ONE, "shape": "2"}}).encode(), bytes(8)),
    "three offsets": with_header(json.dumps({"a": {**ONE, "data_offsets": [0, 8, 9]}}).encode(), bytes(8)),
    "huge": with_header(json.dumps({"a": {**ONE, "shape": [2**39, 2**39]}}).encode(), bytes(8)),
    "cut short": with_header(json.dumps({"a": ONE}).encode(), bytes(7)),
    "too long": with_header(json.dumps({"a": ONE}).encode(), bytes(9)),
    "overlapping": with_header(json.dumps({"a": ONE, "b": ONE}).encode(), bytes(8)),
    "a hole": with_header(json.dumps({"a": {**ONE, "data_offsets": [4, 12]}}).encode(), bytes(12)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_weights_that_are_none(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path)
    path.with_suffix(".safetensors").write_bytes(HOSTILE[kind])
    with pytest.raises(InputError) as caught:
        read_agent(path)
    assert str(caught.value).startswith(str(path.with_suffix(".safetensors")))


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path)
    whole = path.with_suffix(".safetensors").read_bytes()
    for length in range(0, len(whole), 41):
        path.with_suffix(".safetensors").write_bytes(whole[:length])
        with pytest.raises(InputError):
            read_agent(path)


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    path = written(tmp_path)
    tensors = {name: each.copy() for name, each in drawn_agent().brain.tensors.items()}
    tensors["run.out.weight"][0, 3] = np.nan
    path.with_suffix(".safetensors").write_bytes(tensor_bytes(tensors))
    with pytest.raises(InputError, match=r"agent\.safetensors: tensor 'run\.out\.weight' holds .* not finite"):
        read_agent(path)


def test_files_of_two_agents(tmp_path: Path) -> None:
    path = written(tmp_path)
    write_agent(tmp_path / "other", drawn_agent(seed=1))
    path.with_suffix(".safetensors").write_bytes((tmp_path / "other.safetensors").read_bytes())
    with pytest.raises(InputError, match="copy both files of one agent"):
        read_agent(path)


def test_one_file_alone(tmp_path: Path) -> None:
    path = written(tmp_path)
    path.with_suffix(".safetensors").unlink()
    with pytest.raises(InputError, match=r"agent\.safetensors: cannot be read .* an agent is two files"):
        read_agent(path)


def test_nothing_half_written_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="there is no folder"):
        write_agent(tmp_path / "nowhere" / "agent", drawn_agent())

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("llmqgym.files.os.replace", full)
    with pytest.raises(OutputError, match="No space left"):
        write_agent(tmp_path / "agent", drawn_agent())
    assert list(tmp_path.iterdir()) == []
