"""Trace readers: every format from small files, bad input, the golden request files and the real traces."""

from __future__ import annotations

import csv
import gzip
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmqgym.errors import InputError
from llmqgym.kernel.tables import ARRIVAL, HORIZON_PS, PS_PER_S
from llmqgym.workload.info import describe
from llmqgym.workload.traces.open import FORMATS, read_lengths, read_trace
from llmqgym.workload.workload import Workload, make_requests, make_workload, seconds_to_ps

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = sorted((REPOSITORY / "llmqgym" / "validation" / "golden").glob("*.csv"))
REAL = REPOSITORY.parent / "shared" / "traces" / "dev"
MS_PS = PS_PER_S // 1000

AZURE_2023 = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
2023-11-17 00:00:00,7,1
"""
AZURE_2024 = """TIMESTAMP,ContextTokens,GeneratedTokens
2024-05-10 00:00:00.009930+00:00,2162,5
2024-05-10 00:00:01+00:00,2399,6
2024-05-10 00:00:01.017335+00:00,76,15
"""
BURSTGPT = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
118.5,GPT-4,417,276,693,API log
"""
BURSTGPT_3 = """Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type
19440110.0,1722ac82,43,GPT-4,906,446,1352,Conversation log
19440161.0,,2,ChatGPT,36,29,65,API log
"""
MOONCAKE = """{"timestamp": 0, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}
{"timestamp": 27482, "input_length": 7322, "output_length": 490, "hash_ids": []}
"""
QWEN = """{"chat_id": 0, "turn": 1, "timestamp": 0.5, "input_length": 10, "output_length": 4, "hash_ids": [1]}
{"chat_id": 1, "parent_chat_id": 0, "timestamp": 2.25, "input_length": 20, "output_length": 6, "hash_ids": [1]}
"""
VIDUR = """,arrived_at,num_prefill_tokens,num_decode_tokens,session_id
0,0.0,3772,54,7
1,2.828480710548229,2015,156,8
"""
NORMALISED = """arrival_time_s,prompt_tokens,output_tokens
0.0,374,44
4.314579,396,109
"""
ALL_COLUMNS = """tenant,priority,predicted_output_tokens,prefix_group,prefix_tokens,max_output_tokens,x,\
output_tokens,prompt_tokens,arrival_time_dequant_s,arrival_time_s
3,-1,12.5,7,100,50,a,44,374,0.25,0
4,2,,-1,0,4096,b,109,396,1.5,3
"""
VLLM = """arrival_iteration,prompt_tokens,output_tokens,priority,prefix_group,prefix_tokens
0,1184,61,5,3,384
2,178,105,0,-1,0
"""
VLLM_TICKS = "arrival_time,prompt_tokens,output_tokens\n0,10,1\n3,20,2\n"


