"""What stands around a recurrent state-space model: encoder, decoder, reward and chance heads, and their one loss.

Source: DreamerV3 (Hafner et al. 2025, arXiv 2301.04104). Notable choices: numbers are normalised by the statistics that
name a model's identity and then squashed by symlog, so that a channel that later leaves the range it was measured over
does no harm; angles that wrap enter and leave as sine and cosine.

Shape legend: N sequences, T steps, D state channels, X channels once angles are two, A action channels, V cameras, S
pixels a side, F features, E embedding, R read-outs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from worldgate.core.normalisers import Normaliser
from worldgate.worlds.nn.rssm import Choose, Rssm, RssmConfig, State, mlp
from worldgate.worlds.nn.twohot import TwoHot, symexp, symlog
from worldgate.worlds.pixels import to_signed
from worldgate.worlds.tracks import Layout

_COARSEST = 4
"""Places a side at which pictures stop shrinking."""
_LARGEST = 3.0
"""Spreads of an action beyond which it says no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """Size of the network and weights of its loss."""

    rssm: RssmConfig = field(default_factory=RssmConfig)
    units: int = 64
    """Of each layer of encoder, decoder and heads."""
    layers: int = 3
    """Of the encoder and decoder of numbers; heads have one."""
    channels: int = 16
    """Of the first convolution; each further one has twice as many."""
    bins: int = 255
    """Of the reward."""
    dynamics: float = 1.0
    """Weight of the prior's way towards the posterior."""
    representation: float = 0.1
    """Weight of the posterior's way towards the prior."""
    free_nats: float = 1.0
    """Divergence below which neither is pulled."""


class Scaling(nn.Module):
    """Numbers in the streams' units as a network reads them, and back."""

    def __init__(self, layout: Layout, normaliser: Normaliser) -> None:
        super().__init__()
        states = [normaliser.statistics(signal.name) for signal in layout.states]
        action = normaliser.statistics(layout.action.name)
        for name, values in (
            ("mean_D", [v for one in states for v in one.mean]),
            ("std_D", [v for one in states for v in one.std]),
            ("circular_D", [float(v) for one in states for v in one.circular or [False] * len(one.mean)]),
            ("action_mean_A", action.mean),
            ("action_std_A", action.std),
        ):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)
        self.register_buffer("turning_D", torch.nonzero(self.circular_D)[:, 0], persistent=False)

    mean_D: Tensor
    std_D: Tensor
    circular_D: Tensor
    turning_D: Tensor
    action_mean_A: Tensor
    action_std_A: Tensor

    @property
    def width(self) -> int:
        """X."""
        return len(self.mean_D) + len(self.turning_D)

    def enter(self, states_ND: Tensor) -> Tensor:
        """(..., X) squashed states."""
        plain = symlog((states_ND - self.mean_D) / self.std_D)
        if not len(self.turning_D):
            return plain
        plain = torch.where(self.circular_D > 0, torch.sin(states_ND), plain)
        return torch.cat([plain, torch.cos(states_ND[..., self.turning_D])], dim=-1)

    def leave(self, said_NX: Tensor) -> Tensor:
        """(..., D) in the streams' units."""
        plain_ND, cosines = torch.split(said_NX, [len(self.mean_D), len(self.turning_D)], dim=-1)
        out = symexp(plain_ND) * self.std_D + self.mean_D
        if not len(self.turning_D):
            return out
        angles = torch.atan2(plain_ND[..., self.turning_D], cosines)
        return out.index_copy(-1, self.turning_D, angles)

    def command(self, actions_NA: Tensor) -> Tensor:
        """(..., A) actions, centred and scaled."""
        return ((actions_NA - self.action_mean_A) / self.action_std_A).clamp(-_LARGEST, _LARGEST)


class Looking(nn.Module):
    """Strided convolutions from all cameras to a vector."""

    def __init__(self, views: int, size: int, channels: int) -> None:
        super().__init__()
        widths = _widths(views, size, channels)
        self.layers = nn.Sequential(*(_Shrink(a, b) for a, b in pairwise(widths)))
        self.width = widths[-1] * _COARSEST**2

    def forward(self, frames_NV3SS: Tensor) -> Tensor:
        """(N, V, 3, S, S) in [-1, 1] to (N, width)."""
        out: Tensor = self.layers(frames_NV3SS.flatten(1, 2)).flatten(1)
        return out


class Painting(nn.Module):
    """The way back: a vector to pictures of all cameras."""

    def __init__(self, features: int, views: int, size: int, channels: int) -> None:
        super().__init__()
        widths = _widths(views, size, channels)[::-1]
        self.views, self.coarse = views, widths[0]
        self.enter = nn.Linear(features, widths[0] * _COARSEST**2)
        inner = [_Grow(a, b) for a, b in pairwise(widths[:-1])]
        self.layers = nn.Sequential(*inner, nn.ConvTranspose2d(widths[-2], widths[-1], 4, stride=2, padding=1))

    def forward(self, features_NF: Tensor) -> Tensor:
        """(N, F) to (N, V, 3, S, S), about within [-1, 1]."""
        coarse = torch.unflatten(self.enter(features_NF), -1, (self.coarse, _COARSEST, _COARSEST))
        return torch.unflatten(self.layers(coarse), 1, (self.views, 3))


