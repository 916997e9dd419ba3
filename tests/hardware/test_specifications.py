"""The tables of GPUs and models against published figures, and what follows from them: weights, KV bytes, capacity."""

from __future__ import annotations

import pytest

from baselines.registry import make_policy
from llmqgym.config import ServerConfig
from llmqgym.errors import InputError
from llmqgym.hardware import load_profile
from llmqgym.hardware.capacity import activation_bytes, kv_token_capacity
from llmqgym.hardware.documents import named_profiles
from llmqgym.hardware.gpus import GPUS, find_gpu
from llmqgym.hardware.models import MODELS, find_model, published_model
from llmqgym.hardware.roofline import lm_head_ms
from llmqgym.hardware.shard import Shard, check_ways, possible_ways
from llmqgym.run import simulate
from llmqgym.workload.workload import make_workload

#: Parameters as counted in the published weights (Hugging Face, safetensors); Qwen's with its biases.
PUBLISHED = {
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3-8b": 8_030_261_248,
    "llama-3-70b": 70_553_706_496,
    "llama-3-405b": 405_853_388_800,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "mistral-7b": 7_241_732_096,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "codellama-34b": 33_743_970_304,
}


def whole(model: str, ways: int = 1, weights: str = "bf16", kv: str = "bf16") -> Shard:
    return Shard(find_model(model), ways, weights, kv)


def test_shapes_give_the_published_parameters() -> None:
    assert set(PUBLISHED) == set(MODELS)
    for name, parameters in PUBLISHED.items():
        assert MODELS[name].parameters == pytest.approx(parameters, rel=1e-4), name
        assert MODELS[name].weight_bytes() == 2 * MODELS[name].parameters


def test_gpus_are_the_asked_ones_and_in_order_of_magnitude() -> None:
    assert set(GPUS) == {"a100", "h100", "h200", "b200", "l40s", "a10", "rtx-4090", "mi300x"}
    for gpu in GPUS.values():
        assert 100 < gpu.bf16_flops / gpu.memory_bytes_per_s < 500  # FLOPs a byte: a slip of a factor 1000 shows
        assert gpu.fp8_flops is None or gpu.fp8_flops == pytest.approx(2 * gpu.bf16_flops, rel=0.02)
        assert gpu.link_bytes_per_s <= gpu.peer_bytes_per_s
        assert gpu.source


@pytest.mark.parametrize("name", named_profiles())
def test_shipped_profiles_follow_from_the_tables(name: str) -> None:
    profile = load_profile(name)
    gpu, model = find_gpu(profile.gpu), published_model(profile.model)
    ways = profile.tensor_parallel
    assert profile.kv_bytes_per_token == model.kv_bytes_per_token("bf16", ways)
    assert profile.lm_head_ms == pytest.approx(lm_head_ms(gpu, model, ways), abs=1e-6)
    assert profile.link_bytes_per_s == ways * gpu.link_bytes_per_s


def test_lm_head_by_hand() -> None:
    # 128,256 x 4,096 x 2 bytes at 80 % of 2.039 TB/s
    assert lm_head_ms(GPUS["a100"], MODELS["llama-3-8b"], 1) == pytest.approx(1050.673152e6 / 1.6312e12 * 1e3)
    assert lm_head_ms(GPUS["a100"], MODELS["llama-3-8b"], 4) == pytest.approx(1050.673152e6 / 1.6312e12 * 1e3 / 4)


def test_precisions_and_shards() -> None:
    model = MODELS["llama-3-70b"]
    embeddings = 2 * 128_256 * 8192
    assert model.weight_bytes("fp8") == pytest.approx(model.parameters + embeddings, rel=1e-6)
    assert model.kv_bytes_per_token("fp8") == 163_840
    assert MODELS["qwen2.5-7b"].kv_bytes_per_token("bf16", 4) == 57_344
    assert whole("llama-3-70b", 4).gemms() == ((2560, 8192), (8192, 2048), (14336, 8192), (8192, 7168))
    for name in MODELS:
        for ways in possible_ways(MODELS[name]):
            shard = whole(name, ways)
            weights = sum(n * k for n, k in shard.gemms()) * ways
            assert weights == pytest.approx(MODELS[name].layer_parameters, rel=1e-3), (name, ways)