def write(tmp_path: Path, text: str, name: str = "trace.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def rows(w: Workload, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(request[name].item() for name in names) for request in w.requests]


EXAMPLES = [
    ("azure", AZURE_2023, [(0, 374, 44), (4_314_579_000_000, 396, 109), (20_653_319_410_000_000, 7, 1)]),
    ("azure", AZURE_2024, [(0, 2162, 5), (990_070_000_000, 2399, 6), (1_007_405_000_000, 76, 15)]),
    ("burstgpt", BURSTGPT, [(0, 472, 18), (40 * PS_PER_S, 1087, 1), (113_500 * MS_PS, 417, 276)]),
    ("burstgpt", BURSTGPT_3, [(0, 906, 446), (51 * PS_PER_S, 36, 29)]),
    ("mooncake", MOONCAKE, [(0, 6758, 500), (27_482 * MS_PS, 7322, 490)]),
    ("qwen", QWEN, [(500 * MS_PS, 10, 4), (2250 * MS_PS, 20, 6)]),
    ("vidur", VIDUR, [(0, 3772, 54), (2_828_480_710_548, 2015, 156)]),
    ("normalised", NORMALISED, [(0, 374, 44), (4_314_579_000_000, 396, 109)]),
    ("normalised", ALL_COLUMNS, [(0, 374, 44), (3 * PS_PER_S, 396, 109)]),
    ("vllm_reference", VLLM, [(0, 1184, 61), (2 * PS_PER_S, 178, 105)]),
    ("vllm_reference", VLLM_TICKS, [(0, 10, 1), (3 * PS_PER_S, 20, 2)]),
]


@pytest.mark.parametrize(("name", "text", "expected"), EXAMPLES)
@pytest.mark.parametrize("dress", ["plain", "gzip", "crlf_bom", "no_last_newline", "blank_lines"])
def test_every_format_reads_however_the_file_is_written(
    tmp_path: Path, name: str, text: str, expected: list[tuple[int, int, int]], dress: str
) -> None:
    data = {
        "plain": text.encode(),
        "gzip": gzip.compress(text.encode()),
        "crlf_bom": b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode(),
        "no_last_newline": text.rstrip("\n").encode(),
        "blank_lines": b"\n" + text.encode() + b"\n\n",
    }[dress]
    path = tmp_path / "some.csv"  # the name says nothing about gzip: the first bytes do
    path.write_bytes(data)
    w = read_trace(path)
    assert w.requests.dtype == ARRIVAL
    assert w.source["format"] == name
    assert w.source["rows"] == len(w) == len(expected)
    assert w.source["attribution"]
    assert w.name == "some"
    assert rows(w, "arrival_ps", "prompt_tokens", "output_tokens") == expected


def test_the_examples_cover_every_format() -> None:
    assert {name for name, _, _ in EXAMPLES} == {fmt.name for fmt in FORMATS}


def test_zero_lengths_are_raised_to_one_and_counted(tmp_path: Path) -> None:
    assert read_trace(write(tmp_path, BURSTGPT)).corrections == {
        "prompt_tokens_raised_to_1": 0,
        "output_tokens_raised_to_1": 1,
    }
    w = read_trace(write(tmp_path, "arrival_time_s,prompt_tokens,output_tokens\n0,0,0\n1,0,4\n"))
    assert w.corrections == {"prompt_tokens_raised_to_1": 2, "output_tokens_raised_to_1": 1}
    assert rows(w, "prompt_tokens", "output_tokens") == [(1, 1), (1, 4)]


def test_normalised_optional_columns(tmp_path: Path) -> None:
    w = read_trace(write(tmp_path, ALL_COLUMNS))
    names = ("tenant", "priority", "prefix_group", "prefix_tokens", "max_output_tokens")
    assert rows(w, *names) == [(3, -1, 7, 100, 50), (4, 2, -1, 0, 4096)]
    assert w.requests["predicted_output_tokens"][0] == 12.5
    assert math.isnan(w.requests["predicted_output_tokens"][1])


def test_client_is_the_tenant(tmp_path: Path) -> None:
    w = read_trace(write(tmp_path, "arrival_time_s,prompt_tokens,output_tokens,client\n0,1,1,23\n"))
    assert w.requests["tenant"].tolist() == [23]


def test_dequantised_arrivals_only_when_asked(tmp_path: Path) -> None:
    path = write(tmp_path, ALL_COLUMNS)
    assert read_trace(path).requests["arrival_ps"].tolist() == [0, 3 * PS_PER_S]
    assert read_trace(path, dequantised=True).requests["arrival_ps"].tolist() == [250 * MS_PS, 1500 * MS_PS]
    with pytest.raises(InputError, match="no dequantised arrivals"):
        read_trace(write(tmp_path, VIDUR), dequantised=True)


def test_limit_reads_the_first_rows(tmp_path: Path) -> None:
    for text in (NORMALISED, MOONCAKE):
        assert len(read_trace(write(tmp_path, text), limit=1)) == 1
        assert len(read_trace(write(tmp_path, text), limit=99)) == 2
    with pytest.raises(InputError, match="limit 0 is below 1"):
        read_trace(write(tmp_path, NORMALISED), limit=0)


def test_defaults_where_the_trace_is_silent(tmp_path: Path) -> None:
    w = read_trace(write(tmp_path, NORMALISED))
    for name, value in {"priority": 0, "tenant": 0, "prefix_group": -1, "prefix_tokens": 0, "program": -1}.items():
        assert set(w.requests[name].tolist()) == {value}
    for name in ("ttft_limit_ps", "tpot_limit_ps", "e2e_limit_ps"):
        assert set(w.requests[name].tolist()) == {-1}
    assert np.isnan(w.requests["predicted_output_tokens"]).all()
    assert set(w.requests["max_output_tokens"].tolist()) == {4096}


@pytest.mark.parametrize(("longest", "cap"), [(1, 4096), (4096, 4096), (4097, 8192), (16384, 16384), (16385, 32768)])
def test_the_default_cap_is_one_constant_for_all(longest: int, cap: int) -> None:
    requests = make_requests(arrival_s=[0.0, 1.0], prompt_tokens=[1, 1], output_tokens=[1, longest])
    assert requests["max_output_tokens"].tolist() == [cap, cap]


def test_whole_numbers_written_as_floats_are_read(tmp_path: Path) -> None:
    w = read_trace(write(tmp_path, "arrival_time_s,prompt_tokens,output_tokens\n0,374.0,44\n"))
    assert rows(w, "prompt_tokens", "output_tokens") == [(374, 44)]


HEADER = "arrival_time_s,prompt_tokens,output_tokens\n"
BAD_TEXT = [
    ("", "the file is empty"),
    ("\n\n", "the file is empty"),
    (HEADER, "header but no rows"),
    (HEADER + "nan,1,1\n", r"line 2, column 'arrival_time_s': 'nan' is not a finite number"),
    (HEADER + "0,1,1\ninf,1,1\n", r"line 3, column 'arrival_time_s': 'inf'"),
    (HEADER + "0,1,1\n\n1,1,x\n", r"line 4, column 'output_tokens': 'x' is not a whole number"),
    (HEADER + "0,1.5,1\n", r"line 2, column 'prompt_tokens': '1\.5' is not a whole number"),
    (HEADER + "0,,1\n", r"line 2, column 'prompt_tokens': ''"),
    (HEADER + f"0,{10**30},1\n", r"line 2, column 'prompt_tokens': '10+' is not"),
    (HEADER + "-1,1,1\n0,1,1\n", r"row 0 arrives at -1\.0 s, below 0"),
    (HEADER + "0,1,1\n2,1,1\n1.5,1,1\n", r"row 2 arrives at 1\.5 s, before row 1 at 2\.0 s: sort the trace by arrival"),
    (HEADER + "0,1,1\n8640001,1,1\n", "beyond 8640000 s, the horizon"),
    (HEADER + "0,-5,1\n", "row 0: prompt_tokens is -5, below 0"),
    (HEADER + "0,1,2000000000\n", "row 0: output_tokens is 2000000000, above 1000000000"),
    (HEADER + "0,1,1\n1,2\n", "line 3 has 2 cells, but the header has 3"),
    ("time,in,out\n0,1,1\n", r"columns found: time, in, out\. .*azure \(csv\): TIMESTAMP"),
    ("prompt_tokens,output_tokens\n1,2\n", "lengths only.*--rate"),
    ("num_prefill_tokens,num_decode_tokens\n1,2\n", "lengths only.*no arrived_at"),
    (
        HEADER.replace("\n", ",max_output_tokens\n") + "0,1,9,8\n",
        "max_output_tokens is 8, below the output_tokens of its request. Raise",
    ),
    (
        HEADER.replace("\n", ",predicted_output_tokens\n") + "0,1,9,-3\n",
        r"predicted_output_tokens is -3\.0, outside 0",
    ),
    (HEADER.replace("\n", ",prefix_group,prefix_tokens\n") + "0,4,9,1,5\n", "prefix_tokens is 5, longer than"),
    (HEADER.replace("\n", ",prefix_group,prefix_tokens\n") + "0,4,9,-1,3\n", "without a prefix_group"),
    (AZURE_2023 + "yesterday,1,1\n", r"line 5, column 'TIMESTAMP': 'yesterday' is not a UTC timestamp"),
    (AZURE_2023 + "2023-11-17 00:00:00+02:00,1,1\n", "line 5, column 'TIMESTAMP'"),
    (AZURE_2023 + "2023-11-16 18:15:46,1,1\n", r"row 3 arrives at -0\.68059 s, before row 2"),
    (AZURE_2023 + "2024-11-17 00:00:00,1,1\n", r"row 3 arrives .* beyond the horizon"),
    (BURSTGPT + "9000000,GPT-4,1,1,2,API log\n", "row 3 arrives 8999995.0 s after row 0, beyond the horizon"),
    (VLLM_TICKS + "9000000,1,1\n", "row 2: arrival_time is 9000000, beyond 8640000"),
    ('{"a": 1, "b": 2}\n', "JSON keys found: a, b"),
    (MOONCAKE + "{nonsense}\n", "line 3 is not JSON"),
    (MOONCAKE + "[1]\n", "line 3 is a JSON list"),
    (MOONCAKE + '{"timestamp": 30000, "input_length": 1}\n', "line 3 has no 'output_length'"),
    (MOONCAKE.replace("27482", '"27482"'), "line 2, column 'timestamp'"),
    (MOONCAKE.replace("490", "true"), "line 2, column 'output_length': 'True'"),
    (MOONCAKE.replace("490", "-1"), "row 1: output_tokens is -1, below 0"),
]


@pytest.mark.parametrize(("text", "message"), BAD_TEXT)
def test_bad_input_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_bad_cell_in_a_later_block_has_the_right_line(tmp_path: Path) -> None:
    lines = [f"{i},1,1" for i in range(70_000)]
    lines[69_000] = "69000,1,oops"
    with pytest.raises(InputError, match="line 69002, column 'output_tokens': 'oops'"):
        read_trace(write(tmp_path, HEADER + "\n".join(lines)))


def test_bad_files(tmp_path: Path) -> None:
    whole = gzip.compress((HEADER + "".join(f"{i},{i * 7919 % 997},1\n" for i in range(5000))).encode())
    (tmp_path / "cut.csv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "corrupt.csv.gz").write_bytes(whole[:200] + b"\xff" * 200 + whole[400:])
    (tmp_path / "binary.csv").write_bytes(b"\x80\x81\x82\xff")
    for name, message in {
        "cut.csv.gz": "truncated",
        "corrupt.csv.gz": "corrupt",
        "binary.csv": "neither gzip nor UTF-8",
        "cut.csv": "no such file: did you mean .*cut.csv.gz",
        ".": "this is a folder",
    }.items():
        with pytest.raises(InputError, match=message):
            read_trace(tmp_path / name)
    with pytest.raises(InputError, match="no such file: check the path"):
        read_trace(tmp_path / "nowhere" / "trace.csv")


def test_read_lengths_with_and_without_arrivals(tmp_path: Path) -> None:
    for text in ("output_tokens,prompt_tokens\n109,396\n", "num_prefill_tokens,num_decode_tokens\n396,109\n"):
        prompt_tokens, output_tokens = read_lengths(write(tmp_path, text))
        assert (prompt_tokens.tolist(), output_tokens.tolist()) == ([396], [109])
    assert read_lengths(write(tmp_path, MOONCAKE))[0].tolist() == [6758, 7322]
    with pytest.raises(InputError, match="columns found: a, b"):
        read_lengths(write(tmp_path, "a,b\n1,2\n"))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"arrival_s": []}, "at least one request"),
        ({"arrival_s": [0.0, math.nan]}, "row 1: arrival_s is nan, not a finite number"),
        ({"arrival_s": [0.0, 1.0], "arrival_ps": [0, 1]}, "one of the two"),
        ({}, "one of the two"),
        ({"arrival_ps": [0.5, 1.5]}, "row 0: arrival_ps is 0.5, not a whole number"),
        ({"arrival_ps": [0, HORIZON_PS + 1]}, "row 1: arrival_ps is .* horizon"),
        ({"arrival_ps": [-(2**63), 0]}, "row 0: arrival_ps is .* horizon"),
        ({"arrival_s": [0.0]}, r"prompt_tokens has shape \[2\], but there are 1 arrivals"),
        ({"arrival_s": ["a", "b"]}, "arrival_s must hold numbers"),
        ({"arrival_s": [0.0, 1.0], "tenant": -1}, "row 0: tenant is -1, below 0"),
        ({"arrival_s": [0.0, 1.0], "program": -2}, "row 0: program is -2, below -1"),
        ({"arrival_s": [0.0, 1.0], "prompt_tokens": ["1", "2"]}, "must hold whole numbers"),
        ({"arrival_s": [0.0, 1.0], "output_tokens": [1.0, math.nan]}, "row 1: output_tokens is nan"),
        ({"arrival_s": [0.0, 1.0], "prioritty": 1}, "did you mean 'priority'"),
    ],
)
def test_make_requests_refuses(fields: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"prompt_tokens": [1, 2], "output_tokens": [1, 2], **fields}
    with pytest.raises(InputError, match=message):
        make_requests(**given)


