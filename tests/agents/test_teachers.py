"""Teachers do what the policies of their names do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

WHY = "torch and Stable-Baselines3 are not installed: the extra [train], which `make test-train` installs"
torch = pytest.importorskip("torch", reason=WHY)
pytest.importorskip("sb3_contrib", reason=WHY)

from agents.cloning import targets_of  # noqa: E402
from agents.evaluation import HeldOut  # noqa: E402
from agents.layout import Layout  # noqa: E402
from agents.looks import best_baseline  # noqa: E402
from agents.statistics import paired  # noqa: E402
from agents.teachers import make_teacher  # noqa: E402
from baselines.registry import make_policy  # noqa: E402
from llmqgym.env.config import make_config  # noqa: E402
from llmqgym.env.spaces import action_space, observation_space  # noqa: E402
from llmqgym.errors import InputError  # noqa: E402
from llmqgym.kernel.jit import COMPILED  # noqa: E402
from llmqgym.kernel.observe import PLANNING_WAITING  # noqa: E402

#: Slots bind here, and the KV cache never does: who comes next is all that there is to say.
SETTINGS: dict[str, Any] = {"scenario": "noisy-1", "window": 64, "running": 4}


@pytest.fixture(scope="module")
def held_out() -> HeldOut:
    return HeldOut(SETTINGS, num_seeds=3, num_requests=150)


@pytest.mark.skipif(not COMPILED, reason="thousands of decisions in plain Python")
@pytest.mark.parametrize(("teacher", "policy"), [("fcfs", "vllm"), ("spjf", "spjf")])
def test_a_teacher_makes_the_schedule_of_the_policy_that_it_is_called_by(
    teacher: str, policy: str, held_out: HeldOut
) -> None:
    layout = Layout.of(make_config(**SETTINGS, observation="flat"))
    ours, theirs = held_out.measure(make_teacher(teacher, layout)), held_out.baseline(make_policy(policy))
    for figure in ("mean_e2e_s", "p99_e2e_s", "mean_ttft_s", "num_preemptions"):
        np.testing.assert_allclose(ours.figures[figure], theirs.figures[figure], rtol=1e-9)


def test_gates_hold_back_and_volume_weighs_prompt_and_length() -> None:
    layout = Layout(window=2, running=0)
    observation = np.zeros((1, layout.size), np.float32)
    observation[0, 0] = 0.5  # kv_used
    observation[0, 3] = 8.0 / (8.0 + 32.0)  # num_running
    for place, (prompt, left, age) in enumerate(((3000.0, 90.0, 4.0), (100.0, 100.0, 2.0))):
        row = observation[0, layout.num_server + 6 * place :]
        row[0], row[2], row[3] = prompt / (prompt + 512.0), left / (left + 256.0), age / (age + 10.0)
    masks = np.ones((1, 3), np.bool_)
    chosen = {
        spec: int(make_teacher(spec, layout)(observation, masks)[0])
        for spec in ("fcfs", "spjf", "volume", "fcfs:share=0.5", "fcfs:share=0.51", "fcfs:running=8", "fcfs:running=9")
    }
    assert chosen == {
        "fcfs": 1, "spjf": 1, "volume": 2, "fcfs:share=0.5": 0, "fcfs:share=0.51": 1, "fcfs:running=8": 0,
        "fcfs:running=9": 1,
    }  # fmt: skip
    masks[0, 0] = False  # time may not pass
    assert int(make_teacher("fcfs:share=0.1", layout)(observation, masks)[0]) == 1


@pytest.mark.skipif(not COMPILED, reason="thousands of decisions in plain Python")
def test_looking_ahead_keeps_memory_from_running_short() -> None:
    """On kv-bound: nearly nobody is preempted, and the mean is that of the policy that looks ahead with the same share
    kept out of its plan, but for parts of blocks."""
    settings: dict[str, Any] = {
        "scenario": "kv-bound", "window": 48, "running": 0, "waiting_fields": PLANNING_WAITING,
    }  # fmt: skip
    held_out = HeldOut(settings, num_seeds=2, num_requests=1000)
    layout = Layout.of(make_config(**settings, observation="flat"))
    blind, ahead = (held_out.measure(make_teacher(spec, layout)) for spec in ("volume", "volume:peak=0.95"))
    theirs = held_out.baseline(make_policy("volume-sf:protect=0.05"))
    assert ahead.mean("num_preemptions") < 0.2 * blind.mean("num_preemptions")
    np.testing.assert_allclose(ahead.mean("mean_e2e_s"), theirs.mean("mean_e2e_s"), rtol=0.01)


def test_what_is_imitated_leaves_a_doubt_to_admitting_and_running_alone() -> None:
    masks = torch.tensor([[True, True, True, False, True], [True, False, False, False, True]])
    found = targets_of(torch.tensor([1, 0]), masks, window=3, doubt=0.1)
    torch.testing.assert_close(found, torch.tensor([[0.05, 0.9, 0.05, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, 0.0]]))


def test_teachers_say_what_they_lack() -> None:
    with pytest.raises(InputError, match="age_s"):
        make_teacher("fcfs", Layout(2, 2, waiting_fields=("prompt_tokens", "generated_tokens")))
    with pytest.raises(InputError, match="add it to waiting_fields"):
        make_teacher("volume:peak=0.9", Layout(2, 2))
    with pytest.raises(InputError, match="volume"):
        make_teacher("volum", Layout(2, 2))


@pytest.mark.skipif(not COMPILED, reason="thousands of decisions in plain Python")
def test_played_in_the_compiled_loop_a_network_does_as_in_the_environment(held_out: HeldOut) -> None:
    from agents.evaluation import greedy
    from agents.policy import SchedulingPolicy

    config = make_config(**SETTINGS, observation="flat")
    torch.manual_seed(2)
    policy = SchedulingPolicy(
        observation_space(config), action_space(config), lambda _: 1e-3, layout=Layout.of(config), preempt=False
    )
    with torch.no_grad():
        policy.network.run.out.weight.fill_(-1.0)  # it lets in whoever fits
    there, here = held_out.measure(greedy(policy)), held_out.play(policy.network)
    for figure in ("mean_e2e_s", "p99_e2e_s", "mean_ttft_s", "num_preemptions", "requests_per_s"):
        np.testing.assert_allclose(here.figures[figure], there.figures[figure], rtol=1e-9)
    np.testing.assert_allclose(here.figures["kv_used"], there.figures["kv_used"], rtol=0.2)  # sampled at decisions


def test_paired_intervals_are_those_of_scipy(held_out: HeldOut) -> None:
    from scipy import stats

    rng = np.random.default_rng(0)
    theirs = rng.exponential(5.0, 12) + 1.0
    ours = theirs * (0.97 + 0.02 * rng.normal(size=12))
    mean, low, high = paired(ours, theirs)
    wanted = stats.ttest_1samp(ours / theirs - 1.0, 0.0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((wanted.low, wanted.high))
    assert low < mean < high < 0.0
    measured = {spec: held_out.baseline(make_policy(spec)) for spec in ("vllm", "spjf")}
    best = best_baseline({spec: each.figures for spec, each in measured.items()}, "mean_e2e_s")
    assert best is not None
    assert measured[best].mean("mean_e2e_s") == min(each.mean("mean_e2e_s") for each in measured.values())
