"""A masked world model of Genie's and 1X's making, written from the papers: a space-time transformer over FSQ tokens.

Sources: Genie (arXiv 2402.15391): causal space-time transformer, MaskGIT (arXiv 2202.04200) decoding frame by frame;
1X's world model challenge: frames before are known and slightly corrupted, of the frame itself a part by a cosine
schedule; TinyWorlds: a tokenizer of space and time attention with finite scalar quantisation (arXiv 2309.15505), 128
wide, 4 + 4 layers. A picture is 64 tokens of 512 codes. What is known of the robot in a step is added to every token
of the frame after it. Attention over time is by distance, so that remembered keys stay good as the window moves on.

Shape legend: N clips, T frames, P places, D width, V codes, E entries told a step, S pixels a side.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from tokenizer_models import SpaceTimeFsq
from torch import Tensor, nn
from torch.nn import functional
from video_learning import CONTEXT, Own, PeerWorld, Stage, Taught

from worldgate.core.worlds import ModelSpec
from worldgate.worlds.tracks import Layout

CODES, PLACES, MASK = 512, 64, 512
WINDOW = CONTEXT + 1
"""Frames that are learned from at once, and seen in use."""
DECODING = 8
"""Steps in which a picture is filled in."""
CORRUPT = 0.1
"""Largest part of wrong codes in frames that are known."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """One configuration of the peer."""

    width: int = 256
    depth: int = 6
    heads: int = 8
    rate: float = 1e-3
    batch: int = 8
    tokens_width: int = 128
    """Of the tokenizer."""
    tokens_depth: int = 4
    tokens_rate: float = 2e-3
    tokens_batch: int = 16


CONFIGS: Sequence[Config] = (
    Config(),
    Config(width=128, depth=4, rate=2e-3, batch=16),
    Config(width=128, depth=4, rate=2e-3, batch=16, tokens_width=64, tokens_depth=2, tokens_rate=3e-3),
)
"""As large as 600 steps of a few seconds allow, TinyWorlds' own size, and that with a smaller tokenizer."""