def test_seconds_round_half_to_even_to_picoseconds() -> None:
    assert seconds_to_ps("t", [2.0**-13]).tolist() == [122_070_312]  # 122070312.5
    assert seconds_to_ps("t", [3 * 2.0**-13]).tolist() == [366_210_938]  # 366210937.5
    assert seconds_to_ps("t", [8_000_000.5]).tolist() == [8_000_000_500_000_000_000]


def test_one_value_stands_for_all_in_optional_fields() -> None:
    w = make_workload("two", {}, arrival_ps=[0, 5], prompt_tokens=[1, 2], output_tokens=[3, 4], priority=7)
    assert w.requests["priority"].tolist() == [7, 7]
    assert (len(w), w.duration_s, w.source["rows"]) == (2, 5e-12, 2)


def test_describe(tmp_path: Path) -> None:
    info = describe(read_trace(write(tmp_path, BURSTGPT)))
    assert info["num_requests"] == 3
    assert info["duration_s"] == 113.5
    assert info["rate_per_s"] == pytest.approx(2 / 113.5)
    assert info["interarrival_cv"] == pytest.approx(np.std([40, 73.5]) / 56.75)
    assert info["prompt_tokens"]["p50"] == 472
    assert info["output_tokens"]["max"] == 276
    assert info["corrections"]["output_tokens_raised_to_1"] == 1
    assert info["tenants"] == {"num": 1, "values": [0]}
    single = describe(read_trace(write(tmp_path, HEADER + "0,1,1\n")))
    assert math.isnan(single["rate_per_s"])
    assert math.isnan(single["interarrival_cv"])


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_request_files_read_cell_by_cell(path: Path) -> None:
    w = read_trace(path)
    with path.open(newline="") as stream:
        expected = list(csv.DictReader(stream))
    assert w.source["format"] == "vllm_reference"
    assert len(w) == len(expected)
    for request, row in zip(w.requests, expected, strict=True):
        assert request["arrival_ps"] == int(row["arrival_iteration"]) * PS_PER_S
        for name in row.keys() & set(ARRIVAL.names or ()):
            assert request[name] == int(row[name])


