"""Configurations are strict, the shipped ones are whole, and no run trains on held-out requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.config import (
    FIRST_HELD_OUT_SEED,
    AgentConfig,
    agent_config,
    held_out_seeds,
    read_agent_config,
)
from llmqgym.errors import InputError

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "agent").glob("*.toml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_configurations_are_read_and_written_again(path: Path) -> None:
    config = read_agent_config(path)
    assert config.name == path.stem
    assert config.summary
    assert agent_config(config.document(), config.name) == config


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"total_step": 5}, "total_steps"),
        ({"network": {"name": "scorrer"}}, "scorer"),
        ({"network": {"hiden": 5}}, "hidden"),
        ({"learning": {"horizon_s": "long"}}, "learning.horizon_s"),
        ({"learning": 3}, "section"),
        ({"env": {"senario": "chat"}}, "scenario"),
        ({"env": {"scenario": "chatt"}}, "chat"),
        ({"num_envs": 10, "copies": 4}, "multiple"),
        ({"seed": 10**6}, "seed"),
        ({"seed": True}, "seed"),
        ({"cloning": {"doubt": 2.0}}, "doubt"),
        ({"stages": [{"from": 0.5}]}, "from_share"),
        ({"stages": [{"from_share": 1.5}]}, "from_share"),
        ({"stages": [{"from_share": 0.5}, {"from_share": 0.5}]}, "order"),
        ({"stages": [{"env": {"senario": "chat"}}]}, "stage 1.*scenario"),
        ({"stages": [{"env": {"window": 5}}]}, "stage 1.*window is 5 and in .env. 16"),
        ({"stages": [{"env": {"shortage": "agent"}}]}, "shortage"),
        ({"stages": [{}], "num_envs": 2**16}, "num_envs with 1 stages"),
        ({"evaluation": {"keep": "bets"}}, "best"),
        ({"evaluation": {"figure": "kv_used"}}, "mean_e2e_s"),
        ({"evaluation": {"num_seeds": 0}}, "num_seeds"),
    ],
)
def test_what_is_wrong_is_named_before_anything_is_made(document: dict[str, object], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        agent_config(document, "x")


def test_a_file_that_is_not_there_or_not_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.toml"):
        read_agent_config(tmp_path / "nowhere.toml")
    (tmp_path / "bad.toml").write_text("a = = 1")
    with pytest.raises(InputError, match="not TOML"):
        read_agent_config(tmp_path / "bad.toml")


def test_stages_follow_each_other() -> None:
    config = agent_config(
        {
            "env": {"randomise": {"rho": [0.5, 0.9]}, "num_requests": 9},
            "stages": [{"from_share": 0.2, "env": {"randomise": {"rho": [0.7, 0.8]}}}, {"from_share": 0.5}],
        },
        "x",
    )
    assert agent_config(config.document(), "x") == config
    assert [config.stage_at(share) for share in (0.0, 0.19, 0.2, 0.49, 0.5, 1.0)] == [0, 0, 1, 1, 2, 2]
    assert [config.training_settings(stage)["chat"] for stage in range(3)] == [
        {"randomise": {"rho": rho}, "num_requests": 9} for rho in ([0.5, 0.9], [0.7, 0.8], [0.5, 0.9])
    ]
    assert config.env_settings == config.training_settings(0)


def test_no_seed_of_training_is_held_out() -> None:
    """Whatever the seed of the run and the number of its servers, up to their bounds."""
    held_out = set(held_out_seeds(10_000))
    last = FIRST_HELD_OUT_SEED // 100_000 - 1
    for seed in (0, 1, 2, last):
        config = AgentConfig("x", seed=seed, num_envs=2**16)
        assert not held_out & set(range(config.training_seed, config.training_seed + config.num_envs))
        assert config.training_seed + 100_000 <= min(held_out)  # stages end there
    with pytest.raises(InputError, match="seed"):
        AgentConfig("x", seed=last + 1)
