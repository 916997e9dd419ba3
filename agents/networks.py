"""Networks: from flat observations to a logit for every command, and to a value.

`Scorer` reads every request with the same weights, so that the order of the rows does not matter and the same weights
serve any number of rows; `FlatMLP` is the reference that reads the observation as it lies. Both give unmasked logits,
float32 [N, 1 + K + B] in the order of the action space: run, admit, preempt. Torch alone, no Stable-Baselines3.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from agents.layout import Layout
from llmqgym.errors import unknown
from llmqgym.kernel.observe import ABSENT

NETWORKS = ("scorer", "mlp")
#: A logit of which the probability is 0 in single precision, whatever the others are.
NEVER = -1e5


def make_network(name: str, layout: Layout, hidden: int) -> Scorer | FlatMLP:
    """By name. Raises InputError for an unknown one."""
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    return Scorer(layout, hidden) if name == "scorer" else FlatMLP(layout, hidden)


def _linear(inputs: int, outputs: int, gain: float = math.sqrt(2.0), bias: bool = True) -> nn.Linear:
    made = nn.Linear(inputs, outputs, bias=bias)
    nn.init.orthogonal_(made.weight, gain)
    if bias:
        nn.init.zeros_(made.bias)
    return made


class Present:
    """Which of the rows [N, K, W] are there: those of which any field is not ABSENT. What is there is often a small
    part of what there is room for, and the rest is not computed."""

    def __init__(self, rows: Tensor) -> None:
        there = (rows != ABSENT).any(-1)
        self.shape = there.shape
        self.places = there.flatten().nonzero().squeeze(-1)
        self.owners = self.places // max(rows.shape[1], 1)  # the observation that a row is of
        self.numbers = there.sum(-1, keepdim=True).to(rows.dtype)
        self.rows = rows.flatten(0, 1)[self.places]

    def mean(self, encoded: Tensor) -> Tensor:
        """Of what was made of the rows, [M, H], for each observation: [N, H]."""
        total = encoded.new_zeros(self.shape[0], encoded.shape[1]).index_add(0, self.owners, encoded)
        return total / self.numbers.clamp(min=1.0)

    def spread(self, values: Tensor) -> Tensor:
        """Values of the rows, [M], in their places, [N, K]; NEVER elsewhere."""
        spread = values.new_full((self.shape.numel(),), NEVER).index_copy(0, self.places, values)
        return spread.reshape(self.shape)


class Rows(nn.Module):
    """e_k = relu(W x_k + U s + b) for rows x of requests and the server's fields s; 0 where no request is."""

    def __init__(self, num_fields: int, num_server: int, hidden: int) -> None:
        super().__init__()
        self.row = _linear(num_fields, hidden, bias=False)
        self.server = _linear(num_server, hidden)

    def forward(self, rows: Tensor, server: Tensor) -> tuple[Tensor, Tensor]:
        """(e float32 [N, K, H], their mean [N, H]) of rows [N, K, W] and server [N, S]."""
        present = (rows != ABSENT).any(-1, keepdim=True).to(rows.dtype)
        encoded = torch.relu(self.row(rows) + self.server(server).unsqueeze(1)) * present
        return encoded, encoded.sum(1) / present.sum(1).clamp(min=1.0)

    def packed(self, present: Present, server: Tensor) -> tuple[Tensor, Tensor]:
        """The same of the rows that are there: (e [M, H], their means [N, H])."""
        encoded = torch.relu(self.row(present.rows) + self.server(server)[present.owners])
        return encoded, present.mean(encoded)


