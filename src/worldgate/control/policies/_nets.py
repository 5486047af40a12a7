"""What the learned policies over pictures and numbers share: an encoder of what is seen, a decoder of action chunks.

Every stream seen now becomes one token (numbers) or a grid of tokens (a picture); those of a goal are marked by a
learned offset. A transformer joins them, and a second one lets K queries, one an action, look at them, as in ACT
(arXiv 2304.13705) and the transformer form of Diffusion Policy (arXiv 2303.04137).

Shape legend: B batch, K actions of a chunk, A action channels, D channels of a stream, M tokens, W width, S pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from worldgate.core.worlds import Signal
from worldgate.worlds.sizes import Size, wider


@dataclass(frozen=True, slots=True, kw_only=True)
class NetConfig:
    """Widths and depths."""

    width: int = 128
    """Of a token."""
    heads: int = 4
    encoder: int = 2
    """Layers that join what is seen."""
    decoder: int = 2
    """Layers that place the actions."""
    channels: tuple[int, ...] = (24, 48, 96, 128)
    """Of the convolutions, each of which halves a picture's side."""


def sized(net: NetConfig, size: Size) -> NetConfig:
    """The widths of another size."""
    return replace(net, width=wider(net.width, size), channels=tuple(wider(c, size) for c in net.channels))


TINY = NetConfig(width=32, heads=2, encoder=1, decoder=1, channels=(8, 8, 16, 16))
"""For configurations that train in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a policy looks at, and what it gives: all that decides the shapes of its weights, besides widths."""

    seen: tuple[Signal, ...]
    """Streams of now: shape (D,) numbers or (S, S, 3) colour."""
    goal: tuple[str, ...]
    """Those of them that are also shown as they are at the goal."""
    chunk: int
    """K."""
    action: int
    """A."""

    @property
    def streams(self) -> tuple[tuple[str, Signal], ...]:
        """Every input with its key: of now under its name, of the goal under ``goal/`` and its name."""
        goals = tuple((f"goal/{s.name}", s) for s in self.seen if s.name in self.goal)
        return (*((s.name, s) for s in self.seen), *goals)


class Eye(nn.Module):
    """A picture to a grid of tokens: convolutions of stride 2, group norm, and learned places."""

    def __init__(self, side: int, config: NetConfig) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels in config.channels:
            layers += [nn.Conv2d(before, channels, 3, stride=2, padding=1), nn.GroupNorm(8, channels), nn.SiLU()]
            before = channels
        grid = math.ceil(side / 2 ** len(config.channels))
        self.look = nn.Sequential(*layers, nn.Conv2d(before, config.width, 1))
        self.place_MW = nn.Parameter(0.02 * torch.randn(grid * grid, config.width))

    def forward(self, picture_BSSC: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 to (B, M, W)."""
        x: Tensor = picture_BSSC.permute(0, 3, 1, 2).float() / 127.5 - 1
        found: Tensor = self.look(x)
        return found.flatten(2).transpose(1, 2) + self.place_MW


class Seeing(nn.Module):
    """All that is seen as one memory of tokens."""

    def __init__(self, sight: Sight, config: NetConfig) -> None:
        super().__init__()
        self.sight = sight
        eyes, lines = {}, {}
        for number, signal in enumerate(sight.seen):
            if len(signal.shape) == 3:
                eyes[str(number)] = Eye(signal.shape[0], config)
            else:
                lines[str(number)] = nn.Linear(signal.shape[0], config.width)
        self.eyes, self.lines = nn.ModuleDict(eyes), nn.ModuleDict(lines)
        self.mark_NW = nn.Parameter(0.02 * torch.randn(len(sight.streams), config.width))
        self.join = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(
                config.width, config.heads, 4 * config.width, 0.0, "gelu", batch_first=True, norm_first=True
            ),
            config.encoder,
            nn.LayerNorm(config.width),
            enable_nested_tensor=False,
        )

    def forward(self, seen: dict[str, Tensor], more: Sequence[Tensor] = ()) -> Tensor:
        """(B, M, W) of normalised numbers (B, D) and pictures (B, S, S, 3) by key; ``more`` are (B, W) tokens."""
        numbers = {signal.name: str(number) for number, signal in enumerate(self.sight.seen)}
        tokens = [token[:, None] for token in more]
        for mark_W, (key, signal) in zip(self.mark_NW, self.sight.streams, strict=True):
            number = numbers[signal.name]
            made = self.eyes[number](seen[key]) if number in self.eyes else self.lines[number](seen[key])[:, None]
            tokens.append(made + mark_W)
        joined: Tensor = self.join(torch.cat(tokens, dim=1))
        return joined


class Placing(nn.Module):
    """K queries that look at a memory, and become K actions."""

    def __init__(self, sight: Sight, config: NetConfig) -> None:
        super().__init__()
        self.query_KW = nn.Parameter(0.02 * torch.randn(sight.chunk, config.width))
        self.decode = nn.TransformerDecoder(
            nn.TransformerDecoderLayer(
                config.width, config.heads, 4 * config.width, 0.0, "gelu", batch_first=True, norm_first=True
            ),
            config.decoder,
            nn.LayerNorm(config.width),
        )
        self.leave = nn.Linear(config.width, sight.action)

    def forward(self, memory_BMW: Tensor, given_BKW: Tensor | None = None) -> Tensor:
        """(B, K, A), normalised; ``given`` is added to the queries."""
        query = self.query_KW.expand(len(memory_BMW), -1, -1)
        placed: Tensor = self.leave(self.decode(query if given_BKW is None else query + given_BKW, memory_BMW))
        return placed


class Denoiser(nn.Module):
    """A noisy chunk and its noise level, in view of what is seen, to what takes noise away."""

    def __init__(self, sight: Sight, config: NetConfig) -> None:
        super().__init__()
        self.width = config.width
        self.seeing, self.placing = Seeing(sight, config), Placing(sight, config)
        self.enter = nn.Linear(sight.action, config.width)
        self.level = nn.Sequential(
            nn.Linear(config.width, config.width), nn.SiLU(), nn.Linear(config.width, config.width)
        )

    def forward(self, noisy_BKA: Tensor, level_B: Tensor, memory_BMW: Tensor) -> Tensor:
        """(B, K, A); the level lies in [0, 1]."""
        half = self.width // 2
        pitch = torch.exp(torch.arange(half, device=level_B.device) * (-math.log(10_000) / (half - 1)))
        angle = 1000 * level_B[:, None] * pitch
        token_BW = self.level(torch.cat([angle.sin(), angle.cos()], dim=1))
        placed: Tensor = self.placing(
            torch.cat([memory_BMW, token_BW[:, None]], dim=1), self.enter(noisy_BKA) + token_BW[:, None]
        )
        return placed
