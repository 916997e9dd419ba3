"""Hardware profiles: the shipped figures, the integer formula, the specs and the strictness of the files."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llmqgym.errors import InputError
from llmqgym.hardware import UNLIMITED_BLOCKS, HardwareProfile, IntegerProfile, list_profiles, load_profile
from llmqgym.hardware.check import check, check_all
from llmqgym.hardware.documents import named_profiles
from llmqgym.hardware.profile import to_ps

SHARED = Path(__file__).resolve().parents[3] / "shared" / "profiles"
NAMES = (
    "a100-llama-2-70b", "a100-llama-2-70b-tp4", "a100-llama-2-7b", "a100-llama-3-70b-tp4", "a100-llama-3-8b",
    "h100-llama-2-70b", "h100-llama-2-70b-tp4", "h100-llama-2-7b", "h100-llama-3-8b",
)  # fmt: skip
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs the samples in ../shared/profiles")


def a_document(**changes: Any) -> dict[str, Any]:
    table = {"kv_ms": 1e-4, "knots_tokens": [1, 8, 16, 32], "knots_ms": [1.0, 2.0, 4.0, 3.0], "tail_ms": 0.25}
    return {
        "name": "mine", "kind": "token_table", "origin": "measured", "source": "a test", "known_error": "",
        "kv_token_capacity": 1000, "kinds": {"token_table": table, "linear": {"base_ms": 1, "token_ms": 0.1}},
        **changes,
    }  # fmt: skip


def load_file(tmp_path: Path, document: Any, settings: str = "") -> HardwareProfile:
    path = tmp_path / "mine.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document), encoding="utf-8")
    return load_profile(f"token_table:file={path}{settings}")


def naive_ps(profile: IntegerProfile, chunks: list[tuple[int, int]], decodes: list[int]) -> int:
    """docs/model.md, 'Iteration time', written down a second time."""
    n = sum(p for p, _ in chunks) + len(decodes)
    two_f = sum(p * (2 * k + p) for p, k in chunks)
    i = math.ceil(Fraction(n, profile.tile))
    length = len(profile.table)
    table = profile.table[i] if i < length else profile.table[-1] + (i - length + 1) * profile.tail
    t = profile.base + table + profile.token * n + profile.decode * len(decodes) + profile.kv * sum(decodes)
    t += profile.decode_base if decodes else 0
    if chunks:
        t += profile.prefill_base + int(np.rint(profile.root * np.sqrt(two_f * 0.5))) + profile.square * two_f
    return max(t, 1)


# The shipped profiles


def test_the_nine_are_shipped() -> None:
    assert tuple(named_profiles()) == NAMES
    assert [row.name for row in list_profiles()][:9] == list(NAMES)
    assert all(row.origin == "composed" and row.source and row.known_error for row in list_profiles()[:9])


@needs_shared
def test_integers_meet_the_samples() -> None:
    results = check_all(SHARED)
    assert [row["name"] for row in results] == list(NAMES)
    for row in results:
        assert row["mean"] <= 0.015, row
        assert row["n"] == sum(part["n"] for part in row["by_kind"].values()) > 500
        assert "lm_head_ms" in row["note"]


@needs_shared
@pytest.mark.parametrize("name", NAMES)
def test_errors_are_those_of_the_float_fits(name: str) -> None:
    """Integers, tile and interpolation lose nothing: the errors equal the ones that fits.json states for floats."""
    fits = json.loads((SHARED / "fits.json").read_text())
    for kind, fit in (("token_table", "dense_token_table_plus_attention"), ("linear", "linear")):
        result = check(load_profile(f"{name}:kind={kind}"), SHARED / "sampled_iteration_times.csv.gz")
        stated = fits[result["config"]]["fits"][fit]
        assert 100 * result["mean"] == pytest.approx(stated["mean_rel_pct"], abs=0.03)
        assert 100 * result["max"] == pytest.approx(stated["max_rel_pct"], abs=0.03)


@needs_shared
@pytest.mark.parametrize("name", NAMES)
def test_figures_are_those_of_the_folder(name: str) -> None:
    profile = load_profile(name)
    config = f"{profile.gpu}/{profile.model}/tp{profile.tensor_parallel}"
    fit = json.loads((SHARED / "fits.json").read_text())[config]
    assert profile.kv_token_capacity == fit["kv_token_cap"]
    assert profile.max_context_tokens == fit["max_ctx"]
    assert profile.square_ms == fit["fits"]["dense_token_table_plus_attention"]["prefill_attn_ms_const_sqrtF_F"][2]
    linear = load_profile(f"{name}:kind=linear")
    coefficients = [linear.base_ms, linear.token_ms, linear.decode_ms, linear.kv_ms, linear.square_ms]
    assert coefficients == fit["fits"]["linear"]["coef"]


def test_kv_bytes_and_swap() -> None:
    sizes = {"llama-2-7b": 524_288, "llama-3-8b": 131_072, "llama-2-70b": 327_680, "llama-3-70b": 327_680}
    for name in NAMES:
        model = name.split("-", 1)[1].removesuffix("-tp4")
        assert load_profile(name).kv_bytes_per_token == sizes[model]
    integers = load_profile("a100-llama-3-8b").to_integers(16)
    assert integers.swap_block_ps == 83_886_080  # 16 x 131,072 B / 25e9 B/s = 83.88608 us
    assert integers.num_kv_blocks == 425_984 // 16
    assert integers.host_kv_blocks == 2**36 // (16 * 131_072)


def test_overhead_is_calibrated_where_measured_and_stated_otherwise() -> None:
    for name in NAMES:
        profile = load_profile(name)
        calibrated = name.endswith("llama-2-70b-tp4")
        assert (profile.overhead_ms > 0) == calibrated
        assert ("calibrated" if calibrated else "overhead_ms is 0") in profile.known_error
        assert profile.lm_head_ms > 0


def test_weights_that_do_not_fit_are_confessed() -> None:
    hypothetical = [name for name in NAMES if "Hypothetical" in load_profile(name).known_error]
    assert hypothetical == ["a100-llama-2-70b", "h100-llama-2-70b"]


# Integers


def test_rounding_is_half_to_even() -> None:
    assert [to_ps(x * 1e-9) for x in (0.5, 1.5, 2.5, 3.5)] == [0, 2, 2, 4]
    squares = [load_profile(f"linear:base_ms=1,square_ms={x}e-9").to_integers(1).square for x in (1, 3, 5, 7)]
    assert squares == [0, 2, 2, 4]  # half of F's coefficient: 0.5, 1.5, 2.5, 3.5


def test_the_root_is_rounded_half_to_even() -> None:
    profile = dataclasses.replace(load_profile("a100-llama-3-8b").to_integers(1), prefill_base=0, square=0)
    half = dataclasses.replace(profile, root=1)
    assert [half.prefill_ps(two_f) for two_f in (2, 8, 18)] == [1, 2, 3]  # sqrt(1, 4, 9)
    # F = 0.25 and 6.25: the roots 0.5 and 2.5 do not come from integers p; scale the coefficient instead.
    assert dataclasses.replace(profile, root=5).prefill_ps(1) == round(5 * math.sqrt(0.5))


def test_interpolation_is_exact_and_half_to_even(tmp_path: Path) -> None:
    document = a_document()
    document["kinds"]["token_table"].update(knots_tokens=[8, 24, 40], knots_ms=[1e-9, 2e-9, 5e-9], tail_ms=None)
    integers = load_file(tmp_path, document).to_integers(1)
    assert integers.table == (1, 1, 2, 2, 4, 5)  # 1.5 -> 2, 3.5 -> 4
    assert integers.tail == 1  # (5 - 2) / 3 tiles of the second half


def test_linear_by_hand() -> None:
    spec = "linear:base_ms=10,token_ms=0.5,decode_ms=0.25,kv_ms=0.001,square_ms=0.000002"
    integers = load_profile(spec).to_integers(16)
    # Two chunks (100, 0) and (50, 200), three decodes with 1,000 tokens: N = 153,
    # F = 100 x 50 + 50 x 225 = 16,250; t = 10 + 76.5 + 0.75 + 1 + 0.0325 = 88.2825 ms.
    two_f = 100 * 100 + 50 * (400 + 50)
    assert integers.iteration_ps(150, two_f, 3, 1000) == 88_282_500_000
    assert integers.iteration_ps(0, 0, 1, 7) == 10_757_000_000
    assert integers.num_kv_blocks == UNLIMITED_BLOCKS


def test_staircase_by_hand() -> None:
    integers = load_profile("staircase:base_ms=11.28,step_ms=35.47,tile_tokens=128").to_integers(16)
    assert integers.table == (0,)
    times = [integers.iteration_ps(p, p * p, 0, 0) for p in (1, 128, 129, 256, 2048)]
    assert times == [46_750_000_000, 46_750_000_000, 82_220_000_000, 82_220_000_000, 578_800_000_000]
    assert load_profile("staircase").to_integers(16) == integers


def test_constant_and_iterations() -> None:
    constant = load_profile("constant:iteration_ms=10").to_integers(1)
    assert constant.iteration_ps(1, 1, 0, 0) == constant.iteration_ps(5000, 10**7, 99, 10**6) == 10**10
    assert load_profile("iterations").to_integers(1).iteration_ps(3, 9, 2, 5) == 10**12
    assert load_profile("constant:iteration_ms=0").to_integers(1).iteration_ps(0, 0, 1, 1) == 1


def test_tile_lookup(tmp_path: Path) -> None:
    integers = load_file(tmp_path, a_document()).to_integers(16)
    ms = 10**9
    assert integers.tile == 8
    assert integers.table == (ms, 2 * ms, 4 * ms, 3_500_000_000, 3 * ms)
    assert [integers.table_ps(n) for n in (1, 8, 9, 16, 17, 24, 25, 32)] == [
        2 * ms, 2 * ms, 4 * ms, 4 * ms, 3_500_000_000, 3_500_000_000, 3 * ms, 3 * ms,
    ]  # fmt: skip
    assert [integers.table_ps(n) for n in (33, 40, 41)] == [3_250_000_000, 3_250_000_000, 3_500_000_000]


@pytest.mark.parametrize("spec", [*NAMES, "a100-llama-3-8b:kind=linear", "staircase", "iterations"])
def test_the_formula_of_the_docs(spec: str) -> None:
    integers = load_profile(spec).to_integers(16)
    rng = np.random.default_rng(0)
    for _ in range(200):
        chunks = [(int(rng.integers(1, 3000)), int(rng.integers(0, 9000))) for _ in range(rng.integers(0, 4))]
        decodes = [int(x) for x in rng.integers(1, 8000, size=rng.integers(0, 200))]
        two_f = sum(p * (2 * k + p) for p, k in chunks)
        time = integers.iteration_ps(sum(p for p, _ in chunks), two_f, len(decodes), sum(decodes))
        assert time == naive_ps(integers, chunks, decodes)


def test_every_integer_is_a_python_int() -> None:
    for spec in (*NAMES, "staircase", "linear:base_ms=1"):
        integers = load_profile(spec).to_integers(16)
        for field in dataclasses.fields(integers):
            value = getattr(integers, field.name)
            assert all(type(x) is int for x in (value if isinstance(value, tuple) else (value,))), field.name
            assert field.name != "tail" or value >= 0


def test_fixed_costs_are_added_to_base() -> None:
    profile = load_profile("linear:base_ms=1,lm_head_ms=0.25,overhead_ms=2")
    assert profile.to_integers(1).base == 3_250_000_000


def test_extrapolated_contexts_are_flagged() -> None:
    profile = load_profile("a100-llama-2-7b")
    assert not profile.is_extrapolated(4096)
    assert profile.is_extrapolated(4097)
    assert not load_profile("iterations").is_extrapolated(10**9)


# Specs


def test_settings_override_and_say_so() -> None:
    profile = load_profile("a100-llama-3-8b:kind=linear,kv_token_capacity=5000,overhead_ms=1.5")
    assert (profile.kind, profile.kv_token_capacity, profile.overhead_ms) == ("linear", 5000, 1.5)
    assert "Set by hand: kv_token_capacity=5000. Set by hand: overhead_ms=1.5." in profile.source
    assert load_profile(profile.name) == profile
    assert load_profile("a100-llama-3-8b:kv_token_capacity=unlimited").kv_token_capacity is None


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("a100-lama-3-8b", "did you mean 'a100-llama-3-8b'"),
        ("a100-llama-3-8b:kind=linaer", "did you mean 'linear'"),
        ("a100-llama-3-8b:kind=constant", "unknown kind"),
        ("a100-llama-3-8b:kv_capacity=5", "did you mean 'kv_token_capacity'"),
        ("a100-llama-3-8b:kv_token_capacity=0", "between 1 and"),
        ("a100-llama-3-8b:kv_token_capacity=1.5", "must be an integer"),
        ("a100-llama-3-8b:link_bytes_per_s=0", "at least 1"),
        ("a100-llama-3-8b:step_ms=1", "unknown setting"),
        ("linear", "needs base_ms"),
        ("linear:base_ms=-1", "between 0 and"),
        ("linear:base_ms=nan", "between 0 and"),
        ("linear:base_ms=inf", "between 0 and"),
        ("linear:base_ms=fast", "must be a number"),
        ("linear:base_ms=true", "must be a number"),
        ("linear:base_ms=1,tokn_ms=1", "did you mean 'token_ms'"),
        ("constant", "needs iteration_ms"),
        ("constant:base_ms=1,iteration_ms=1", "unknown setting"),
        ("iterations:base_ms=1", "unknown setting"),
        ("staircase:tile_tokens=0", "between 1 and"),
        ("staircase:tile_tokens=none", "must be an integer"),
        ("token_table", "needs a file"),
        ("token_table:file=/no/such.json", "cannot read profile file"),
    ],
)
def test_bad_specs(spec: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_profile(spec)


@pytest.mark.parametrize("block_size", [0, -1, True, 1.5])
def test_bad_block_sizes(block_size: Any) -> None:
    with pytest.raises(InputError, match="block_size"):
        load_profile("iterations").to_integers(block_size)


def test_a_cache_smaller_than_a_block() -> None:
    with pytest.raises(InputError, match="less than one block"):
        load_profile("iterations:kv_token_capacity=15").to_integers(16)


# Files


def test_a_file_is_read_as_the_shipped_ones_are(tmp_path: Path) -> None:
    profile = load_file(tmp_path, a_document())
    assert (profile.kind, profile.kv_token_capacity, profile.origin) == ("token_table", 1000, "measured")
    linear = load_file(tmp_path, a_document(), ",kind=linear,kv_token_capacity=64")
    assert (linear.kind, linear.token_ms, linear.kv_token_capacity) == ("linear", 0.1, 64)


def table_with(**changes: Any) -> dict[str, Any]:
    document = a_document()
    document["kinds"]["token_table"].update(changes)
    return document


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "must be an object"),
        ('{"name": "a", "name": "b"}', "given twice"),
        ('{"name": NaN}', "not a finite number"),
        (a_document(kv_token_capcity=5), "did you mean 'kv_token_capacity'"),
        ({"name": "mine"}, "lacks kind, origin"),
        (a_document(name=5), "must be text"),
        (a_document(origin="guessed"), "unknown origin"),
        (a_document(kind="staircase"), "unknown kind"),
        (a_document(kinds={"token_tabel": {}}), "did you mean 'token_table'"),
        (a_document(kinds={"token_table": []}), "must be an object"),
        (a_document(kinds={"token_table": {}}), "needs knots_tokens"),
        (a_document(kv_token_capacity="big"), "must be an integer"),
        (table_with(kv_mss=1), "did you mean 'kv_ms'"),
        (table_with(kv_ms=None), "must be a number"),
        (table_with(kv_ms=-1), "between 0 and"),
        (table_with(knots_ms=[1.0]), "one time per knot"),
        (table_with(knots_tokens=[1, 16, 8, 32]), "sort knots_tokens"),
        (table_with(knots_tokens=[1, 8, 8, 32]), "sort knots_tokens"),
        (table_with(knots_tokens=[0, 8, 16, 32]), r"knots_tokens\[0\]"),
        (table_with(knots_tokens=[1.5, 8, 16, 32]), r"knots_tokens\[0\]"),
        (table_with(knots_ms=[1, 2, "x", 4]), r"knots_ms\[2\]"),
        (table_with(knots_tokens=[1, 2, 3, 4]), "the last knot is 4"),
        (table_with(knots_tokens=[1, 2, 3, 10**9]), "the last knot is 1000000000"),
        (table_with(knots_tokens=[], knots_ms=[]), "a token_table has knots"),
    ],
)
def test_files_are_read_strictly(tmp_path: Path, document: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_file(tmp_path, document)


def test_samples_are_read_strictly(tmp_path: Path) -> None:
    header = "config,prefill_tokens,prefill_prior_kv,decode_batch,decode_kv_tokens,kind,iter_ms\n"
    profile = load_profile("a100-llama-3-8b")
    path = tmp_path / "samples.csv"
    for text, message in (
        ("config,kind\n", "lack the columns"),
        (header + "a100/Meta-Llama-3-8B/tp1,0,0,1,x,decode,1\n", "line 2"),
        (header + "a100/Meta-Llama-3-8B/tp1,0,0,1,1,decode,0\n", "iter_ms > 0"),
        (header + "a100/Meta-Llama-3-8B/tp2,0,0,1,1,decode,1\n", "did you mean 'a100/Meta-Llama-3-8B/tp2'"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            check(profile, path)
    with pytest.raises(InputError, match="cannot read samples"):
        check(profile, tmp_path / "none.csv")


def test_check_counts_errors_without_the_fixed_costs(tmp_path: Path) -> None:
    header = "config,prefill_tokens,prefill_prior_kv,decode_batch,decode_kv_tokens,kind,iter_ms\n"
    path = tmp_path / "samples.csv"
    path.write_text(header + "g/m/tp1,0,0,1,1,decode,2\ng/m/tp1,4,0,0,0,prefill,1\n")
    document = a_document(gpu="g", model="m", overhead_ms=7, kind="linear", kinds={"linear": {"base_ms": 1}})
    result = check(load_file(tmp_path, document), path)
    assert (result["n"], result["mean"], result["max"]) == (2, 0.25, 0.5)
    assert result["by_kind"]["prefill"] == {"n": 1, "mean": 0.0, "p95": 0.0, "max": 0.0}


def test_importing_hardware_imports_no_numba() -> None:
    program = "import sys, llmqgym.hardware; sys.exit('numba' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
