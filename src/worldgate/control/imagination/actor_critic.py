"""An actor and a critic that learn from what a recurrent world model imagines.

Source: DreamerV3 (Hafner et al. 2025, arXiv 2301.04104). The actor is a normal distribution around a squashed mean, in
units where an action goes from -1 to 1; what it draws is clipped. Notable choices: advantages are divided by the spread
of returns if that is above 1 and never multiplied, so that a task without reward stays explored; the critic is told its
own slow average besides the returns; futures that the model believes to have ended count for less.

Shape legend: N futures, K steps, A action channels, F features, B bins.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from worldgate.control.imagination.returns import Spread, lambda_returns
from worldgate.worlds.nn.rssm import State, by_chance, mlp
from worldgate.worlds.nn.rssm_net import RssmNet
from worldgate.worlds.nn.twohot import TwoHot

LEAST_STD, MOST_STD = 0.1, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BehaviourConfig:
    """How an actor and its critic learn."""

    horizon: int = 15
    """K, steps that are imagined."""
    starts: int = 256
    """N, states of a batch from which futures begin; 0: all."""
    mix: float = 0.95
    """Lambda of the returns."""
    discount: float = 0.997
    """Worth of a reward one step later."""
    entropy: float = 3e-4
    """Weight of the actor's entropy."""
    layers: int = 3
    units: int = 64
    slow: float = 0.02
    """Rate at which the critic's slow average follows it."""
    spread: float = 0.01
    """Rate at which the spread of returns is followed."""


class Imagined(NamedTuple):
    """Futures: K + 1 states, the actions between them, and what they gave."""

    features_KNF: Tensor
    drawn_KNA: Tensor
    """What the actor drew, before clipping."""
    reward_KN: Tensor
    lasting_KN: Tensor
    """Chance that the run goes on after each step."""


class Actor(nn.Module):
    """A normal distribution over actions."""

    def __init__(self, features: int, actions: int, config: BehaviourConfig) -> None:
        super().__init__()
        self.head = mlp(features, config.units, config.layers, 2 * actions, scale=0.01)

    def forward(self, features_NF: Tensor) -> Normal:
        """Of (N, A) actions, channel by channel."""
        mean_NA, width_NA = self.head(features_NF).float().chunk(2, dim=-1)
        std = LEAST_STD + (MOST_STD - LEAST_STD) * torch.sigmoid(width_NA + 2)
        return Normal(torch.tanh(mean_NA), std, validate_args=False)


class ActorCritic(nn.Module):
    """Both, with the critic's slow average.

    Args:
        config: how they learn.
        features: F of the world model.
        actions: A.
        bins: of the critic.
    """

    def __init__(self, config: BehaviourConfig, features: int, actions: int, bins: int) -> None:
        super().__init__()
        self.config = config
        self.actor = Actor(features, actions, config)
        self.critic = mlp(features, config.units, config.layers, bins, scale=0.0)
        self.slow = copy.deepcopy(self.critic).requires_grad_(False)
        self.two_hot = TwoHot(bins)
        self.spread = Spread(config.spread)

    def learners(self) -> list[nn.Parameter]:
        """What an optimiser is given."""
        return [*self.actor.parameters(), *self.critic.parameters()]

    @torch.no_grad()
    def imagine(self, net: RssmNet, start: State) -> Imagined:
        """Futures under the actor, from (N) states."""
        states, drawn = [start], []
        for _ in range(self.config.horizon):
            action_NA = self.actor(states[-1].features).sample()
            states.append(net.rssm.imagine(states[-1], action_NA.clamp(-1, 1), by_chance))
            drawn.append(action_NA)
        features = torch.stack([state.features for state in states])
        reward = net.read(net.reward, features[1:])
        ended = net.read("terminal", features[1:]) if "terminal" in net.reads else torch.zeros_like(reward)
        return Imagined(features, torch.stack(drawn), reward, 1 - ended)

    def loss(self, net: RssmNet, start: State) -> tuple[Tensor, dict[str, float]]:
        """The loss of both, and figures of the imagined futures."""
        config, seen = self.config, self.imagine(net, start)
        with torch.no_grad():
            value_KN = self.two_hot.mean(self.critic(seen.features_KNF))
            discount_KN = config.discount * seen.lasting_KN
            returns_KN = lambda_returns(seen.reward_KN, discount_KN, value_KN[1:], config.mix)
            scale = self.spread.watch(returns_KN)
            advantage_KN = (returns_KN - value_KN[:-1]) / scale
            counts_KN = torch.cat([torch.ones_like(discount_KN[:1]), discount_KN[:-1]]).cumprod(dim=0)
        before = seen.features_KNF[:-1]
        policy = self.actor(before)
        chance_KN = policy.log_prob(seen.drawn_KNA).sum(dim=-1)
        entropy_KN = policy.entropy().sum(dim=-1)
        acting = -(advantage_KN * chance_KN + config.entropy * entropy_KN)
        logits = self.critic(before)
        judging = self.two_hot.loss(logits, returns_KN)
        with torch.no_grad():
            slow_KN = self.two_hot.mean(self.slow(before))
        judging = judging + self.two_hot.loss(logits, slow_KN)
        loss = (counts_KN * (acting + judging)).mean()
        facts = {
            "imagined_return": float(returns_KN[0].mean()),
            "imagined_reward": float(seen.reward_KN.mean()),
            "entropy": float(entropy_KN.detach().mean()),
            "spread": float(scale),
        }
        return loss, facts

    @torch.no_grad()
    def follow(self) -> None:
        """Move the slow critic; called after every step of the optimiser."""
        for slow, fast in zip(self.slow.parameters(), self.critic.parameters(), strict=True):
            slow.lerp_(fast, self.config.slow)