class Layer(nn.Module):
    """Space attention, causal attention over time by distance, a feed-forward."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.mixes = nn.ModuleList(nn.Linear(width, 3 * width) for _ in range(2))
        self.outs = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.far = nn.Parameter(torch.zeros(heads, WINDOW))
        self.grow, self.leave = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, past: tuple[Tensor, Tensor] | None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """(N, T, P, D) to the same, after ``past`` keys and values (N, P, H, T', D / H); and those with these ones."""
        q, k, v = self._parts(self.norms[0](x), 0)
        x = x + self.outs[0](functional.scaled_dot_product_attention(q, k, v).transpose(-2, -3).flatten(-2))
        q, k, v = self._parts(self.norms[1](x).transpose(1, 2), 1)
        if past is not None:
            k, v = torch.cat([past[0], k], dim=-2), torch.cat([past[1], v], dim=-2)
        out = functional.scaled_dot_product_attention(q, k, v, attn_mask=self._bias(q.shape[-2], k.shape[-2]))
        x = x + self.outs[1](out.transpose(-2, -3).flatten(-2)).transpose(1, 2)
        return x + self.leave(functional.gelu(self.grow(self.norms[2](x)))), (k, v)

    def _parts(self, x: Tensor, which: int) -> Tensor:
        return self.mixes[which](x).unflatten(-1, (3, self.heads, -1)).movedim(-3, 0).transpose(-2, -3)

    def _bias(self, new: int, all_: int) -> Tensor:
        apart = torch.arange(all_ - new, all_)[:, None] - torch.arange(all_)
        bias = self.far[:, apart.clamp(0, WINDOW - 1)]
        return bias.masked_fill(apart < 0, -torch.inf)


Past = list[tuple[Tensor, Tensor]]


class Dynamics(nn.Module):
    """Codes of a frame from codes of those before it, of itself where they are known, and what was done."""

    def __init__(self, config: Config, told: int) -> None:
        super().__init__()
        width = config.width
        self.codes = nn.Embedding(CODES + 1, width)
        self.where = nn.Parameter(0.02 * torch.randn(PLACES, width))
        self.told = nn.Sequential(nn.Linear(told, width), nn.SiLU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(Layer(width, config.heads) for _ in range(config.depth))
        self.norm, self.leave = nn.LayerNorm(width), nn.Linear(width, CODES)
        nn.init.normal_(self.codes.weight, std=0.02)

    def forward(self, codes_NTP: Tensor, told_NTE: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """Logits (N, T, P, V); ``told`` of a frame is of the step that led to it."""
        x = self.codes(codes_NTP) + self.where + self.told(told_NTE)[:, :, None]
        kept: Past = []
        for i, layer in enumerate(self.layers):
            x, held = layer(x, None if past is None else past[i])
            kept.append(held)
        return self.leave(self.norm(x)), kept

    def loss(self, codes_NTP: Tensor, told_NTE: Tensor) -> Tensor:
        """Cross-entropy of hidden codes; half of the frames are known and slightly wrong instead."""
        count, length = codes_NTP.shape[:2]
        known = torch.rand(count, length) < 0.5
        known[:, 0], known[:, -1] = True, False
        share = torch.where(known, 0.0, torch.cos(torch.rand(count, length) * math.pi / 2))
        hidden = torch.rand(codes_NTP.shape) < share[..., None]
        wrong = (torch.rand(codes_NTP.shape) < CORRUPT * torch.rand(count, length, 1)) & known[..., None]
        seen = torch.where(wrong, torch.randint(CODES, codes_NTP.shape), codes_NTP).masked_fill(hidden, MASK)
        logits, _ = self(seen, told_NTE)
        return functional.cross_entropy(logits[hidden], codes_NTP[hidden])


class GeniePainter:
    """Codes of a picture, the surest first."""

    def __init__(self, peer: Genie, samples: int, rng: torch.Generator) -> None:
        self.peer, self.samples, self.rng = peer, samples, rng

    def remember(self, frames_NT3SS: Tensor, told_NKE: Tensor) -> None:
        """Tokens of the last frames; nothing is known of the step before the first one."""
        shown = ((frames_NT3SS[:1] + 1) * 127.5).round().to(torch.uint8).movedim(2, -1)
        codes = self.peer.tokens(shown).expand(self.samples, -1, -1)
        told = torch.cat([torch.zeros_like(told_NKE[:, :1]), told_NKE], dim=1)
        _, self.past = self.peer.net(codes, told)

    def next(self, told_NE: Tensor) -> Tensor:
        """One picture."""
        self.past = [(k[..., 1 - WINDOW :, :], v[..., 1 - WINDOW :, :]) for k, v in self.past]
        told = told_NE[:, None]
        codes = torch.full((self.samples, 1, PLACES), MASK)
        for step in range(DECODING):
            logits, _ = self.peer.net(codes, told, self.past)
            chance = logits.softmax(dim=-1)
            drawn = torch.multinomial(chance.flatten(0, -2), 1, generator=self.rng).view(codes.shape)
            hidden = codes == MASK
            sure = chance.gather(-1, drawn[..., None])[..., 0].log()
            rest = math.floor(PLACES * math.cos(math.pi / 2 * (step + 1) / DECODING))
            luck = -torch.log(-torch.log(torch.rand(sure.shape, generator=self.rng).clamp(1e-6, 1 - 1e-6)))
            order = (sure + luck * (1 - (step + 1) / DECODING)).masked_fill(~hidden, torch.inf)
            filled = torch.where(hidden, drawn, codes)
            later = order.argsort(dim=-1)[..., :rest]
            codes = filled.scatter(-1, later, MASK)
        _, self.past = self.peer.net(codes, told, self.past)
        shown = self.peer.tokenizer.decode(codes, round(math.sqrt(PLACES)) * 8)
        return shown[:, 0].movedim(-1, 1).float() / 127.5 - 1


class Genie(Taught[Config]):
    """The peer: tokenizer, then dynamics on its frozen codes."""

    def __init__(self, config: Config, layout: Layout, *given: Any) -> None:
        super().__init__(config, layout, *given)
        size = layout.cameras[0].shape[0]
        assert (size // 8) ** 2 == PLACES
        self.tokenizer = SpaceTimeFsq(config.tokens_width, config.tokens_depth, size)
        self.net = Dynamics(config, self.teller.width)
        self.codes: dict[bool, Tensor] = {}

    def modules(self) -> nn.Module:
        """All three networks."""
        return nn.ModuleDict({"teller": self.teller, "tokenizer": self.tokenizer, "net": self.net})

    def stages(self) -> list[Stage]:
        """Telemetry, tokenizer, dynamics: shares as in our own families."""
        config = self.config
        return [
            self.teller.stage(self.train),
            Own("tokenizer", self.tokenizer, self._pictures, rate=config.tokens_rate, frames=config.tokens_batch,
                share=0.35),
            Own("dynamics", self.net, self._loss, rate=config.rate, frames=config.batch * WINDOW, share=0.55,
                prepare=self._encode),
        ]  # fmt: skip

    def tokens(self, frames_NTSS3: Tensor) -> Tensor:
        """(N, T, P) codes, each picture by itself."""
        count, length = frames_NTSS3.shape[:2]
        return self.tokenizer.codes(frames_NTSS3.flatten(0, 1)[:, None]).view(count, length, PLACES)

    @torch.no_grad()
    def _encode(self) -> None:
        """Codes of all rows, once."""
        for seen, clips in self.clips.items():
            parts = [self.tokens(part[None])[0] for part in clips.frames_RSS3.split(64)]
            self.codes[seen] = torch.cat(parts)

    def _pictures(self, rng: np.random.Generator, seen: bool) -> Tensor:
        frames = self.clips[seen].frames_RSS3
        return self.tokenizer.loss(frames[rng.integers(len(frames), size=self.config.tokens_batch)][:, None])

    def _loss(self, rng: np.random.Generator, seen: bool) -> Tensor:
        clips = self.clips[seen]
        now = clips.rows[rng.integers(len(clips.rows), size=self.config.batch)]
        rows = now[:, None] + np.arange(2 - WINDOW, 2)
        told = self.teller(clips.bank.states_RD[rows], clips.bank.actions_RA[rows[:, :-1]])
        told = torch.cat([torch.zeros_like(told[:, :1]), told], dim=1)
        return self.net.loss(self.codes[seen][rows], told)

    def world(self, spec: ModelSpec) -> Any:
        """Behind the protocol."""
        return PeerWorld(spec, self.teller, lambda samples, rng: GeniePainter(self, samples, rng))


create = Genie