def _widths(views: int, size: int, channels: int) -> list[int]:
    halvings = (size // _COARSEST).bit_length() - 1
    assert _COARSEST << halvings == size, "pictures of 8, 16, 32, 64, ... pixels a side"
    return [3 * views, *(channels << level for level in range(halvings))]


class _Shrink(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1), nn.GroupNorm(1, outputs)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return functional.silu(self.norm(self.conv(x_NCHW)))


class _Grow(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.norm = nn.GroupNorm(1, outputs)

    def forward(self, x_NCHW: Tensor) -> Tensor:
        return functional.silu(self.norm(self.conv(x_NCHW)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """What the loss learns from."""

    states_NTD: Tensor
    actions_NTA: Tensor
    """In force from the row before to this one; whatever stands in a first row is not read."""
    first_NT: Tensor
    """1 where a run begins, and in the first column."""
    there_NT: Tensor
    """1 in rows that count."""
    reads_NTR: Tensor
    """What is read out, of the step from the row before to this one; NaN where it is not known."""
    frames_NTV3SS: Tensor | None = None
    """uint8."""


class RssmNet(nn.Module):
    """A whole recurrent world model.

    Args:
        config: sizes and weights.
        layout: streams that go in, and what is read out.
        normaliser: statistics of the streams.
        reward: name of the read-out that is a reward, of any size; all others are chances, from 0 to 1.
    """

    def __init__(self, config: NetConfig, layout: Layout, normaliser: Normaliser, reward: str) -> None:
        super().__init__()
        self.config, self.reward = config, reward
        self.reads = tuple(signal.name for signal in layout.reads)
        self.scaling = Scaling(layout, normaliser)
        units = config.units
        self.encoder = mlp(self.scaling.width, units, config.layers - 1, units)
        views = len(layout.cameras)
        size = layout.cameras[0].shape[0] if views else 0
        self.looking = Looking(views, size, config.channels) if views else None
        embedding = units + (self.looking.width if self.looking is not None else 0)
        self.rssm = Rssm(config.rssm, layout.action_width, embedding)
        features = self.rssm.features
        self.decoder = mlp(features, units, config.layers, self.scaling.width)
        self.painting = Painting(features, views, size, config.channels) if views else None
        self.two_hot = TwoHot(config.bins)
        heads = {name: mlp(features, units, 1, self._outputs(name), scale=0.0) for name in self.reads}
        self.heads = nn.ModuleDict(heads)

    def _outputs(self, name: str) -> int:
        return self.config.bins if name == self.reward else 1

    def embed(self, states_NTD: Tensor, frames_NTV3SS: Tensor | None) -> Tensor:
        """(N, T, E) of states in the streams' units and uint8 pictures."""
        embedded: Tensor = self.encoder(self.scaling.enter(states_NTD))
        if self.looking is None:
            return embedded
        assert frames_NTV3SS is not None
        seen = self.looking(to_signed(frames_NTV3SS).flatten(0, 1))
        return torch.cat([embedded, torch.unflatten(seen, 0, frames_NTV3SS.shape[:2])], dim=-1)

    def follow(self, sequences: Sequences, choose: Choose) -> tuple[State, Tensor, Tensor]:
        """States along sequences with the logits of posterior and prior, each (N, T, S * C)."""
        embedding = self.embed(sequences.states_NTD, sequences.frames_NTV3SS)
        actions = self.scaling.command(sequences.actions_NTA)
        return self.rssm.filtered(embedding, actions, sequences.first_NT, choose)

    def states(self, features_NF: Tensor) -> Tensor:
        """(..., D) states that a model state stands for, in the streams' units."""
        return self.scaling.leave(self.decoder(features_NF))

    def paint(self, features_NF: Tensor) -> Tensor:
        """(N, V, 3, S, S) pictures."""
        assert self.painting is not None
        out: Tensor = self.painting(features_NF)
        return out

    def read(self, name: str, features_NF: Tensor) -> Tensor:
        """(...,) the expected reward, or a chance."""
        said = self.heads[name](features_NF)
        return self.two_hot.mean(said) if name == self.reward else torch.sigmoid(said.squeeze(-1))

    def loss(self, sequences: Sequences, choose: Choose) -> tuple[Tensor, dict[str, Tensor], State]:
        """The loss, its parts, and the states it went through.

        Squared errors are summed over channels and pixels, divergences over variables; all are means over the rows
        that count.
        """
        config, along = self.config, self.follow(sequences, choose)
        state, posterior, prior = along
        features = state.features
        parts = {"states": (self.decoder(features) - self.scaling.enter(sequences.states_NTD)).square().sum(dim=-1)}
        if self.painting is not None:
            assert sequences.frames_NTV3SS is not None
            real = to_signed(sequences.frames_NTV3SS).flatten(0, 1)
            wrong = ((self.paint(features.flatten(0, 1)).float() - real) / 2).square().sum(dim=(1, 2, 3, 4))
            parts["frames"] = torch.unflatten(wrong, 0, features.shape[:2])
        for place, name in enumerate(self.reads):
            parts[name] = self._read_loss(name, features, sequences.reads_NTR[..., place])
        free = config.free_nats
        moving = self.rssm.divergence(posterior.detach(), prior)
        parts["dynamics"] = config.dynamics * moving.clamp(min=free)
        parts["representation"] = config.representation * self.rssm.divergence(posterior, prior.detach()).clamp(
            min=free
        )
        count = sequences.there_NT.sum()
        means = {name: (part.float() * sequences.there_NT).sum() / count for name, part in parts.items()}
        return torch.stack(list(means.values())).sum(), means, state

    def _read_loss(self, name: str, features_NTF: Tensor, true_NT: Tensor) -> Tensor:
        known, true = torch.isfinite(true_NT), true_NT.nan_to_num(0.0)
        said = self.heads[name](features_NTF)
        if name == self.reward:
            return self.two_hot.loss(said, true) * known
        chance = said.squeeze(-1).float()
        return functional.binary_cross_entropy_with_logits(chance, true.float(), reduction="none") * known


def readable(names: Sequence[str], reward: str, chances: Sequence[str]) -> list[str]:
    """Those of these names that no head can tell."""
    return sorted(set(names) - {reward, *chances})
