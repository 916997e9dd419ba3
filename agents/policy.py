"""SchedulingPolicy: a network of ours as the policy that sb3-contrib's MaskablePPO trains.

`MaskablePPO(SchedulingPolicy, env, policy_kwargs={"layout": Layout.of(env.config)})` works as it is; what `agents.ppo`
adds are advantages that know about time.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.distributions import MaskableDistribution
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor

from agents.layout import Layout
from agents.networks import Scorer, log_probs, make_network
from llmqgym.errors import InputError

#: Adam's step as one call for all weights. With an eps of 1e-5, as PPO is often given, the small gradients of a policy
#: that is sure of itself move nothing.
ADAM = {"fused": True, "eps": 1e-8}


class SchedulingPolicy(MaskableActorCriticPolicy):
    """`network` ("scorer" or "mlp") of a width `hidden` on flat observations of a `layout`; without `preempt`, a scorer
    that leaves whom it has admitted in peace.

    Values are learnt as multiples of `value_std` from `value_mean`, two numbers that are saved with the weights: what
    an episode costs differs by orders of magnitude between scenarios. Raises InputError for spaces that do not fit.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        *,
        layout: Layout,
        network: str = "scorer",
        hidden: int = 32,
        preempt: bool = True,
        **kwargs: Any,
    ) -> None:
        if observation_space.shape != (layout.size,) or not isinstance(action_space, spaces.Discrete):
            raise InputError(
                f"observations {observation_space} do not have the layout's {layout.size} numbers, or {action_space} "
                "is not for commands: make the environment with observation='flat' and action='command'."
            )
        self._made_of, self._preempt = (network, layout, hidden), preempt
        kwargs.setdefault("optimizer_kwargs", dict(ADAM))
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _build(self, lr_schedule: Schedule) -> None:
        """In place of SB3's two towers; its distributions are used where it asks for them."""
        self.network = make_network(*self._made_of)
        if not self._preempt:
            if not isinstance(self.network, Scorer):
                raise InputError("preempt=false is for the network 'scorer': give 'mlp' an environment with running=0.")
            self.network.never_preempt()
        self.register_buffer("value_mean", torch.zeros(()))
        self.register_buffer("value_std", torch.ones(()))
        rate = lr_schedule(1)  # type: ignore[call-arg]
        groups = [{"params": each} for each in self.network.parameter_groups()]
        self.optimizer = self.optimizer_class(groups, lr=rate, **self.optimizer_kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        network, layout, hidden = self._made_of
        found = super()._get_constructor_parameters()
        return found | {"network": network, "layout": layout, "hidden": hidden, "preempt": self._preempt}

    def log_probs(self, observations: Tensor, masks: Tensor) -> Tensor:
        """Of every command, [N, A]; -inf where the mask forbids one."""
        return log_probs(self.network.logits(observations), masks)

    def scaled_values(self, observations: Tensor) -> Tensor:
        """What the network says, [N]: (value - value_mean) / value_std."""
        return self.network.values(observations)

    # What SB3 asks for.

    def predict_values(self, obs: Tensor) -> Tensor:
        """[N, 1], in units of the reward."""
        return (self.scaled_values(obs) * self.value_std + self.value_mean).unsqueeze(-1)

    def get_distribution(self, obs: Tensor, action_masks: np.ndarray | None = None) -> MaskableDistribution:
        """Of the commands, masked."""
        found = self.action_dist.proba_distribution(action_logits=self.network.logits(obs))
        if action_masks is not None:
            found.apply_masking(action_masks)
        return found

    def forward(
        self, obs: Tensor, deterministic: bool = False, action_masks: np.ndarray | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(actions, values, logarithms of the probabilities)."""
        found = self.get_distribution(obs, action_masks)
        actions = found.get_actions(deterministic=deterministic)
        return actions, self.predict_values(obs), found.log_prob(actions)

    def evaluate_actions(
        self, obs: Tensor, actions: Tensor, action_masks: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """(values, logarithms of the probabilities, entropies)."""
        found = self.get_distribution(obs, action_masks)  # type: ignore[arg-type]
        return self.predict_values(obs), found.log_prob(actions), found.entropy()
