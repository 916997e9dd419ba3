"""Behaviour cloning: a policy learns to do as a teacher does, on what it meets itself.

The policy acts and the teacher says what it would have done (DAgger, arXiv 1011.0686; the first rounds are the
teacher's), so that the imitation holds where the imitator goes. On every other server it gives its most probable
command, as it will be played: a policy that holds back is led by that into queues that no tossing brings it to.

A teacher is sure of itself; `doubt` is the probability left to the other commands that let in or let run, so that
something remains to be tried. Preempting gets none of it: what a preemption wastes is dear and comes late, and
exploring it at random is ruinous.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.policy import SchedulingPolicy
from agents.teachers import Teacher
from llmqgym.sb3 import SB3VecEnv


@dataclass(frozen=True)
class Cloning:
    """How much is imitated."""

    num_rounds: int = 20
    num_steps: int = 64  # of every server, a round
    num_teacher_rounds: int = 4  # in which the teacher acts
    doubt: float = 0.02
    learning_rate: float = 1e-3  # at first; it falls linearly to a tenth
    batch_size: int = 2048
    num_epochs: int = 2  # of a round
    num_kept: int = 6  # rounds that are imitated again, the last ones


def targets_of(actions: Tensor, masks: Tensor, window: int, doubt: float) -> Tensor:
    """The probabilities to imitate, [N, A]: 1 - doubt on the teacher's command, the rest on the other ones allowed
    among run and admit."""
    chosen = nn.functional.one_hot(actions, masks.shape[1]).to(torch.float32)
    others = masks.clone()
    others[:, 1 + window :] = False
    others &= chosen == 0.0
    number = others.sum(-1, keepdim=True)
    share = torch.where(number > 0, torch.tensor(doubt, device=masks.device), 0.0)
    return chosen * (1.0 - share) + others * share / number.clamp(min=1)


def clone(
    policy: SchedulingPolicy, env: SB3VecEnv, teacher: Teacher, settings: Cloning, window: int
) -> dict[str, list[float]]:
    """Imitate; returns the curves: the divergence, and how often policy and teacher agree, a round."""
    device = policy.device
    optimizer = torch.optim.Adam(policy.network.parameters(), lr=settings.learning_rate)
    curves: dict[str, list[float]] = {"divergence": [], "agreement": []}
    observations: Any = env.reset()
    kept: list[tuple[Tensor, Tensor, Tensor]] = []
    for number in range(settings.num_rounds):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * (1.0 - 0.9 * number / settings.num_rounds)
        met, agreement = [], 0.0
        for _ in range(settings.num_steps):
            masks = env.action_masks()
            wanted = teacher(observations, masks)
            seen, allowed = torch.as_tensor(observations.copy()), torch.as_tensor(masks)
            with torch.no_grad():
                found = policy.log_probs(seen.to(device), allowed.to(device)).cpu()
            agreement += float((found.argmax(-1).numpy() == wanted).mean()) / settings.num_steps
            met.append((seen, allowed, torch.as_tensor(wanted)))
            acts = wanted if number < settings.num_teacher_rounds else _commands(found)
            observations = env.step(np.asarray(acts))[0]
        kept = [*kept, *met][-settings.num_kept * settings.num_steps :]
        curves["divergence"].append(_imitate(policy, optimizer, kept, settings, window))
        curves["agreement"].append(agreement)
    return curves


def _commands(log_probs: Tensor) -> NDArray[np.int64]:
    """Drawn on the first, third, .. server, the most probable on the others, [N]."""
    drawn, likeliest = log_probs.exp().multinomial(1)[:, 0], log_probs.argmax(-1)
    return torch.where(torch.arange(len(log_probs)) % 2 == 0, drawn, likeliest).numpy()


def _imitate(
    policy: SchedulingPolicy,
    optimizer: torch.optim.Optimizer,
    met: list[tuple[Tensor, Tensor, Tensor]],
    settings: Cloning,
    window: int,
) -> float:
    """Some epochs; returns the mean divergence."""
    observations, masks, wanted = (torch.cat(parts).to(policy.device) for parts in zip(*met, strict=True))
    targets = targets_of(wanted, masks, window, settings.doubt)
    total, number = 0.0, 0
    for _ in range(settings.num_epochs):
        for batch in torch.randperm(len(wanted)).split(settings.batch_size):
            found = policy.log_probs(observations[batch], masks[batch]).masked_fill(~masks[batch], 0.0)
            aims = targets[batch]
            loss = (torch.special.xlogy(aims, aims) - aims * found).sum(-1).mean()
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(policy.network.parameters(), 1.0)
            optimizer.step()
            total, number = total + float(loss.detach()), number + 1
    return total / number