def test_more_gpus_than_kv_heads_repeat_them() -> None:
    model = MODELS["qwen2.5-7b"]._replace(heads=32, ffn=18_944)
    assert Shard(model, 8, "bf16", "bf16").kv_heads == 1
    assert model.kv_bytes_per_token("bf16", 8) == 2 * model.kv_bytes_per_token("bf16", 4)


def test_capacity_is_near_the_shipped_ones_and_not_above() -> None:
    """The shipped ones leave nothing for activations; made ones 1-2 GB a GPU."""
    for name in ("a100-llama-2-7b", "a100-llama-3-8b", "h100-llama-3-8b"):
        profile = load_profile(name)
        shard = Shard(published_model(profile.model), profile.tensor_parallel, "bf16", "bf16")
        made = kv_token_capacity(find_gpu(profile.gpu), shard, 0.9)
        assert 0.9 <= made / (profile.kv_token_capacity or 0) <= 1.0
        assert 0.3e9 < activation_bytes(shard) < 2e9


def test_half_the_bytes_double_the_capacity_and_the_bound() -> None:
    """Half the bytes a KV token double the tokens, the concurrent requests, and so the throughput that KV limits."""
    capacities = [kv_token_capacity(GPUS["a10"], whole("llama-3-8b", kv=kv), 0.9) for kv in ("bf16", "fp8")]
    assert capacities[1] - 2 * capacities[0] in (0, 1)
    requests = 32
    workload = make_workload(
        "burst", {}, arrival_s=[0.0] * requests, prompt_tokens=[3900] * requests, output_tokens=[100] * requests
    )
    server = ServerConfig(max_running=requests, max_batched_tokens=200_000)
    times = []
    for capacity in capacities:
        profile = f"constant:iteration_ms=10,kv_token_capacity={capacity}"
        result = simulate(workload, policy=make_policy("vllm"), server=server, profile=profile)
        assert result.summary["num_finished"] == requests
        times.append(result.document()["sim_time_s"])
    assert times[0] / times[1] == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize(
    ("gpu", "shard", "utilisation", "message"),
    [
        ("a100", whole("llama-3-70b"), 0.9, "141 GB of weights .* in 72 GB: tp 2 is the least that fits"),
        ("a10", whole("llama-3-70b"), 0.9, "tp 8 is the least that fits"),
        ("a100", whole("llama-3-405b", 8), 0.9, "no tp fits, take a larger GPU or weights in fp8"),
        ("rtx-4090", whole("llama-3-405b", 8, "fp8"), 0.9, "no tp fits, take a larger GPU[.]"),
        ("a100", whole("llama-3-8b"), 0.0, "must lie in"),
        ("a100", whole("llama-3-8b"), 1.5, "must lie in"),
        ("a100", whole("llama-3-8b"), float("nan"), "must lie in"),
    ],
)
def test_what_does_not_fit(gpu: str, shard: Shard, utilisation: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        kv_token_capacity(GPUS[gpu], shard, utilisation)


def test_bad_names_and_ways() -> None:
    with pytest.raises(InputError, match="did you mean 'h200'"):
        find_gpu("h20")
    with pytest.raises(InputError, match="did you mean 'llama-3-70b'"):
        find_model("lama-3-70b")
    with pytest.raises(InputError, match="unknown published model"):
        published_model("GPT-2")
    for ways in (0, 3, 16):
        with pytest.raises(InputError, match="choose tp among 1, 2, 4, 8"):
            check_ways(MODELS["llama-3-8b"], ways)
    assert possible_ways(MODELS["qwen2.5-7b"]) == [1, 2, 4]
