"""A recurrent state-space model: what came before in a block-diagonal GRU, what is open in categorical variables.

Source: DreamerV3 (Hafner et al. 2025, arXiv 2301.04104). Notable choices: the class probabilities are mixed with 1 %
of uniform, so that no logarithm runs away; gradients pass a draw straight through; whatever does not depend on the step
before (observations, actions, the prior's logits in training) is computed for all steps at once, because on a CPU a
step costs its number of operations and not their size.

Shape legend: N sequences, T steps, D deterministic units, S categorical variables, C classes, H hidden units, G blocks,
A action channels, E embedding, F = D + S * C features.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

Choose: TypeAlias = Callable[[Tensor], Tensor]
"""(..., S, C) chances to (..., S, C) one-hot rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RssmConfig:
    """Size of the recurrent state; the default is DreamerV3's ``size1m``."""

    deter: int = 512
    """Deterministic units D."""
    hidden: int = 64
    """H, of the layers in between."""
    variables: int = 32
    """S."""
    classes: int = 4
    """C of each variable."""
    blocks: int = 8
    """Parts of the GRU that do not mix within a step; divides ``deter``."""
    uniform: float = 0.01
    """Share of uniform chances."""


class State(NamedTuple):
    """Where sequences stand."""

    deter_ND: Tensor
    stoch_NX: Tensor
    """S * C: the drawn classes as one-hot rows, laid end to end."""

    @property
    def features(self) -> Tensor:
        """(N, F) what heads read."""
        return torch.cat(self, dim=-1)


