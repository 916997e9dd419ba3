"""Compiled inference against a naive forward pass and against torch; rows in another order, and more of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from drawn_agents import drawn_brain, seen
from naive_networks import NAIVE

from agents.brain import Brain
from agents.layout import Layout
from llmqgym.errors import InputError
from llmqgym.kernel.memory import address_of

#: What logits may differ by, beside their size of a few units.
TOLERANCE = 1e-5
VIEWS = [{"window": 16, "running": 16}, {"window": 5, "running": 3, "oldest": 0}, {"window": 1, "running": 0}]


def layout_of(view: dict[str, int]) -> Layout:
    return Layout(view["window"], view["running"])


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("network", ["scorer", "mlp"])
def test_the_naive_pass_agrees(network: str, view: dict[str, int]) -> None:
    observations, masks = seen(40, **view)
    brain = drawn_brain(network, layout_of(view), 8)
    found = brain.logits(observations)
    expected = [NAIVE[network](brain.tensors, brain.layout, each) for each in observations]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=TOLERANCE)
    allowed = brain.logits(observations, masks)
    assert (np.isneginf(allowed) == (masks == 0)).all()
    assert (allowed[masks != 0] == found[masks != 0]).all()
    assert (brain.actions(observations, masks) == allowed.argmax(1)).all()
    assert brain.num_decisions == 3 * len(observations)


@pytest.mark.parametrize("network", ["scorer", "mlp"])
def test_torch_agrees(network: str) -> None:
    """Logits within 1e-5, and the same commands unless the two best are as close."""
    torch = pytest.importorskip("torch", reason="torch is of the extra train")
    from agents.from_torch import brain_of
    from agents.networks import make_network

    torch.manual_seed(0)
    torch.set_num_threads(1)
    observations, masks = seen(500, seed=1)
    for hidden in (8, 64):
        made = make_network(network, Layout(16, 16), hidden)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter += 0.1 * torch.randn_like(parameter)
            expected = made(torch.as_tensor(observations)).numpy()
        brain = brain_of(made)
        np.testing.assert_allclose(brain.logits(observations), expected, rtol=0, atol=TOLERANCE)
        theirs = np.where(masks != 0, expected, -np.inf)
        best = np.sort(theirs, 1)
        clear = best[:, -1] - best[:, -2] > TOLERANCE
        assert clear.mean() > 0.9
        assert (brain.actions(observations, masks) == theirs.argmax(1))[clear].all()


@pytest.mark.parametrize("network", ["scorer", "mlp"])
def test_plain_python_makes_the_same_bits(network: str) -> None:
    """The function itself, beside what numba makes of it; tanh is the C library's there and numpy's here."""
    observations, masks = seen(30, seed=2)
    brain = drawn_brain(network, Layout(16, 16), 8)
    logits, actions = brain.logits(observations, masks), brain.actions(observations, masks)
    for place in range(len(observations)):
        observation, mask = observations[place].copy(), masks[place].copy()
        action = brain.choose(address_of(observation), address_of(mask), address_of(brain.model))
        plain = np.where(mask != 0, brain.worked_out()[: len(mask)], -np.inf)
        assert action == actions[place]
        if network == "scorer":
            assert (plain == logits[place]).all()
        else:
            np.testing.assert_allclose(plain, logits[place], atol=1e-6)


def test_the_order_of_rows_does_not_matter() -> None:
    observations, _ = seen(40, seed=3)
    brain, layout = drawn_brain("scorer", Layout(16, 16), 16), Layout(16, 16)
    rng = np.random.default_rng(0)
    waiting, running = rng.permutation(16), rng.permutation(16)
    parts = np.split(observations, [layout.num_server, layout.first_running], axis=1)
    mixed = np.concatenate(
        [
            parts[0],
            parts[1].reshape(-1, 16, 6)[:, waiting].reshape(len(observations), -1),
            parts[2].reshape(-1, 16, 6)[:, running].reshape(len(observations), -1),
        ],
        axis=1,
    )
    there, here = brain.logits(observations), brain.logits(mixed)
    np.testing.assert_allclose(here[:, 0], there[:, 0], atol=TOLERANCE)
    np.testing.assert_allclose(here[:, 1:17], there[:, 1:17][:, waiting], atol=TOLERANCE)
    np.testing.assert_allclose(here[:, 17:], there[:, 17:][:, running], atol=TOLERANCE)


def test_more_rows_than_in_training() -> None:
    """Places where nobody is change nothing, and 256 of each are read as well as 16."""
    observations, _ = seen(20, seed=4)
    small = drawn_brain("scorer", Layout(16, 16), 16)
    large = small.resized(256, 200)
    layout = small.layout
    parts = np.split(observations, [layout.num_server, layout.first_running], axis=1)
    empty = np.full((len(observations), 240 * 6), -1.0, np.float32)
    padded = np.concatenate([parts[0], parts[1], empty, parts[2], empty[:, : 184 * 6]], axis=1)
    few, many = small.logits(observations), large.logits(padded)
    assert (many[:, :17] == few[:, :17]).all()
    assert (many[:, 257:273] == few[:, 17:]).all()
    crowd = np.random.default_rng(1).random((3, large.layout.size), np.float32)
    expected = [NAIVE["scorer"](large.tensors, large.layout, each) for each in crowd]
    np.testing.assert_allclose(large.logits(crowd), expected, rtol=1e-5, atol=TOLERANCE)


def test_a_flat_network_reads_places() -> None:
    with pytest.raises(InputError, match="reads the 4 and 3 places"):
        drawn_brain("mlp", Layout(4, 3), 8).resized(8, 3)


def test_ties_go_to_the_first() -> None:
    brain = drawn_brain("scorer", Layout(3, 2), 4)
    same = Brain("scorer", brain.layout, 4, {name: np.zeros_like(each) for name, each in brain.tensors.items()})
    masks = np.array([[1, 1, 0, 1, 1, 1], [0, 0, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1]], np.int8)
    assert same.actions(np.zeros((3, same.layout.size), np.float32), masks).tolist() == [0, 2, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run.out.weight": None}, "there is no tensor 'run.out.weight'"),
        ({"run.out.wieght": np.zeros((1, 4), np.float32)}, "did you mean 'run.out.weight'"),
        ({"run.out.weight": np.zeros((1, 5), np.float32)}, r"is float32 \[1, 5\]: the network has float32 \[1, 4\]"),
        ({"run.out.weight": np.zeros((1, 4))}, "is float64"),
        ({"run.out.weight": np.full((1, 4), np.nan, np.float32)}, "not finite"),
    ],
)
def test_weights_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    brain = drawn_brain("scorer", Layout(3, 2), 4)
    tensors = {name: each for name, each in {**brain.tensors, **change}.items() if each is not None}
    with pytest.raises(InputError, match=message):
        Brain("scorer", brain.layout, 4, tensors)


def test_observations_that_do_not_fit() -> None:
    brain = drawn_brain("scorer", Layout(3, 2), 4)
    with pytest.raises(InputError, match=r"this agent reads \[N, 41\]"):
        brain.logits(np.zeros((2, 40), np.float32))