class Encoder(nn.Module):
    """Rows e_w and e_r, and the context g = relu(G [s, mean e_w, mean e_r] + b)."""

    def __init__(self, layout: Layout, hidden: int) -> None:
        super().__init__()
        self.layout = layout
        self.waiting = Rows(len(layout.waiting_fields), layout.num_server, hidden)
        self.running = Rows(len(layout.running_fields), layout.num_server, hidden)
        self.context = _linear(layout.num_server + 2 * hidden, hidden)

    def cut(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(server [N, S], waiting [N, K, W], running [N, B, R]) of flat observations [N, D]."""
        layout, num = self.layout, len(observations)
        waiting = observations[:, layout.num_server : layout.first_running]
        running = observations[:, layout.first_running :]
        return (
            observations[:, : layout.num_server],
            waiting.reshape(num, layout.window, len(layout.waiting_fields)),
            running.reshape(num, layout.running, len(layout.running_fields)),
        )

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(e_w [N, K, H], e_r [N, B, H], g [N, H]) of flat observations [N, D]."""
        server, waiting, running = self.cut(observations)
        encoded_w, mean_w = self.waiting(waiting, server)
        encoded_r, mean_r = self.running(running, server)
        return encoded_w, encoded_r, self._context(server, mean_w, mean_r)

    def packed(self, server: Tensor, waiting: Present, running: Present) -> tuple[Tensor, Tensor, Tensor]:
        """The same of the rows that are there: (e_w [M, H], e_r [M', H], g [N, H])."""
        encoded_w, mean_w = self.waiting.packed(waiting, server)
        encoded_r, mean_r = self.running.packed(running, server)
        return encoded_w, encoded_r, self._context(server, mean_w, mean_r)

    def _context(self, server: Tensor, mean_w: Tensor, mean_r: Tensor) -> Tensor:
        return torch.relu(self.context(torch.cat([server, mean_w, mean_r], -1)))


class RowHead(nn.Module):
    """v . relu(A e_k + C g + b), [N, K]."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.row = _linear(hidden, hidden, bias=False)
        self.context = _linear(hidden, hidden)
        self.out = _linear(hidden, 1, 0.1, bias=False)

    def forward(self, encoded: Tensor, context: Tensor) -> Tensor:
        return self.out(torch.relu(self.row(encoded) + self.context(context).unsqueeze(1))).squeeze(-1)

    def packed(self, encoded: Tensor, context: Tensor, present: Present) -> Tensor:
        """The same, NEVER where no request is."""
        scores = self.out(torch.relu(self.row(encoded) + self.context(context)[present.owners])).squeeze(-1)
        return present.spread(scores)


class ContextHead(nn.Module):
    """v . relu(R g + b), [N]."""

    def __init__(self, hidden: int, gain: float) -> None:
        super().__init__()
        self.context = _linear(hidden, hidden)
        self.out = _linear(hidden, 1, gain, bias=False)

    def forward(self, context: Tensor) -> Tensor:
        return self.out(torch.relu(self.context(context))).squeeze(-1)


class Scorer(nn.Module):
    """A logit for every request shown and one for run, by shared weights; the value has an encoder of its own.

    logit_run = v_0 . relu(R g + b), logit_admit_k = v_w . relu(A_w e_w_k + C_w g + b_w), logit_preempt_b likewise with
    weights of its own. Permuting the rows permutes the logits. Cf. the kernel network of RLScheduler (arXiv
    1910.08925) and deep sets (arXiv 1703.06114).
    """

    def __init__(self, layout: Layout, hidden: int = 32) -> None:
        super().__init__()
        self.layout, self.hidden = layout, hidden
        self.preempts = True
        self.encoder = Encoder(layout, hidden)
        self.run = ContextHead(hidden, 0.1)
        self.admit = RowHead(hidden)
        self.preempt = RowHead(hidden)
        self.value_encoder = Encoder(layout, hidden)
        self.value = ContextHead(hidden, 1.0)

    def logits(self, observations: Tensor) -> Tensor:
        """Unmasked, float32 [N, 1 + K + B]; NEVER where no request is, which no mask allows."""
        server, waiting, running = self.encoder.cut(observations)
        first, second = Present(waiting), Present(running)
        encoded_w, encoded_r, context = self.encoder.packed(server, first, second)
        preempt = context.new_full(second.shape, NEVER)
        if self.preempts:
            preempt = self.preempt.packed(encoded_r, context, second)
        return torch.cat([self.run(context).unsqueeze(-1), self.admit.packed(encoded_w, context, first), preempt], -1)

    def values(self, observations: Tensor) -> Tensor:
        """float32 [N]."""
        server, waiting, running = self.value_encoder.cut(observations)
        return self.value(self.value_encoder.packed(server, Present(waiting), Present(running))[2])

    def forward(self, observations: Tensor) -> Tensor:
        """The logits as a graph of fixed shapes, which is what is exported; some number where no request is."""
        waiting, running, context = self.encoder(observations)
        run = self.run(context).unsqueeze(-1)
        return torch.cat([run, self.admit(waiting, context), self.preempt(running, context)], -1)

    def parameter_groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """(of the logits, of the value)."""
        actor = (self.encoder, self.run, self.admit, self.preempt)
        return _parameters(*actor), _parameters(self.value_encoder, self.value)

    def never_preempt(self) -> None:
        """Set the weights of the preempt head to a score that nobody chooses, and keep them there. They are not asked
        any more, and whoever reads them from a file gets the same."""
        with torch.no_grad():
            for weights in (self.preempt.row.weight, self.preempt.context.weight):
                weights.zero_()
            self.preempt.context.bias.fill_(1.0)
            self.preempt.out.weight.fill_(NEVER / self.hidden)
        self.preempt.requires_grad_(False)
        self.preempts = False

    def resized(self, layout: Layout) -> Scorer:
        """The same weights for another number of rows; the fields must be the same."""
        made = Scorer(layout, self.hidden)
        made.load_state_dict(self.state_dict())
        return made


class FlatMLP(nn.Module):
    """Two layers of tanh over the whole observation for the logits, two for the value."""

    def __init__(self, layout: Layout, hidden: int = 64) -> None:
        super().__init__()
        self.layout, self.hidden = layout, hidden
        self.actor, self.critic = self._network(layout.num_actions, 0.01), self._network(1, 1.0)

    def _network(self, outputs: int, gain: float) -> nn.Sequential:
        hidden = self.hidden
        return nn.Sequential(
            _linear(self.layout.size, hidden), nn.Tanh(), _linear(hidden, hidden), nn.Tanh(),
            _linear(hidden, outputs, gain),
        )  # fmt: skip

    def logits(self, observations: Tensor) -> Tensor:
        """Unmasked, float32 [N, 1 + K + B]."""
        return self.actor(observations)  # type: ignore[no-any-return]

    def values(self, observations: Tensor) -> Tensor:
        """float32 [N]."""
        return self.critic(observations).squeeze(-1)  # type: ignore[no-any-return]

    def forward(self, observations: Tensor) -> Tensor:
        """The logits: what is exported."""
        return self.logits(observations)

    def parameter_groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """(of the logits, of the value)."""
        return _parameters(self.actor), _parameters(self.critic)


def _parameters(*modules: nn.Module) -> list[nn.Parameter]:
    return [each for module in modules for each in module.parameters()]


def log_probs(logits: Tensor, masks: Tensor) -> Tensor:
    """Logarithms of the probabilities of the commands, [N, A]; -inf where the bool mask forbids one."""
    return logits.masked_fill(~masks, -torch.inf).log_softmax(-1)
