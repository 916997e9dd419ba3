"""PPO solves what has a known answer, and a run that was killed goes on to the same weights."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

WHY = "torch and Stable-Baselines3 are not installed: the extra [train], which `make test-train` installs"
torch = pytest.importorskip("torch", reason=WHY)
pytest.importorskip("sb3_contrib", reason=WHY)

from sb3_contrib import MaskablePPO  # noqa: E402

from agents.checkpoint import read_checkpoint  # noqa: E402
from agents.config import (  # noqa: E402
    AgentConfig,
    CloningConfig,
    EvaluationConfig,
    LearningConfig,
    NetworkConfig,
    Stage,
)
from agents.evaluation import HeldOut, Measured  # noqa: E402
from agents.from_torch import brain_of  # noqa: E402
from agents.layout import Layout  # noqa: E402
from agents.making import make_env, make_model  # noqa: E402
from agents.policy import SchedulingPolicy  # noqa: E402
from agents.policy_file import read_agent  # noqa: E402
from agents.shipping import ship  # noqa: E402
from agents.training import Run  # noqa: E402
from baselines.registry import make_policy  # noqa: E402
from llmqgym.errors import InputError  # noqa: E402
from llmqgym.kernel.jit import COMPILED  # noqa: E402
from llmqgym.sb3 import make_sb3_vec_env  # noqa: E402

if not COMPILED:
    pytest.skip("learning in plain Python takes too long", allow_module_level=True)

torch.set_num_threads(1)
ITERATION_S = 0.01
#: Two requests that come together, one slot, 10 ms an iteration.
TWO = """
profile = "constant:iteration_ms=10"
predictor = "perfect"
[workload]
trace = "two.csv"
[server]
max_running = 1
"""


class Silent:
    """A listener that hears nothing."""

    def begun(self, run: Run) -> None: ...

    def resumed(self, run: Run) -> None: ...

    def cloned(self, run: Run, curves: dict[str, list[float]]) -> None: ...

    def updated(self, run: Run) -> None: ...

    def evaluated(self, run: Run, measured: dict[str, Any]) -> None: ...

    def finished(self, run: Run) -> None: ...


def two_requests(folder: Path, **settings: Any) -> AgentConfig:
    file = folder / "two.toml"
    file.write_text(TWO)
    lengths = np.random.default_rng(0).integers(1, 400, 2000)
    rows = [f"0.0,1,{length}" for length in lengths]
    (folder / "two.csv").write_text("\n".join(["arrival_time_s,prompt_tokens,output_tokens", *rows]) + "\n")
    made: dict[str, Any] = {
        "env": {"config": str(file), "num_requests": 2, "window": 2, "running": 0},
        "num_envs": 64, "total_steps": 40_960, "seed": 3,
        "learning": LearningConfig(
            num_steps=64, batch_size=512, num_epochs=4, target_kl=0.05, learning_rate=3e-3, final_learning_rate=1e-3,
            entropy_weight=0.01,
        ),
        "evaluation": EvaluationConfig(every=1000, num_seeds=64, num_requests=2, baselines=()),
    }  # fmt: skip
    return AgentConfig("two", **(made | settings))


def least_mean_e2e_s(run: Run) -> tuple[np.ndarray, np.ndarray]:
    """By hand: the shorter first, it passes once for each token, the longer waits for it; and the longer first."""
    held_out = next(iter(run.held_out.values()))
    held_out._env.reset(seed=list(held_out.seeds))
    lengths = np.array([held_out._env.servers.episode_of[place].requests["output_tokens"] for place in range(64)])
    short, long = lengths.min(axis=1), lengths.max(axis=1)
    return ITERATION_S * (2 * short + long) / 2, ITERATION_S * (2 * long + short) / 2


@pytest.mark.parametrize(("network", "hidden", "steps"), [("scorer", 16, 40_960), ("mlp", 64, 163_840)])
def test_of_two_requests_and_one_slot_the_shorter_goes_first(
    network: str, hidden: int, steps: int, tmp_path: Path
) -> None:
    """The flat network has to learn for each place what the scorer learns for all."""
    config = two_requests(tmp_path, network=NetworkConfig(network, hidden), total_steps=steps)
    run = Run(config, tmp_path / "run", make_policy)
    run.start(Silent())
    run.go_on(Silent())
    best, worst = least_mean_e2e_s(run)
    before, after = (np.array(run.curve[at]["figures"]["two"]["mean_e2e_s"]) for at in (0, -1))
    assert (after >= best - 1e-9).all()
    regret = (after - best).mean() / (worst - best).mean()
    assert regret < 0.01, f"{regret:.1%} of what a wrong order costs remains"
    assert (before - best).mean() / (worst - best).mean() > 0.1


def small(tmp_path: Path, **settings: Any) -> AgentConfig:
    made: dict[str, Any] = {
        "env": {
            "scenario": "kv-bound", "num_requests": 30, "window": 8, "running": 4, "randomise": {"rho": [0.5, 1.2]},
        },
        "num_envs": 8, "copies": 2, "total_steps": 8 * 32 * 8, "seed": 5,
        "network": NetworkConfig("scorer", 8, preempt=False),
        "cloning": CloningConfig("volume", num_rounds=5, num_steps=16),
        "learning": LearningConfig(num_steps=32, batch_size=128, num_epochs=2, values_only=1, teacher_kl=0.1),
        "evaluation": EvaluationConfig(every=4, num_seeds=2, num_requests=40, baselines=("vllm",)),
    }  # fmt: skip
    return AgentConfig("small", **(made | settings))


LATER = Stage(0.25, {"randomise": {"rho": [0.2, 0.3]}, "num_requests": 20})


@pytest.mark.parametrize("how", ["plain", "stages", "reference"])
def test_killed_and_resumed_is_straight_through_bit_for_bit(how: str, tmp_path: Path) -> None:
    """Episodes end and begin, the teacher is held on to, the learning rates move, the traffic changes."""
    config = small(tmp_path)
    if how == "stages":
        config = config.replaced(stages=(LATER, Stage(0.75)))
    if how == "reference":
        config = config.replaced(learning=dataclasses.replace(config.learning, reference="spjf"))
    straight = Run(config, tmp_path / "straight", make_policy)
    straight.start(Silent())
    straight.go_on(Silent())
    assert straight.model.episodes.min() >= 1 or how == "stages"

    killed = Run(config, tmp_path / "killed", make_policy)
    killed.start(Silent())
    killed.go_on(Silent(), num_updates=3)
    killed.model.collect()  # killed in the middle: the last rollout is lost
    del killed
    torch.manual_seed(999)
    resumed = Run(config, tmp_path / "killed", make_policy)
    resumed.restore()
    assert (resumed.num_updates, resumed.stage) == (3, int(how == "stages"))
    resumed.go_on(Silent())

    assert resumed.model.num_timesteps == straight.model.num_timesteps == config.total_steps
    for (name, mine), theirs in zip(
        resumed.model.policy.state_dict().items(), straight.model.policy.state_dict().values(), strict=True
    ):
        assert torch.equal(mine, theirs), name
    curves = [json.loads((tmp_path / name / "curve.json").read_text()) for name in ("straight", "killed")]
    for each in curves[0]["curve"], curves[1]["curve"]:
        for point in each:
            del point["wall_s"]
    assert curves[0] == curves[1]


def test_stages_change_the_traffic_and_nothing_else(tmp_path: Path) -> None:
    config = small(tmp_path, stages=(LATER, Stage(0.75)))
    run = Run(config, tmp_path / "run", make_policy)
    seen, held_out = {}, run.held_out["kv-bound"]
    run.start(Silent())
    for update in range(8):
        run.go_on(Silent(), num_updates=1)
        drawn = [each["rho"] for each in run.env.get_attr("drawn")]
        seen[update] = (run.stage, min(drawn), max(drawn), run.env.env.config.num_requests)
    assert [seen[update][0] for update in range(8)] == [0, 0, 1, 1, 1, 1, 2, 2]
    for stage, low, high, num_requests in seen.values():
        least, most, wanted = (0.2, 0.3, 20) if stage == 1 else (0.5, 1.2, 30)
        assert least <= low
        assert high <= most
        assert num_requests == wanted
    assert run.held_out["kv-bound"] is held_out
    assert held_out._env.config.scenario == config.first_config.scenario
    drawn = []
    for stage in (0, 2):  # the same settings, and other requests
        env = make_env(config, stage)
        env.reset()
        drawn += [each["rho"] for each in env.get_attr("drawn")]
    assert len(set(drawn)) == len(drawn) / config.copies


def test_a_checkpoint_holds_no_code_and_there_is_always_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(small(tmp_path), tmp_path / "run", make_policy)
    run.start(Silent())
    folders = [each for each in (tmp_path / "run").glob("checkpoint-*") if each.is_dir()]
    assert len(folders) == 1
    for file in folders[0].iterdir():
        assert b"csingle_pickle" not in file.read_bytes()
    with np.load(folders[0] / "state.npz", allow_pickle=False) as arrays:
        assert all(arrays[name].dtype == np.uint8 for name in arrays.files)
    half = tmp_path / "run" / "checkpoint-half"  # as a run killed while writing leaves it
    half.mkdir()
    learner, _ = read_checkpoint(tmp_path / "run", "cpu")
    assert "policy" in learner
    run.save()
    assert not half.exists()
    with monkeypatch.context() as patch:
        patch.setattr("agents.training.version", lambda: "another")
        with pytest.raises(InputError, match="another version"):
            run.restore()
    with pytest.raises(InputError, match="no checkpoint"):
        read_checkpoint(tmp_path / "nowhere", "cpu")


@pytest.mark.parametrize(
    ("keep", "figure"), [("best", "mean_e2e_s"), ("best", "requests_per_s"), ("last", "mean_e2e_s")]
)
def test_a_run_whose_later_looks_are_worse_ships_an_earlier_one(
    keep: str, figure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look of three is made the best; the weights are those that the policy had then, resumed or not."""
    config = small(tmp_path, evaluation=EvaluationConfig(2, 2, 40, ("vllm",), keep, figure), total_steps=8 * 32 * 6)
    factors = {0: 1.5, 2: 0.5, 4: 2.0, 6: 2.5}
    play, weights = HeldOut.play, {}

    def told(held_out: HeldOut, network: Any) -> Measured:
        found = play(held_out, network)
        factor = factors[run.num_updates]
        weights[run.num_updates] = brain_of(network).tensors
        found.figures["mean_e2e_s"][:] = factor
        found.figures["requests_per_s"][:] = 1.0 / factor
        return found

    monkeypatch.setattr(HeldOut, "play", told)
    run = Run(config, tmp_path / "straight", make_policy)
    run.start(Silent())
    run.go_on(Silent())
    ship(run, run.folder)
    run = Run(config, tmp_path / "killed", make_policy)
    run.start(Silent())
    run.go_on(Silent(), num_updates=3)
    run = Run(config, tmp_path / "killed", make_policy)
    run.restore()
    run.go_on(Silent())
    ship(run, run.folder)

    update = {"best": 2, "last": 6}[keep]
    assert any((weights[2][name] != weights[6][name]).any() for name in weights[2])
    for name in ("straight", "killed"):
        shipped = read_agent(tmp_path / name / "small")
        assert shipped.training.num_decisions == config.total_steps
        assert shipped.evaluation["kv-bound"]["num_decisions"] == update * 8 * 32
        for tensor, values in shipped.brain.tensors.items():
            np.testing.assert_array_equal(values, weights[update][tensor], err_msg=tensor)
        curve = json.loads((tmp_path / name / "curve.json").read_text())
        assert curve["kept"] == update * 8 * 32
        assert any(point["num_decisions"] == update * 8 * 32 for point in shipped.curve)
        figures = next(point for point in curve["curve"] if point["steps"] == curve["kept"])["figures"]["kv-bound"]
        assert shipped.evaluation["kv-bound"]["agent"][figure] == pytest.approx(np.mean(figures[figure]))
    first, second = ((tmp_path / name / "small.safetensors").read_bytes() for name in ("straight", "killed"))
    assert first == second