def test_there_are_golden_request_files() -> None:
    assert GOLDEN


real_traces = pytest.mark.skipif(not REAL.is_dir(), reason=f"the real traces are not here ({REAL})")


@real_traces
@pytest.mark.parametrize(
    ("name", "num_rows"),
    [
        ("azure23_conv", 19_366),
        ("mooncake_conversation", 12_031),
        ("mooncake_synthetic", 3_993),
        ("servegen_deepseek_r1_1h", 72_191),
        ("servegen_deepseek_r1_morning_1h", 48_128),
        ("servegen_mlarge_1h", 31_860),
    ],
)
def test_real_traces_have_the_rows_their_readme_states(name: str, num_rows: int) -> None:
    start = time.perf_counter()
    w = read_trace(REAL / f"{name}.csv.gz")
    assert time.perf_counter() - start < 5, "reading takes well under a second on an idle machine"
    assert len(w) == num_rows
    assert w.name == name
    assert "not recorded" not in str(w.source["attribution"])
    assert set(w.corrections.values()) == {0}


@real_traces
@pytest.mark.parametrize(
    ("name", "num_rows"),
    [("sharegpt_v3_lengths", 58_000), ("sharegpt8k_lengths", 30_731), ("arxiv_summ_lengths", 28_257)],
)
def test_real_lengths(name: str, num_rows: int) -> None:
    path = REAL / f"{name}.csv.gz"
    with pytest.raises(InputError, match="lengths only"):
        read_trace(path)
    prompt_tokens, output_tokens = read_lengths(path)
    assert len(prompt_tokens) == len(output_tokens) == num_rows


@real_traces
def test_real_dequantised_arrivals_stay_within_three_seconds() -> None:
    path = REAL / "mooncake_conversation.csv.gz"
    recorded, spread = read_trace(path), read_trace(path, dequantised=True)
    late = spread.requests["arrival_ps"] - recorded.requests["arrival_ps"]
    assert len(recorded) == len(spread)
    assert np.abs(late).max() <= 3 * PS_PER_S
    assert np.diff(spread.requests["arrival_ps"]).min() >= 0
