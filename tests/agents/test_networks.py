"""The networks: what the order of the rows, their number, and absent ones do to the logits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

WHY = "torch is not installed: the extra [train], which `make test-train` installs"
torch = pytest.importorskip("torch", reason=WHY)

from agents.layout import Layout  # noqa: E402
from agents.networks import FlatMLP, Scorer, log_probs, make_network  # noqa: E402
from llmqgym.errors import InputError  # noqa: E402
from llmqgym.kernel.observe import ABSENT  # noqa: E402

LAYOUT = Layout(window=5, running=4)


def observations(num: int, seed: int = 0) -> torch.Tensor:
    return torch.rand((num, LAYOUT.size), generator=torch.Generator().manual_seed(seed))


def parts(flat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Server, waiting [N, K, W], running [N, B, R]."""
    waiting = flat[:, LAYOUT.num_server : LAYOUT.first_running].reshape(len(flat), LAYOUT.window, -1)
    return flat[:, : LAYOUT.num_server], waiting, flat[:, LAYOUT.first_running :].reshape(len(flat), LAYOUT.running, -1)


def joined(server: torch.Tensor, waiting: torch.Tensor, running: torch.Tensor) -> torch.Tensor:
    return torch.cat([server, waiting.flatten(1), running.flatten(1)], -1)


@pytest.fixture
def scorer() -> Scorer:
    torch.manual_seed(3)
    return Scorer(LAYOUT, 16)


def test_permuting_requests_permutes_their_logits(scorer: Scorer) -> None:
    server, waiting, running = parts(observations(7))
    first, second = torch.randperm(LAYOUT.window), torch.randperm(LAYOUT.running)
    before = scorer.logits(joined(server, waiting, running))
    after = scorer.logits(joined(server, waiting[:, first], running[:, second]))
    k = 1 + LAYOUT.window
    torch.testing.assert_close(after[:, 0], before[:, 0])
    torch.testing.assert_close(after[:, 1:k], before[:, 1:k][:, first])
    torch.testing.assert_close(after[:, k:], before[:, k:][:, second])
    torch.testing.assert_close(
        scorer.values(joined(server, waiting, running)),
        scorer.values(joined(server, waiting[:, first], running[:, second])),
    )


def test_absent_rows_say_nothing_so_that_a_wider_window_sees_the_same(scorer: Scorer) -> None:
    server, waiting, running = parts(observations(6))
    wide = scorer.resized(dataclasses.replace(LAYOUT, window=9, running=7))
    more = [torch.full((6, 4, waiting.shape[2]), ABSENT), torch.full((6, 3, running.shape[2]), ABSENT)]
    seen = joined(server, torch.cat([waiting, more[0]], 1), torch.cat([running, more[1]], 1))
    narrow, found = scorer.logits(joined(server, waiting, running)), wide.logits(seen)
    torch.testing.assert_close(found[:, :6], narrow[:, :6])
    torch.testing.assert_close(found[:, 10:14], narrow[:, 6:])
    torch.testing.assert_close(wide.values(seen), scorer.values(joined(server, waiting, running)))


def test_the_logits_are_those_of_the_formula_in_numpy(scorer: Scorer) -> None:
    """Row by row, written down a second time."""
    weights = {name: value.detach().numpy().astype(np.float64) for name, value in scorer.named_parameters()}

    def relu(values: np.ndarray) -> np.ndarray:
        return np.maximum(values, 0.0)

    flat = observations(3, seed=5)
    flat[1, LAYOUT.num_server + 6 : LAYOUT.first_running] = ABSENT  # one waits
    server, waiting, running = (each.numpy().astype(np.float64) for each in parts(flat))
    for place, found in enumerate(scorer.logits(flat).detach().numpy()):
        rows, means = {}, []
        for name, its_rows in (("waiting", waiting[place]), ("running", running[place])):
            w, u, b = (weights[f"encoder.{name}.{each}"] for each in ("row.weight", "server.weight", "server.bias"))
            rows[name] = [relu(w @ x + u @ server[place] + b) for x in its_rows if not (x == ABSENT).all()]
            means.append(np.mean(rows[name], axis=0))
        g = relu(
            weights["encoder.context.weight"] @ np.concatenate([server[place], *means])
            + weights["encoder.context.bias"]
        )
        wanted = [weights["run.out.weight"][0] @ relu(weights["run.context.weight"] @ g + weights["run.context.bias"])]
        for name, head in (("waiting", "admit"), ("running", "preempt")):
            c, b = weights[f"{head}.context.weight"], weights[f"{head}.context.bias"]
            scores = [
                weights[f"{head}.out.weight"][0] @ relu(weights[f"{head}.row.weight"] @ e + c @ g + b)
                for e in rows[name]
            ]
            first = 1 if name == "waiting" else 1 + LAYOUT.window
            np.testing.assert_allclose(found[first : first + len(scores)], scores, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found[0], wanted[0], rtol=1e-4, atol=1e-6)


def test_leaving_out_absent_rows_changes_nothing(scorer: Scorer) -> None:
    """Against the graph of fixed shapes, which computes them; gradients too."""
    flat = observations(50, seed=8)
    server, waiting, running = parts(flat)
    waiting[torch.rand(waiting.shape[:2]) < 0.5] = ABSENT
    running[torch.rand(running.shape[:2]) < 0.5] = ABSENT
    flat = joined(server, waiting, running)
    there = torch.cat(
        [torch.ones(50, 1, dtype=torch.bool), (waiting != ABSENT).any(-1), (running != ABSENT).any(-1)], -1
    )
    packed, dense = (each.masked_fill(~there, 0.0) for each in (scorer.logits(flat), scorer(flat)))
    torch.testing.assert_close(packed, dense)
    weights = [scorer.encoder.waiting.row.weight, scorer.encoder.context.weight, scorer.admit.row.weight]
    for mine, theirs in zip(
        torch.autograd.grad(packed.square().sum(), weights), torch.autograd.grad(dense.square().sum(), weights),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_who_never_preempts_gives_it_no_chance_and_learns_none(scorer: Scorer) -> None:
    scorer.never_preempt()
    torch.testing.assert_close(scorer.logits(observations(4)), scorer(observations(4)))  # the weights alone say so too
    masks = torch.ones((4, LAYOUT.num_actions), dtype=torch.bool)
    found = log_probs(scorer.logits(observations(4)), masks)
    assert (found.exp()[:, 1 + LAYOUT.window :] == 0.0).all()
    found[:, 1].sum().backward()
    assert all(each.grad is None for each in scorer.preempt.parameters())


@pytest.mark.parametrize("name", ["scorer", "mlp"])
def test_a_mask_leaves_the_allowed_commands_all_the_probability(name: str) -> None:
    network = make_network(name, LAYOUT, 8)
    masks = torch.rand((9, LAYOUT.num_actions)) < 0.4
    masks[:, 0] = True
    found = log_probs(network.logits(observations(9)), masks).exp()
    assert (found[~masks] == 0.0).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(9))
    actor, critic = network.parameter_groups()
    assert len(actor) + len(critic) == len(list(network.parameters()))


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(InputError, match="scorer"):
        make_network("scoorer", LAYOUT, 8)
    assert isinstance(make_network("mlp", LAYOUT, 8), FlatMLP)