def test_a_mixture_trains_parts_side_by_side(tmp_path: Path) -> None:
    from agents.config import Part

    config = small(
        tmp_path,
        parts=(Part({"scenario": "kv-bound"}), Part({"scenario": "code"}, reward_scale=2.0, time_scale=0.5)),
        total_steps=8 * 32 * 2,
    )
    run = Run(config, tmp_path / "run", make_policy)
    run.start(Silent())
    run.go_on(Silent())
    assert set(run.curve[-1]["figures"]) == {"kv-bound", "code"}
    alone = make_sb3_vec_env(
        config.env_settings["code"], 4, seed=run.config.training_seed + 4, copies=2, observation="flat"
    )
    mixed = make_env(config)
    np.testing.assert_array_equal(mixed.reset()[4:], alone.reset())
    actions = np.zeros(8, np.int64)
    (seen, rewards, _, _), (more, theirs, _, _) = mixed.step(actions), alone.step(actions[4:])
    np.testing.assert_array_equal(seen[4:], more)
    np.testing.assert_allclose(rewards[4:], 2.0 * theirs)
    np.testing.assert_allclose(mixed.dt_s[4:], 0.5 * alone.dt_s)


def test_the_policy_is_one_that_sb3_trains_saves_and_loads(tmp_path: Path) -> None:
    config = small(tmp_path)
    env = make_env(config)
    plain = MaskablePPO(
        SchedulingPolicy, env, n_steps=16, batch_size=64, n_epochs=1, seed=0, device="cpu",
        policy_kwargs={"layout": Layout.of(config.first_config), "hidden": 8},
    )  # fmt: skip
    plain.learn(256)
    plain.save(tmp_path / "model.zip")
    loaded = MaskablePPO.load(tmp_path / "model.zip", device="cpu")
    seen, masks = env.reset(), env.action_masks()
    actions, _ = plain.predict(seen, action_masks=masks, deterministic=True)
    np.testing.assert_array_equal(loaded.predict(seen, action_masks=masks, deterministic=True)[0], actions)
    assert masks[np.arange(len(actions)), actions].all()
    with pytest.raises(InputError, match="flat"):
        MaskablePPO(SchedulingPolicy, env, policy_kwargs={"layout": Layout(3, 3)}, device="cpu")


def test_a_minibatch_of_one_decision_teaches_nothing_wrong(tmp_path: Path) -> None:
    """It has no spread to be measured by."""
    learning = LearningConfig(num_steps=4, batch_size=1, num_epochs=1, target_kl=None)
    config = small(tmp_path, learning=learning, cloning=CloningConfig(), total_steps=32)
    run = Run(config, tmp_path / "run", make_policy)
    run.start(Silent())
    before = run.model.policy.network.values(torch.as_tensor(run.env.reset()))
    run.go_on(Silent())
    assert run.is_done
    after = run.model.policy.network.values(torch.as_tensor(run.env.reset()))
    assert torch.isfinite(after).all()
    assert not torch.equal(before, after)
    assert all(torch.isfinite(each).all() for each in run.model.policy.state_dict().values())


def test_learn_of_sb3_works_too(tmp_path: Path) -> None:
    config = dataclasses.replace(small(tmp_path), cloning=CloningConfig())
    model = make_model(config, make_env(config), "cpu")
    model.learn(8 * 32 * 2)
    assert model.num_timesteps == 8 * 32 * 2
    assert np.isfinite(model.statistics["value_loss"])