class Block(nn.Module):
    """A matrix for each of G equal parts of the input, shape (..., G, I) to (..., G, O)."""

    def __init__(self, blocks: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = math.sqrt(3 / inputs)
        self.weight_GIO = nn.Parameter(torch.empty(blocks, inputs, outputs).uniform_(-bound, bound))
        self.bias_GO = nn.Parameter(torch.zeros(blocks, outputs))

    def forward(self, x_NGI: Tensor) -> Tensor:
        """Of (N, G, I)."""
        return torch.baddbmm(self.bias_GO.unsqueeze(1), x_NGI.transpose(0, 1), self.weight_GIO).transpose(0, 1)


class Norm(nn.Module):
    """Root mean square norm in single precision, under autocast too."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale_D = nn.Parameter(torch.ones(width))

    def forward(self, x_ND: Tensor) -> Tensor:
        """(..., D) to the same."""
        return functional.rms_norm(x_ND.float(), self.scale_D.shape, self.scale_D, eps=1e-4)


class Layer(nn.Module):
    """Linear, RMS norm, SiLU."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.norm = Norm(outputs)

    def forward(self, x_NI: Tensor) -> Tensor:
        """(N, I) to (N, O)."""
        return functional.silu(self.norm(self.linear(x_NI)))


def mlp(inputs: int, units: int, layers: int, outputs: int, *, scale: float = 1.0) -> nn.Sequential:
    """Layers with norms and a linear end whose first weights are scaled; 0: it starts by saying 0."""
    widths = [inputs, *[units] * layers]
    end = nn.Linear(widths[-1], outputs)
    with torch.no_grad():
        end.weight.mul_(scale)
        end.bias.zero_()
    return nn.Sequential(*(Layer(a, b) for a, b in pairwise(widths)), end)


class Rssm(nn.Module):
    """The dynamics: how a state moves under an action, and what an observation says about it.

    Args:
        config: sizes.
        actions: action channels.
        embedding: width of what an encoder says of an observation.
    """

    def __init__(self, config: RssmConfig, actions: int, embedding: int) -> None:
        super().__init__()
        self.config = config
        wide, many = config.hidden, config.variables * config.classes
        part = config.deter // config.blocks
        assert part * config.blocks == config.deter, "blocks divide the deterministic units"
        self.from_deter = Layer(config.deter, wide)
        self.from_stoch = Layer(many, wide)
        self.from_action = Layer(actions, wide)
        self.mix = Block(config.blocks, part + 3 * wide, part)
        self.mix_norm = Norm(config.deter)
        self.gates = Block(config.blocks, part, 3 * part)
        self.prior_head = mlp(config.deter, wide, 2, many)
        self.seen_deter = nn.Linear(config.deter, wide)
        self.seen = nn.Linear(embedding, wide, bias=False)
        self.seen_norm = Norm(wide)
        self.posterior_head = nn.Linear(wide, many)

    @property
    def features(self) -> int:
        """F."""
        return self.config.deter + self.config.variables * self.config.classes

    def initial(self, count: int) -> State:
        """Nothing known: zeros."""
        like = self.posterior_head.weight
        many = self.config.variables * self.config.classes
        return State(like.new_zeros(count, self.config.deter), like.new_zeros(count, many))

    def chances(self, logits_NX: Tensor) -> Tensor:
        """(..., S, C) class probabilities, mixed with uniform ones."""
        raw = torch.unflatten(logits_NX.float(), -1, (self.config.variables, self.config.classes))
        share = self.config.uniform
        return (1 - share) * torch.softmax(raw, dim=-1) + share / self.config.classes

    def draw(self, logits_NX: Tensor, choose: Choose) -> Tensor:
        """(..., S * C) one-hot rows; gradients go to the chances as if they had been passed on."""
        chances = self.chances(logits_NX)
        chosen = choose(chances.detach())
        return (chosen + (chances - chances.detach())).flatten(-2)

    def advance(self, state: State, acted_NH: Tensor) -> Tensor:
        """(N, D) deterministic units a step on; ``acted`` is ``from_action`` of the action taken."""
        blocks = self.config.blocks
        told = torch.cat([self.from_deter(state.deter_ND), self.from_stoch(state.stoch_NX), acted_NH], dim=-1)
        parts = torch.unflatten(state.deter_ND, -1, (blocks, -1))
        mixed = self.mix(torch.cat([parts, told.unsqueeze(-2).expand(-1, blocks, -1)], dim=-1)).flatten(-2)
        mixed = torch.unflatten(functional.silu(self.mix_norm(mixed)), -1, (blocks, -1))
        reset, candidate, update = self.gates(mixed).chunk(3, dim=-1)
        candidate = torch.tanh(torch.sigmoid(reset) * candidate)
        keep = torch.sigmoid(update.float() - 1)
        return torch.lerp(parts, candidate.float(), keep).flatten(-2)

    def prior(self, deter_ND: Tensor) -> Tensor:
        """(N, S * C) logits before anything is seen."""
        out: Tensor = self.prior_head(deter_ND)
        return out

    def posterior(self, deter_ND: Tensor, seen_NH: Tensor) -> Tensor:
        """(N, S * C) logits once it is; ``seen`` is :attr:`seen` of the embedding."""
        hidden = functional.silu(self.seen_norm(self.seen_deter(deter_ND) + seen_NH))
        out: Tensor = self.posterior_head(hidden)
        return out

    def imagine(self, state: State, action_NA: Tensor, choose: Choose) -> State:
        """A step without an observation."""
        deter = self.advance(state, self.from_action(action_NA))
        return State(deter, self.draw(self.prior(deter), choose))

    def observe(self, state: State, action_NA: Tensor, embedding_NE: Tensor, choose: Choose) -> State:
        """A step and what is seen after it."""
        deter = self.advance(state, self.from_action(action_NA))
        return State(deter, self.draw(self.posterior(deter, self.seen(embedding_NE)), choose))

    def filtered(
        self, embedding_NTE: Tensor, action_NTA: Tensor, first_NT: Tensor, choose: Choose
    ) -> tuple[State, Tensor, Tensor]:
        """States along sequences, with the logits of the posterior and of the prior, each (N, T, S * C).

        Args:
            embedding_NTE: what is seen in each row.
            action_NTA: in force from the row before to this one.
            first_NT: 1 in rows that begin a run: nothing is remembered there, and no action led to them.
            choose: how classes are drawn.
        """
        seen_NTH = self.seen(embedding_NTE)
        keep_NT1 = 1 - first_NT.unsqueeze(-1)
        acted_NTH = self.from_action(action_NTA * keep_NT1)
        state = self.initial(len(embedding_NTE))
        deters, stochs, logits = [], [], []
        for seen_NH, acted_NH, keep_N1 in zip(seen_NTH.unbind(1), acted_NTH.unbind(1), keep_NT1.unbind(1), strict=True):
            deter = self.advance(State(state.deter_ND * keep_N1, state.stoch_NX * keep_N1), acted_NH)
            posterior = self.posterior(deter, seen_NH)
            state = State(deter, self.draw(posterior, choose))
            deters.append(state.deter_ND)
            stochs.append(state.stoch_NX)
            logits.append(posterior)
        along = State(torch.stack(deters, dim=1), torch.stack(stochs, dim=1))
        return along, torch.stack(logits, dim=1), self.prior(along.deter_ND)

    def divergence(self, of_NX: Tensor, from_NX: Tensor) -> Tensor:
        """(N,) Kullback-Leibler divergence of the chances of two sets of logits, nats over all variables."""
        of, other = self.chances(of_NX), self.chances(from_NX)
        return (of * (of.log() - other.log())).sum(dim=(-2, -1))


def by_chance(chances: Tensor) -> Tensor:
    """Classes drawn by torch's own random state, as one-hot rows: the fastest of exponential clocks."""
    fastest = (chances / torch.empty_like(chances).exponential_()).argmax(dim=-1)
    return functional.one_hot(fastest, chances.shape[-1]).to(chances.dtype)


def likeliest(chances: Tensor) -> Tensor:
    """The most probable classes, as one-hot rows."""
    return functional.one_hot(chances.argmax(dim=-1), chances.shape[-1]).to(chances.dtype)
